"""The training loop. It reads from top to bottom and calls nothing it does not import."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.events import EvalDone, Observer, Probed, StepDone, Stop
from trainwright.core.task import Progress, Task
from trainwright.engine.allocator import settle
from trainwright.engine.before import Dice
from trainwright.engine.guard import Guard, trouble_of
from trainwright.engine.held import held
from trainwright.engine.memory import Cut, Memory, Shortage
from trainwright.engine.multiplier import multiplier
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import Step, StepFn, train_step

_OFTEN = 0.1  # seconds between two looks at how much memory is held


class Groups(Cut, Protocol):
    """What the loop asks of a loader: groups of micro-batches without end, one group per step."""

    epoch: int  # complete ones
    waited: float  # seconds

    @property
    def steps_per_epoch(self) -> int:
        """Groups of an epoch."""
        ...

    def __iter__(self) -> Iterator[list[Batch]]:
        """Itself."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Where the next step begins."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """The inverse of `state_dict`."""
        ...


@dataclass(frozen=True, slots=True)
class Cadence:
    """When things happen, in optimizer steps."""

    steps: int  # the whole budget
    until: int | None = None  # stop here all the same, as an interruption would
    log: int = 10
    evaluate: int = 0  # 0: only at the end
    save: int = 0


@dataclass(frozen=True, slots=True)
class Judge:
    """How the run is judged while it learns: the evaluation, the metric that decides, and which way is better."""

    evaluate: Callable[[], dict[str, float]]
    monitor: str
    better: str  # "higher" | "lower"
    patience: int | None = None  # evaluations in a row without an improvement that end the training
    change: float = 0.0  # an improvement is more than this


class Watch(Protocol):
    """Who looks at some steps more closely, and changes nothing."""

    def before(self, step: int) -> None:
        """This step comes; asked once before each, from 1."""
        ...

    def after(self, step: int) -> Probed | None:
        """What was seen of it; the same on every rank that it is None or not."""
        ...


def fit(
    state: TrainState,
    task: Task[Any],
    train: Groups,
    runtime: Runtime,
    observe: Observer,
    *,
    cadence: Cadence,
    schedule: Callable[[int, int], float],
    clip: float | None = None,
    judge: Judge | None = None,
    save: Callable[[], None] | None = None,
    asked: Callable[[], Stop | None] = lambda: None,
    step_fn: StepFn = train_step,
    guard: Guard | None = None,
    shortage: Callable[[Shortage], None] = lambda shortage: None,
    watch: Watch | None = None,
) -> Stop | None:
    """Train until the budget is spent (None) or somebody asked to stop; the state tells how far it came.

    Raises `NumericsError` when more steps than the guard allows had no finite loss and gradient.

    Args:
        state: what changes, and all that does.
        task: the problem.
        train: this rank's groups of micro-batches.
        runtime: device, precision, ranks.
        observe: is told every event; may ask to stop, which all ranks then do at the same step.
        cadence: when to log, evaluate, save and end.
        schedule: (step, steps) -> multiplier of the base rates.
        clip: largest norm of the whole gradient.
        judge: evaluates on the validation part.
        save: writes a checkpoint of the state.
        asked: polled between steps: a person's wish to stop.
        step_fn: the step itself.
        guard: counts the steps that are not taken, and may go back to an earlier state.
        shortage: is told when memory ran out, and less is computed at once from then on.
        watch: looks at some steps.
    """
    counters, guard = state.counters, guard or Guard(state, runtime, cadence.steps)
    log, dice = _Log(runtime, train), Dice(runtime.device)
    memory = Memory(state, train, runtime, dice.put_back, shortage)

    def taken(group: list[Batch], step: int, share: float) -> Step:
        progress = Progress(step, cadence.steps, train.epoch)
        return step_fn(state, task, group, runtime, clip=clip, multiplier=share, progress=progress)

    ema, alone = state.ema, runtime.ranks.world == 1
    end = min(cadence.steps, cadence.until or cadence.steps)
    stop: Stop | None = None
    state.model.train()
    while counters.step < end and stop is None:
        dice.keep()
        share = multiplier(schedule, counters.step, cadence.steps) * counters.share
        before, skipped = counters.step, counters.skipped
        if watch is not None:
            watch.before(before + 1)
        group, done = memory.step(partial(taken, step=before, share=share))
        _must_be_step(done, counters.step - before)
        counters.epoch = train.epoch
        log.add(done, group)
        sound = guard.taken(done, skipped)
        if not sound or counters.in_a_row:
            dice.put_back()
        elif ema:
            ema.update()
        if not sound:
            progress = Progress(before, cadence.steps, train.epoch)
            if guard.after(trouble_of(state, done, group, runtime, share, progress)):
                log = _Log(runtime, train)
                continue
        del group, done  # before the next ones
        seen = None if watch is None else watch.after(counters.step)
        stop = asked() if alone else _agreed(asked(), runtime)
        last, pausing = counters.step == cadence.steps, counters.step == end
        judged = judge is not None and (last or _due(counters.step, cadence.evaluate))
        due = save is not None and _due(counters.step, cadence.save)
        if pausing or judged or stop or due or seen or _due(counters.step, cadence.log):
            wish = observe(log.event(state))
            if seen is not None:
                wish = observe(seen) or wish
            if judge is not None and judged:
                wish = _judge(state, judge, observe, memory, last) or wish
            stop = stop or _agreed(wish, runtime)
        if pausing or stop:
            settle()  # what is written and told at the end does not lie beside what steps needed
        if save is not None and (pausing or stop or due or judged):
            # what follows a skipped step may be lost
            planned = (due or _just_best(state, judge)) and not counters.streak
            counters.home = counters.step if planned else counters.home
            if pausing or stop or planned:
                save()
        if judged or stop:
            log.restart()
    return stop


def _must_be_step(done: Any, counted: int) -> None:
    """A step of the user's own must tell what it did, and count itself once: else the training would never end."""
    if not isinstance(done, Step):
        raise UserError("step_fn", f"returned a {type(done).__name__}", "return the tw.Step of a tw.train_step")
    if counted != 1:
        what = f"counted {counted} steps instead of one"
        raise UserError(
            "step_fn", what, "call tw.train_step once for the first optimizer, or add 1 to state.counters.step"
        )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _just_best(state: TrainState, judge: Judge | None) -> bool:
    return judge is not None and state.best.step == state.counters.step


def _judge(state: TrainState, judge: Judge, observe: Observer, memory: Memory, last: bool) -> Stop | None:
    """Evaluate aside, remember the best, and tell those whom it concerns; asks to stop where patience is at its end."""
    began = time.perf_counter()

    def evaluated() -> dict[str, float]:
        with state.aside(), state.served():
            return judge.evaluate()

    metrics = memory.evaluate(evaluated)
    step, value = state.counters.step, metrics[judge.monitor]
    best = state.best.improves(value, metrics["loss"], judge.better)
    if best:
        state.best.value, state.best.loss, state.best.step = value, metrics["loss"], step
    if state.responsive:
        state.responsive.judged(value, judge.better)
    waited = state.best.wait(value, judge.better, judge.change, best)
    wish = observe(EvalDone(step, state.counters.epoch, "valid", metrics, time.perf_counter() - began, best))
    if judge.patience is not None and waited >= judge.patience and not last:
        times = f"{waited} evaluations" if waited > 1 else "one evaluation"
        more = f" by more than {judge.change:g}" if judge.change else ""
        return wish or Stop(f"valid {judge.monitor} did not improve{more} in {times}")
    return wish


def _agreed(stop: Stop | None, runtime: Runtime) -> Stop | None:
    """All ranks stop when one does."""
    if runtime.ranks.world == 1 or not runtime.ranks.agree(stop is not None):
        return stop
    told = runtime.ranks.gather_json([stop.reason, stop.outcome] if stop else None)
    return Stop(*next(s for s in told if s))


def _numbers(scalars: Sequence[Tensor | float], runtime: Runtime, *, summed: bool = False) -> list[float]:
    """Tensors (0-d) as numbers, summed over the ranks or as they are: one wait for all of them."""
    if runtime.at_hand:
        return [float(x) for x in scalars]
    together = torch.stack([runtime.scalar(x).to(runtime.wide) for x in scalars])
    found: list[float] = (runtime.ranks.total(together) if summed else together).tolist()  # the wait
    return found


@dataclass(slots=True)
class _Log:
    """What happened since the last wait, left on the device until then.

    What is at hand are numbers at once: small tensors that live on lie where the next step wants to put large ones.
    """

    runtime: Runtime
    train: Groups
    losses: list[Tensor | float] = field(default_factory=list)
    norms: list[Tensor | float] = field(default_factory=list)
    parts: Mapping[str, Tensor | float] = field(default_factory=dict)  # of the last step
    samples: int = 0
    began: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    held: int = 0  # bytes of memory
    looked: float = -math.inf  # when they were last counted

    def __post_init__(self) -> None:
        self.waited = self.train.waited

    def add(self, step: Step, group: Sequence[Batch]) -> None:
        at_hand = self.runtime.at_hand
        self.losses.append(float(step.loss) if at_hand else step.loss)
        self.norms.append(float(step.norm) if at_hand else step.norm)
        self.parts = {n: float(x) for n, x in step.parts.items()} if at_hand else step.parts
        for batch in group:
            self.samples += batch.size

    def event(self, state: TrainState) -> StepDone:
        """Wait for the device, once, and tell."""
        names, n = list(self.parts), len(self.losses)
        shares = [*self.losses, *self.parts.values(), float(self.samples)]
        totals = _numbers(shares, self.runtime, summed=True)
        norms = _numbers(self.norms, self.runtime)
        now = time.perf_counter()
        if now - self.looked > _OFTEN:
            self.held, self.looked = held(self.runtime.device), now
        counters = state.counters
        counters.samples += int(totals[-1])
        event = StepDone(
            step=counters.step,
            epoch=counters.epoch,
            samples=counters.samples,
            losses=tuple(totals[:n]),
            norms=tuple(norms),
            lr=float(state.optimizer.param_groups[0]["lr"]),
            seconds=(now - self.began) / n,
            waited=(self.train.waited - self.waited) / n,
            parts=dict(zip(names, totals[n:-1], strict=True)),
            skipped=counters.skipped,
            memory=self.held,
        )
        self.losses, self.norms, self.samples = [], [], 0
        self.restart()
        return event

    def restart(self) -> None:
        """Time goes on from here."""
        self.began, self.waited = time.perf_counter(), self.train.waited
