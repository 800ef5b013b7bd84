"""Trainwright: ``tw.fit``, and ``tw.watch`` around a loop of one's own where only such a loop can make the mistake."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.mistakes.plan import Held, Plan, hold, loaders, lost, network, optimizer
from benchmarks.mistakes.systems.torch_loop import loop

DISTRIBUTION = "trainwright"
WARM = (  # imported once, for all trainings
    *("torch._dynamo", "trainwright.runs.fit", "trainwright.runs.watching", "trainwright.runs.final"),
    *("trainwright.runs.plot", "trainwright.runs.healed", "sklearn.ensemble", "sklearn.linear_model"),
    "matplotlib.pyplot",
)
CANNOT: frozenset[str] = frozenset()


def train(plan: Plan, guards: bool, held: Held) -> None:
    """docs/howto/own-module.md; guarded, docs/howto/heal.md."""
    import trainwright as tw

    net = network(plan)
    hold(plan, net, held)
    held.messages = []
    if plan.loop:
        watched(plan, net, held)
        return
    train: Any = loaders(plan)[0] if plan.order != "drawn" else plan.train
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        try:
            tw.fit(
                net, train, valid=plan.valid, loss=lost(plan), batch_size=plan.batch, epochs=plan.epochs,
                optimizer=optimizer(plan, net) if plan.known == "head" else spec(plan),
                schedule=schedule(plan), clip=plan.clip or "none", out=out, quiet=True,
                doctor={"mode": "heal", "yes": True} if guards else "advise",
            )  # fmt: skip
        except tw.TrainwrightError as error:
            held.messages.append(str(error))
            raise
        finally:
            if (out / "events.jsonl").exists():
                tell(out / "events.jsonl", held)


def tell(log: Path, held: Held) -> None:
    """All that was said while it ran, also in attempts that were left."""
    from trainwright.core.events import Found, Repaired, StepDone, load

    assert held.messages is not None
    for event in map(load, log.read_text().splitlines()):
        if isinstance(event, StepDone):
            held.steps = event.step
        if isinstance(event, Found):
            held.messages.append(f"{event.finding.severity}: {event.finding.what}")
        if isinstance(event, Repaired) and event.state == "taken":
            held.messages.append(f"repaired: {event.what}")


def spec(plan: Plan) -> dict[str, Any]:
    """By name, as it can be changed by a repair."""
    if plan.optimizer == "adam":
        return {"name": "adam", "lr": plan.rate, "weight_decay": plan.decay}
    return {"name": "sgd", "lr": plan.rate, "momentum": plan.momentum, "weight_decay": plan.decay}


def schedule(plan: Plan) -> Any:
    """One of torch's, stepped with each batch; or a function of the step."""
    if not plan.schedule:
        return "constant"
    each = plan.per_epoch if plan.schedule == "halved" else 1
    return lambda step, steps: 0.5 ** (step // each)


def watched(plan: Plan, net: Any, held: Held) -> None:
    """docs/explanation/doctor.md: two lines around the loop."""
    import trainwright as tw

    opened: list[Any] = []

    def beside(net: Any, moved: Any, loss: Any) -> Any:
        opened.append(tw.watch(net, moved, steps=plan.steps, per_epoch=plan.per_epoch, quiet=True))
        return opened[0]

    try:
        loop(plan, net, held, beside=beside)
    finally:
        held.messages = [f"{f.severity}: {f.what}" for f in opened[0].findings]
