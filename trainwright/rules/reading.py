"""How a training goes, read from what was logged: against guessing, against its own past, and against its noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from trainwright.core.events import Probed
from trainwright.core.facts import LayerFacts
from trainwright.core.finding import Evidence

Numbers = npt.NDArray[np.float64]
NO_BETTER = 0.95  # of the loss of guessing: above it nothing was learned
LEAST_STEPS = 20  # of which anything is said at the end of a training
EARLY = 200  # steps, and one epoch, before which nothing is said while it goes on
_PART = 0.3  # of the budget, likewise: many a network stands on a plateau before it learns
_WINDOW = 50  # steps
_LEARNED, _EVALS = 0.8, 3  # of the loss of guessing; evaluations of which something is said
_BEHIND = 0.25  # of the way from guessing to right answers
LITTLE = 0.2  # of it
_IN_A_ROW = 3  # steps that were not finite
_LONGEST = 2000
# kinds of layers: with matrices or kernels, silent below 0, flat at their ends, growing beyond all bounds
HEAVY = {"linear", "bilinear", "conv1d", "conv2d", "conv3d", "rnn", "lstm", "gru", "multiheadattention", "dense"}
SILENCING = {"relu", "relu6", "threshold", "hardshrink", "softshrink"}
FLAT_ENDED = {"sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign"}
BURSTING = {"exp"}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the training loss is."""

    steps: int  # taken
    loss: float  # mean of the latest window
    error: float  # standard error of that
    before: float  # mean of the window before it; NaN where there is none
    guess: float  # the lowest loss of a constant answer
    start: float  # before the first step
    falling: bool  # the loss fell more between the windows than chance explains
    simple: float = math.nan  # share of the way from guessing to right answers that simple models get
    reached: float = math.nan  # and the network, where that is far less

    @property
    def numbers(self) -> dict[str, float]:
        """As evidence."""
        told = {"steps": float(self.steps), "loss": self.loss, "loss of guessing": self.guess}
        told |= {} if math.isnan(self.reached) else {"simple models": self.simple, "the network": self.reached}
        return told if math.isnan(self.start) else {**told, "loss at the start": self.start}

    @property
    def severity(self) -> Literal["warning", "error"]:
        """Of a cause that is as good as proved."""
        return "error" if math.isnan(self.reached) else "warning"

    @property
    def outcome(self) -> str:
        """In words."""
        if math.isnan(self.reached):
            return "nothing is learned"
        return (
            f"of the way from guessing to right answers the network gets {percent(max(0.0, self.reached))} on samples "
            f"that it has seen, and simple models {percent(self.simple)} on samples that they have not"
        )


T = TypeVar("T")


def _once(read: Callable[[Evidence], T]) -> Callable[[Evidence], T]:
    """Read the same evidence once for all rules: a log of 100,000 steps is long."""

    @wraps(read)
    def kept(evidence: Evidence) -> T:
        if evidence.known is None:  # its view may move on between two readings
            return read(evidence)
        if read.__name__ not in evidence.known:
            evidence.known[read.__name__] = read(evidence)
        found: T = evidence.known[read.__name__]
        return found

    return kept


@_once
def curve(evidence: Evidence) -> Numbers:
    """(S,) losses of the steps that were taken, in their order; those that are not finite are left out."""
    untaken = {e.step for e in evidence.view.skipped}
    values = np.array([v for step, v in evidence.view.losses.items() if step not in untaken], dtype=np.float64)
    return values[np.isfinite(values)]


@_once
def norms(evidence: Evidence) -> Numbers:
    """(S,) gradient norms likewise."""
    values = np.array(list(evidence.view.norms.values()), dtype=np.float64)
    return values[np.isfinite(values)]


@_once
def standing(evidence: Evidence) -> Standing | None:
    """Where the loss is; None before there is enough of it to say."""
    losses = curve(evidence)
    if len(losses) < 4:
        return None
    size = window(evidence, len(losses))
    late, early = losses[-size:], losses[-2 * size : -size]
    error = float(late.std() / math.sqrt(len(late)))
    before, falling = math.nan, False
    if len(early):
        before = float(early.mean())
        noise = math.hypot(error, float(early.std() / math.sqrt(len(early))))
        falling = before - float(late.mean()) > max(2 * noise, 0.002 * abs(before))
    facts = evidence.facts.loss
    return Standing(len(losses), float(late.mean()), error, before, facts.guess, facts.start, falling)


def window(evidence: Evidence, steps: int) -> int:
    """Steps that are averaged: fifty, an epoch where that is more, and never more than half of all."""
    return max(2, min(max(_WINDOW, evidence.facts.per_epoch), _LONGEST, steps // 2))


@_once
def failing(evidence: Evidence) -> Standing | None:
    """Where the loss is, if the network does no better than guessing and there is no sign that it will; else None.

    While the training goes on that takes some hundreds of steps and a loss that does not fall, unless a whole layer is
    dead; at its end, a few. There it is also one that hardly learns, where simple models learn much.
    """
    now = standing(evidence)
    if now is None or not math.isfinite(now.guess) or now.guess <= 1e-8:
        return None
    latest = {e.part: e.metrics["loss"] for e in evidence.view.evals if "loss" in e.metrics}
    if now.loss <= NO_BETTER * now.guess or any(loss < 0.9 * now.guess for loss in latest.values()):
        behind = lagging(evidence)  # with dropout, or averaged weights, it may be better than the training loss tells
        return behind if behind is not None and behind.reached < LITTLE else None
    if evidence.over:
        return now if now.steps >= LEAST_STEPS else None
    early = now.steps < max(EARLY, evidence.facts.per_epoch, int(_PART * evidence.facts.steps))
    early = early and not severed(evidence)
    return None if early or now.falling else now


@_once
def lagging(evidence: Evidence) -> Standing | None:
    """Where the loss is, if at the end the network does far worse on its own training samples than trees or a linear
    model on samples they have not seen; else None. No cause is proved by it, but a symptom is believed.
    """
    now, facts = standing(evidence), evidence.facts
    if now is None or not evidence.over or now.steps < EARLY:
        return None
    reached = max([facts.reached, *_shares(evidence)])
    if not facts.signal - reached > max(_BEHIND, 3 * facts.signal_error):
        return None
    return replace(now, simple=facts.signal, reached=reached)


def _shares(evidence: Evidence) -> list[float]:
    """The same share by what evaluations tell of accuracy and R²."""
    counts = evidence.facts.target.counts
    most = max(counts) / sum(counts) if counts and sum(counts) else math.nan
    told = [e.metrics for e in evidence.view.evals]
    shares = [(m["accuracy"] - most) / (1 - most) for m in told if "accuracy" in m and most < 1]
    return [x for x in (*shares, *(m["r2"] for m in told if "r2" in m)) if math.isfinite(x)]


def wanting(evidence: Evidence) -> Standing | None:
    """Nothing is learned, or at the end far less than simple models learn."""
    return failing(evidence) or lagging(evidence)


def severed(evidence: Evidence) -> str:
    """A layer that gave 0 for every sample at the two latest probes; "" for none. Nothing passes it any more."""
    latest = probes(evidence, 2)
    silencing = [x.name for x in evidence.facts.layers if x.kind in SILENCING]
    cut = [n for n in silencing if len(latest) == 2 and all(figure(p, n, "dead") == 1 for p in latest)]
    return cut[0] if cut else ""


def gravity(evidence: Evidence) -> Literal["warning", "error"]:
    """Of a finding that explains why nothing is learned: an error once the training is over and was long enough.

    A warning where something is learned after all.
    """
    long = len(evidence.view.losses) >= max(EARLY, evidence.facts.per_epoch)
    bad = wanting(evidence)
    return "error" if evidence.over and long and (bad is None or bad.severity == "error") else "warning"


def probes(evidence: Evidence, last: int = 3) -> list[Probed]:
    """The latest probes, the newest last."""
    return evidence.view.probed[-last:]


def layers(evidence: Evidence) -> Mapping[str, LayerFacts]:
    """By name, in the order in which samples go through them."""
    return {layer.name: layer for layer in evidence.facts.layers}


def heavy(evidence: Evidence) -> list[LayerFacts]:
    """The layers with matrices or kernels that learn, in order."""
    return [layer for layer in evidence.facts.layers if layer.kind in HEAVY and layer.weights]


def figure(probe: Probed, layer: str, name: str) -> float:
    """One number of a probe; NaN where it was not measured."""
    return probe.statistics.get(layer, {}).get(name, math.nan)


def everywhere(probe: Probed, name: str) -> Iterator[tuple[str, float]]:
    """(layer, number) of all layers of which it was measured."""
    for layer, numbers in probe.statistics.items():
        if name in numbers and math.isfinite(numbers[name]):
            yield layer, numbers[name]


def rate_of(evidence: Evidence) -> float:
    """The learning rate that the recipe says: the highest there was, as a schedule may have lowered it since."""
    rates = [e.lr for e in evidence.view.steps if e.lr == e.lr]
    return max(rates, default=evidence.facts.optimizer.lr)


def rounded(x: float) -> float:
    """To three digits, as a person would write it into a recipe."""
    return float(f"{x:.3g}")


def number(x: float) -> str:
    """As it reads in a sentence."""
    if not math.isfinite(x):
        return str(x)
    if abs(x) < 1e6 and (x == round(x) or abs(x) >= 999.5):
        return f"{x:,.0f}"
    return f"{x:.3g}"


def percent(share: float) -> str:
    """``38 %``; nearly all is not all."""
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.2g} %"


@_once
def by_heart(evidence: Evidence) -> Standing | None:
    """Where the loss is, if the training samples are learned and no evaluation was better than guessing; else None.

    Only at the end. It may be chance of a small validation part, or another kind of samples: it is a symptom.
    """
    now = standing(evidence)
    if now is None or not evidence.over or not now.loss < _LEARNED * now.guess:
        return None
    seen = [e.metrics.get("loss", math.nan) for e in evidence.view.evals if e.part == "valid"]
    return now if len(seen) >= _EVALS and all(loss > NO_BETTER * now.guess for loss in seen) else None


def blown(evidence: Evidence) -> Standing | None:
    """Where the loss was before it overflowed, if the latest steps were not finite; else None.

    Three in a row: one batch may have been at fault, and half precision skips some at its beginning. In a loop of
    somebody's own they are taken, and one is enough: all weights are NaN from then on.
    """
    latest = [e.step for e in evidence.view.skipped[-_IN_A_ROW:]]
    skipped = len(latest) == _IN_A_ROW and latest[-1] - latest[0] < _IN_A_ROW and latest[-1] >= evidence.view.step
    last = next(reversed(evidence.view.losses.values()), 0.0)
    if not (skipped or (not evidence.view.skipped and not math.isfinite(last))):
        return None
    losses, facts = curve(evidence), evidence.facts.loss
    before = float(losses[-1]) if len(losses) else math.nan
    return Standing(len(losses), math.inf, 0.0, before, facts.guess, facts.start, False)


@_once
def erring(evidence: Evidence) -> float:
    """Share of the validation samples that the network says wrong where it says fewest wrong; NaN where not known."""
    right = [e.metrics["accuracy"] for e in evidence.view.evals if e.part == "valid" and "accuracy" in e.metrics]
    return 1 - max(right) if right else math.nan
