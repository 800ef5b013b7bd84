"""The learning-rate range test: one short training at rising rates, and where its loss falls and breaks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from trainwright.core.errors import UserError
from trainwright.core.events import Event, StepDone, StepSkipped, Stop
from trainwright.engine import disk
from trainwright.engine.ranks import launched
from trainwright.runs.recipe import plain, read
from trainwright.runs.run import Run
from trainwright.runs.train import train
from trainwright.tools.pictures import draw_rates

LOW, HIGH, STEPS = 1e-7, 10.0, 200
_KEEPS = 0.9  # share that the running mean of the loss keeps of itself at each step
_BROKEN = 4.0  # times the lowest loss, above which the training is taken to diverge, as fastai has it
_FIRST = 10  # steps whose running mean is not steady yet
_LEAST = 30  # steps, below which there is no curve
_FEWEST = 5  # that a test must have taken before it broke
_TABLE = "lr_range.csv"


@dataclass(frozen=True, slots=True)
class RateTest:
    """What a training at rising rates told. One number for each step that was taken."""

    path: Path
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]  # the running mean of the losses
    suggested: float | None  # where it falls fastest; None where it does not fall
    lowest: float  # the rate at the lowest running mean: too high already
    diverged: bool  # before the highest rate

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "run": str(self.path),
            "rates": list(self.rates),
            "losses": list(self.losses),
            "suggested": self.suggested,
            "lowest": self.lowest,
            "diverged": self.diverged,
        }

    def lines(self) -> list[str]:
        """What it means, for a person."""
        ends = f"{self.rates[0]:.2g} to {self.rates[-1]:.2g} in {len(self.rates)} steps"
        broke = "where the training breaks" if self.diverged else "and the training never breaks"
        said = [f"rates    {ends}, {broke}"]
        if self.suggested is None:
            return [*said, "the loss does not fall at any rate: something else is wrong, or the range is too narrow"]
        return [
            *said,
            f"lowest   at {self.lowest:.2g}, which is too high to stay at",
            f"fastest  at {self.suggested:.2g}, which is worth a try: optimizer.lr={self.suggested:.2g}",
        ]


def lr_range(
    recipe: str | Path | Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    *,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
    out: str | Path | None = None,
    quiet: bool = False,
    to_stderr: bool = False,
) -> RateTest:
    """Train a recipe for a few steps while its rate rises, and say where the training loss falls fastest.

    It is a run like any other, at the schedule ``range_test``, and looks at the training part alone. What it proposes
    is a place to begin, or the middle of a range to search. ``lr_range.png`` and ``lr_range.csv`` lie in its folder.

    Args:
        recipe: as `train` takes it; its budget, schedule and rate do not count here.
        changes: dotted keys to set.
        low: the first rate.
        high: the last; the training is ended before where its loss breaks.
        steps: of the test.
        out: the run folder.
        quiet: say nothing but warnings and errors.
        to_stderr: speak on standard error.

    Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.
    """
    if launched() is not None:
        raise UserError("lr_range", "cannot run under torchrun", "write ranks = 1")
    if not 0 < low < high or not math.isfinite(high):
        raise UserError(
            "lr_range", f"{low:g} to {high:g} is no range of rates", "write two rates, the smaller one first"
        )
    if steps < _LEAST:
        raise UserError("lr_range", f"{steps} steps are too few for a curve", f"write {_LEAST} or more")
    source = plain(read(recipe, changes).config.model_dump())
    asked = {
        "optimizer.lr": high,
        "schedule": {"name": "range_test", "initial": low / high},
        "budget": f"{steps} steps",
        "eval_every": f"{steps} steps",
        "save_every": f"{steps} steps",
        "log_every": 1,
        "patience": "none",
        "min_change": 0.0,
        "on_nan": "skip",
        "score": "none",
        "doctor": "off",
        "ranks": 1,
    }
    watch = _Breaks()
    run = train(source, asked, out=out, observers=[watch], quiet=quiet, to_stderr=to_stderr)
    found = _read(run, watch.broken)
    _write(found)
    draw_rates(found)
    return found


@final
class _Breaks:
    """Ends the test where the loss is out of all bounds: higher rates only make it worse."""

    def __init__(self) -> None:
        self.broken = False
        self.best = math.inf
        self.mean = _Running()

    def __call__(self, event: Event) -> Stop | None:
        """Asks to stop."""
        if isinstance(event, StepSkipped):
            return self._stop()
        if not isinstance(event, StepDone):
            return None
        for loss in event.losses:
            if not math.isfinite(loss):
                return self._stop()
            smooth = self.mean.add(loss)
            self.best = min(self.best, smooth)
            far = smooth > self.best + (_BROKEN - 1) * abs(self.best)
            if self.mean.count > _FIRST and far:
                return self._stop()
        return None

    def _stop(self) -> Stop:
        self.broken = True
        return Stop("the rate is so high that the training breaks")


@final
class _Running:
    """A running mean that is not drawn towards 0 in the beginning."""

    def __init__(self) -> None:
        self.count, self._sum = 0, 0.0

    def add(self, value: float) -> float:
        self.count += 1
        self._sum = _KEEPS * self._sum + (1 - _KEEPS) * value
        return self._sum / (1 - _KEEPS**self.count)


def _read(run: Run, broken: bool) -> RateTest:
    taken = [(e.lr, e.losses[-1]) for e in run.view.steps if e.losses and math.isfinite(e.losses[-1])]
    if len(taken) < _FEWEST:
        what = f"the training broke after {len(taken)} steps, at a rate of {taken[-1][0]:.2g}" if taken else "no step"
        raise UserError("lr_range", what, "begin at a lower rate")
    mean = _Running()
    smooth = [mean.add(loss) for _, loss in taken]
    lowest = int(np.argmin(smooth))
    return RateTest(
        run.path, tuple(r for r, _ in taken), tuple(x for _, x in taken), tuple(smooth),
        _fastest([r for r, _ in taken], smooth, lowest), taken[lowest][0], broken,
    )  # fmt: skip


def _fastest(rates: list[float], smooth: list[float], lowest: int) -> float | None:
    """The rate at which the running mean falls fastest over the logarithm of the rate; None where it does not fall."""
    if lowest <= _FIRST:
        return None
    slope = np.gradient(np.array(smooth), np.log(np.array(rates)))[_FIRST : lowest + 1]
    at = int(np.argmin(slope))
    return float(rates[_FIRST + at]) if slope[at] < 0 else None


def _write(found: RateTest) -> None:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["rate", "loss", "running_mean"])
    rows.writerows(zip(found.rates, found.losses, found.smooth, strict=True))
    disk.put(found.path / _TABLE, text.getvalue().encode())
