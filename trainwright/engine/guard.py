"""What becomes of a step whose loss or gradient is not finite: skipped, and when there are too many, undone or the end.

Whatever is decided here every rank decides alike: it depends on numbers that they have agreed on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import NumericsError
from trainwright.core.task import Progress
from trainwright.engine.ranks import Single
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import Step

_SHARE = 100  # one step of so many may be skipped in all
_FEW = 3  # may be in any case
_TOLD = 12  # steps, and records of one step, that a message names


@dataclass(frozen=True, slots=True)
class Policy:
    """How many steps may be skipped, and what comes then."""

    on_nan: Literal["recover", "skip", "stop"] = "recover"
    skips: int = 3  # in a row
    rollbacks: int = 2


@dataclass(frozen=True, slots=True)
class Trouble:
    """A step that was not taken, and all that is needed to take it again."""

    step: int  # its number, from 1
    what: str  # "the loss was nan"
    loss: float
    norm: float
    records: tuple[int, ...]  # of the whole batch, over all ranks
    suspects: tuple[int, ...]  # of these, the ones whose own numbers are not finite
    group: Sequence[Batch]  # this rank's
    multiplier: float
    progress: Progress
    first: bool  # the step before it was taken


Back = Callable[[str], None]  # told why; the state is an earlier one afterwards; NumericsError where there is none


@dataclass(slots=True)
class Guard:
    """Counts the steps that are skipped.

    Args:
        state: of the training.
        runtime: its ranks.
        steps: of the whole budget.
        policy: what is allowed.
        tell: is told every step that was not taken.
        back: goes back to an earlier state; None where that is impossible.
        advice: what may be done beside, when the run must end.
    """

    state: TrainState
    runtime: Runtime
    steps: int
    policy: Policy = field(default_factory=Policy)
    tell: Callable[[Trouble], None] = lambda trouble: None
    back: Back | None = None
    advice: Callable[[], str] = lambda: ""
    recent: list[Trouble] = field(default_factory=list)

    def taken(self, done: Step, skipped: int) -> bool:
        """Whether a step left nothing to worry about, by what it says and what was counted since ``skipped``."""
        counters = self.state.counters
        if not done.agreed:  # a step that is not made of `train_step`
            bad = not bool(done.finite) or not bool(torch.isfinite(done.loss).all())  # the wait
            if self.runtime.ranks.agree(bad):
                counters.skipped = max(counters.skipped, skipped + 1)
        if counters.skipped > skipped:
            counters.streak += 1
            return False
        counters.streak = 0
        return True

    def after(self, trouble: Trouble) -> bool:
        """Tell, and decide: True where the state has gone back; NumericsError where the run must end."""
        self.recent = [*self.recent[1 - _TOLD :], replace(trouble, group=())]
        self.tell(trouble)
        why = self._too_many()
        if not why:
            return False
        story, self.recent = f"{why} ({_listed(self.recent)})", []
        counters, policy = self.state.counters, self.policy
        if policy.on_nan != "recover" or self.back is None or counters.rollbacks >= policy.rollbacks:
            raise NumericsError(_last_words(story, counters.rollbacks, counters.share) + self.advice())
        self.back(story)
        return True

    def _too_many(self) -> str:
        """Why no further step may be skipped; nothing where one may."""
        counters, latest = self.state.counters, self.recent[-1]
        allowed = max(_FEW, self.policy.skips, self.steps // _SHARE)
        if self.policy.on_nan == "stop":
            return latest.what
        if broken := broken_weights(self.state.model, self.runtime.ranks):
            return f"{latest.what}, and {broken}"
        if counters.streak > self.policy.skips:
            steps = f"{counters.streak} steps in a row" if counters.streak > 1 else "a step"
            return f"{latest.what}: {steps} without a finite loss and gradient"
        if counters.skipped > allowed:
            return f"{latest.what}: {counters.skipped} steps without a finite loss and gradient, {allowed} are allowed"
        return ""


def trouble_of(
    state: TrainState,
    done: Step,
    group: Sequence[Batch],
    runtime: Runtime,
    multiplier: float,
    progress: Progress,
) -> Trouble:
    """What is known of a step that was not taken; every rank must ask."""
    shares = [done.loss.detach().to(runtime.device, runtime.wide), done.norm.detach().to(runtime.device, runtime.wide)]
    loss, norm = float(runtime.ranks.total(shares[0].clone())), float(shares[1])  # the wait
    which, value = ("loss", loss) if not math.isfinite(loss) else ("gradient", norm)
    told = "infinite" if math.isinf(value) else "NaN"
    first = state.counters.streak == 1
    return Trouble(
        state.counters.step,
        f"the {which} was {told}",
        loss,
        norm,
        _everywhere([b.ids for b in group if b.size], runtime),
        _everywhere([b.ids[unsound_rows(b).to(b.ids.device)] for b in group if b.size], runtime),
        group,
        multiplier,
        progress,
        first,
    )


def unsound_rows(batch: Batch) -> Tensor:
    """(N,) bool: whether an input or target of the sample is not finite."""
    found = torch.zeros(len(batch.ids), dtype=torch.bool)
    for tensor in (*batch.inputs.values(), *batch.targets.values()):
        if tensor.is_floating_point() and tensor.ndim and len(tensor) == len(found):
            found |= ~tensor.isfinite().reshape(len(found), -1).all(1).cpu()
    return found


def broken_weights(model: nn.Module, ranks: Single) -> str:
    """What is wrong with the weights, or nothing; every rank must ask, and hears the same.

    Buffers may hold infinity (a mask does), but not NaN.
    """
    weights = [w.detach() for w in model.parameters() if w.is_floating_point() and w.numel()]
    buffers = [b for b in model.buffers() if b.is_floating_point()]
    largest = ranks.full(torch.nn.utils.get_total_norm(weights, math.inf)) if weights else torch.zeros(())
    unsound = not bool(largest.isfinite()) or any(bool(b.isnan().any()) for b in buffers)  # the wait
    return "some of its weights are NaN or infinite" if ranks.agree(unsound) else ""


def few(records: Sequence[int], most: int = _TOLD) -> str:
    """``3, 17, 80 and 61 more``."""
    more = f" and {len(records) - most:,} more" if len(records) > most else ""
    return ", ".join(map(str, records[:most])) + more


def _everywhere(ids: list[Tensor], runtime: Runtime) -> tuple[int, ...]:
    mine = torch.cat([i.cpu() for i in ids]) if ids else torch.zeros(0, dtype=torch.int64)
    return tuple(int(i) for i in torch.cat(runtime.ranks.gather(mine)))


def _listed(troubles: Sequence[Trouble]) -> str:
    """Which steps, and which records."""
    what = f"step{'s' if len(troubles) > 1 else ''} {', '.join(str(t.step) for t in troubles)}"
    if guilty := sorted({r for t in troubles for r in t.suspects}):
        return f"{what}; not finite in themselves: records {few(guilty)}"
    return f"{what}; records of the last one: {few(sorted(troubles[-1].records))}"


def _last_words(story: str, rollbacks: int, share: float) -> str:
    times = "once" if rollbacks == 1 else f"{rollbacks} times"
    tried = f", although it went back {times}, to {share:g} of the learning rate at last" if rollbacks else ""
    return (
        f"the training cannot go on{tried}: {story}. None of these steps moved the weights. "
        "Lower optimizer.lr, set clip = 1.0, or look for values that are not finite in the data"
    )
