"""Steps so small that the budget does not suffice."""

from __future__ import annotations

import math
from statistics import median

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import (
    Standing,
    everywhere,
    failing,
    gravity,
    norms,
    number,
    percent,
    probes,
    rate_of,
    rounded,
    standing,
    window,
)
from trainwright.rules.remedies import other_rates
from trainwright.rules.upstream import BEFORE_SLOW

_BETTER = 0.95  # of the loss of guessing: something is learned
_UPDATE = 1e-4  # of a weight, each step
_SLOW = 0.25  # of the way from the start to guessing
_LEFT = 1000.0  # times what clipping leaves of the median gradient


def check(evidence: Evidence) -> Finding | None:
    """At the end, or half way without a prospect: no better than guessing; the loss still falls, or weights rest."""
    now = standing(evidence)
    facts = evidence.facts
    if now is None or not math.isfinite(now.guess) or now.guess <= 0 or now.steps < 20:
        return None
    if now.loss <= _BETTER * now.guess and failing(evidence) is None:
        return None
    if not evidence.over and (now.steps < max(200, facts.steps // 2) or _will_do(evidence, now)):
        return None
    moves = [u for probe in probes(evidence, 5) for _, u in everywhere(probe, "update")]
    move = median(moves) if moves else math.nan
    way = now.start - now.guess
    above = (
        math.isfinite(now.start) and now.loss > 1.05 * now.start
    )  # steps that were too short lead nowhere near there
    slow = (
        now.falling and not above and (way <= 0 or (now.start - now.loss) < (1 - _SLOW) * way or now.loss < now.start)
    )
    still = move < _UPDATE
    if not (slow or still):
        return None
    rate = rate_of(evidence)
    cut = _cut(evidence)
    if cut:
        return _clipped(evidence, now, cut)
    moved = f" (each step moves the weights by {percent(move)} of their size)" if moves else ""
    return Finding(
        rule="rate_too_low",
        severity=gravity(evidence),
        what=f"after {now.steps:,} steps the loss is {number(now.loss)}, and guessing reaches {number(now.guess)}; it "
        f"{'still falls, but too slowly' if slow else 'hardly moves'}{moved}: the learning rate of {number(rate)} is "
        "too low, or the budget too small",
        where="optimizer.lr",
        evidence={"learning rate": rate, "update, relative": move, "window before": now.before, **now.numbers},
        why="The way is right and the steps are too short for the budget.",
        fixes=(
            *other_rates(evidence, 10.0, 100.0),
            Patch({"budget": f"{10 * max(1, facts.steps)} steps"}),
        ),
    )


def _will_do(evidence: Evidence, now: Standing) -> bool:
    """If the loss falls on as it does now, it is below guessing when the budget ends: then the end shall tell."""
    left, size = max(0, evidence.facts.steps - now.steps), window(evidence, now.steps)
    return now.falling and now.loss - left * (now.before - now.loss) / size <= _BETTER * now.guess


def _cut(evidence: Evidence) -> float:
    """The median norm of the gradient before it is clipped, where next to nothing is left of it; else 0."""
    seen = norms(evidence)
    usual = median(seen) if len(seen) else 0.0
    return usual if usual > _LEFT * evidence.facts.clip else 0.0


def _clipped(evidence: Evidence, now: Standing, usual: float) -> Finding:
    clip = evidence.facts.clip
    return Finding(
        rule="rate_too_low",
        severity=gravity(evidence),
        what=f"the gradient is clipped to a norm of {number(clip)}, and half of the time it is above {number(usual)}: "
        f"what is left of it moves nothing, and after {now.steps:,} steps the loss is {number(now.loss)}",
        where="clip",
        evidence={"clip": clip, "median norm": usual, "learning rate": rate_of(evidence), **now.numbers},
        why="Clipping is meant for the few steps whose gradient is unusually large. Where it cuts every step, its norm "
        "is the learning rate.",
        fixes=(Patch({"clip": rounded(usual)}), Patch({"clip": "none"})),
    )


@rules.add("rate_too_low")
def rate_too_low() -> Rule:
    """The learning rate is too low, or the budget too small.

    No better than guessing, and the loss still falls beyond its noise, or the median step moves weights by less than
    0.01 % of their size. Half way only where, falling on as it does, the loss would not come below guessing. Where
    clipping leaves less than a thousandth of the median gradient, that is said.
    """
    facts = Facts(loss=LossFacts("mse", "numbers", 100.0, 1.0), steps=300)
    return Rule(
        "rate_too_low",
        check,
        sick=lambda: patient(facts, [100.0 - 0.1 * i for i in range(300)], over=True),
        healthy=lambda: patient(facts, [100.0 * 0.9**i for i in range(300)], over=True),
        causes=BEFORE_SLOW,
    )
