"""One way to set up any task for a short training, shared by the tests of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tests.builtin import BUILTIN
from tests.case import Case
from tests.sketches import SKETCHES
from trainwright.core.batch import Batch
from trainwright.core.events import EvalDone, Event, StepDone, Stop
from trainwright.core.kinds import Schedule
from trainwright.core.rows import Encoded
from trainwright.core.task import Metric, Outputs, Task
from trainwright.data.arrays import Records
from trainwright.data.encode import encode
from trainwright.data.loader import Loader, batches
from trainwright.data.part import Part
from trainwright.engine.evaluate import evaluate
from trainwright.engine.loop import Cadence, Judge, fit
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import Step, StepFn, train_step
from trainwright.runs.baselines import judged_baseline


def cases() -> list[Case]:
    """Every sketch and every built-in task, each under a name of its own: files of the tests bear it."""
    every = [*(Case(s.name, s.make, s.model_for, s.records) for s in SKETCHES), *BUILTIN]
    assert len({c.name for c in every}) == len(every)
    return every


def summed() -> list[Case]:
    """Those of which the law of sums holds: a step does not depend on how its batch is cut."""
    return [c for c in cases() if not c.batch_statistics]


@dataclass
class Class:
    """A task set up for training."""

    task: Task[Any]
    state: TrainState
    loader: Loader
    runtime: Runtime
    valid: Callable[[], Iterable[Batch]]
    schedule: Schedule | None = None

    def evaluate(self) -> dict[str, float]:
        with self.state.aside():
            return evaluate(self.state.model, self.task, self.valid(), self.runtime, final=True)

    def train(
        self,
        until: int,
        *,
        steps: int = 100,
        eval_every: int = 0,
        log_every: int = 1,
        observe: Callable[[Event], Stop | None] | None = None,
        save: Callable[[], None] | None = None,
        save_every: int = 0,
        clip: float | None = None,
        step_fn: StepFn = train_step,
        patience: int | None = None,
        change: float = 0.0,
    ) -> tuple[list[Event], Stop | None]:
        events: list[Event] = []

        def note(event: Event) -> Stop | None:
            events.append(event)
            return observe(event) if observe else None

        def judged() -> dict[str, float]:
            return evaluate(self.state.model, self.task, self.valid(), self.runtime)

        stop = fit(
            self.state,
            self.task,
            self.loader,
            self.runtime,
            note,
            cadence=Cadence(steps, until, log_every, eval_every, save_every),
            schedule=self.schedule or self.state.responsive or (lambda step, all_steps: 1 - step / all_steps),
            clip=clip,
            judge=Judge(judged, self.task.monitor, "lower", patience, change) if eval_every else None,
            save=save,
            step_fn=step_fn,
        )
        return events, stop


def losses(events: Iterable[Event]) -> list[float]:
    return [x for e in events if isinstance(e, StepDone) for x in e.losses]


def evals(events: Iterable[Event]) -> list[dict[str, float]]:
    return [dict(e.metrics) for e in events if isinstance(e, EvalDone)]


def enrol(
    case: Any,
    runtime: Runtime | None = None,
    *,
    n: int = 40,
    batch_size: int | Literal["all"] = 16,
    micro: int | Literal["all"] = "all",
    seed: int = 3,
    lr: float = 1e-2,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    where: Literal["memory", "device", "file"] = "memory",
    valid: int | None = None,
    workers: int = 0,
) -> Class:
    """Fit, encode, build and place; everything depends on the seed alone."""
    runtime = runtime or Runtime()
    task = case.make()
    records = Records(case.records(n, 1))
    held = valid if valid is not None else max(n // 4, 5)
    train_ids, valid_ids = torch.arange(n - held), torch.arange(n - held, n)
    task.processor.fit([records[int(i)] for i in train_ids])
    store = encode(records, task.processor, workers=workers, where=where, device=runtime.device)
    windows = task.processor.windows
    part = Part(store, train_ids, windows, task.processor)
    other = Part(store, valid_ids, windows, task.processor)
    torch.manual_seed(seed)
    model = runtime.place(case.model_for(task.sizes()))
    chosen = optimizer([p for p in model.parameters() if p.requires_grad], lr=lr)
    state = TrainState.of(model, chosen, runtime)
    ranks = {"rank": runtime.ranks.rank, "world": runtime.ranks.world, "device": runtime.device}
    loader = Loader(part, task.processor, batch_size=batch_size, micro=micro, seed=seed, **ranks)
    state.parts["loader"] = loader
    state.random.seed(seed)
    return Class(task, state, loader, runtime, lambda: batches(other, task.processor, batch_size=7, **ranks))


def weights(state: TrainState) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in state.parts["model"].state_dict().items()}


def difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a if a[k].numel())


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def finite(step: Step) -> bool:
    return bool(step.finite)


def baselines_of(task: Task[Any], train: Encoded, test: Encoded) -> dict[str, dict[str, float]]:
    """What every baseline of a task reaches; a failure is raised."""
    fits = task.baselines(train)
    return {n: dict(judged_baseline(fit(60), task, test, task.metrics()).values) for n, fit in fits.items()}


def measured(metric: Metric, outputs: Outputs, batch: Batch) -> float:
    """A metric of one batch."""
    rows = metric.count(outputs, batch).double()
    return metric.value(rows.sum(0) if metric.combine == "add" else rows)
