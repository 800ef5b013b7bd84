"""The loop that torch's own tutorial shows, with nothing beside it: what the others are measured against."""

from __future__ import annotations

from typing import Any

from benchmarks.mistakes.plan import Held, Plan, hold, loaders, lost, network, optimizer

DISTRIBUTION = "torch"
WARM = ("torch._dynamo",)  # imported once, for all trainings
CANNOT: frozenset[str] = frozenset()


def train(plan: Plan, guards: bool, held: Held) -> None:
    """https://docs.pytorch.org/tutorials/beginner/basics/optimization_tutorial.html."""
    loop(plan, network(plan), held, guards)


def loop(plan: Plan, net: Any, held: Held, guards: bool = False, beside: Any = None) -> None:
    """Epochs of batches.

    Args:
        plan: of the training.
        net: its network.
        held: what is judged.
        guards: torch looks for NaN in each gradient.
        beside: (net, optimizer, loss) -> what is open meanwhile.
    """
    import contextlib

    import torch

    if beside is None:
        hold(plan, net, held)
    moved, loss = optimizer(plan, net), lost(plan)
    train, valid = loaders(plan)
    each = plan.per_epoch if plan.schedule == "halved" else 1
    schedule = torch.optim.lr_scheduler.StepLR(moved, each, 0.5) if plan.schedule else None
    torch.autograd.set_detect_anomaly(guards)
    with beside(net, moved, loss) if beside is not None else contextlib.nullcontext():
        net.train(plan.loop != "asleep")
        for _ in range(plan.epochs):
            for x, y in train:
                if plan.loop != "kept":
                    moved.zero_grad()
                loss(net(x), y).backward()
                if plan.clip:
                    torch.nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
                moved.step()
                if schedule is not None:
                    schedule.step()
            net.eval()
            with torch.no_grad():
                shown = sum(float(loss(net(x), y)) for x, y in valid) / len(valid)
            net.train(plan.loop != "asleep")
            print(f"valid loss {shown:.4f}")
