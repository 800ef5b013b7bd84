"""Steps so large that they undo what was learned."""

from __future__ import annotations

from statistics import median

import numpy as np

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import curve, everywhere, number, percent, probes, rate_of, wanting, window
from trainwright.rules.remedies import other_rates
from trainwright.rules.upstream import BEFORE_RATE

_UPDATE = 0.05  # of a weight, each step
_ABOVE = 1.5  # times the loss of guessing
_LEAP = 10.0  # times the larger of that and the loss at the start
_WHOLE = 1.0  # an update as large as the weights themselves


def check(evidence: Evidence) -> Finding | None:
    """Nothing is learned, and steps are large against the weights, or the loss has risen above where it began."""
    bad = wanting(evidence)
    if bad is None:
        return None
    moves = [u for probe in probes(evidence, 5) for _, u in everywhere(probe, "update")]
    move = median(moves) if moves else 0.0
    losses = curve(evidence)
    size = window(evidence, len(losses))
    best = min(float(losses[i : i + size].mean()) for i in range(0, len(losses) - size + 1, max(1, size // 2)))
    above = bad.loss > _ABOVE * bad.guess
    rose = above and bad.loss > 1.2 * max(best, bad.start if bad.start == bad.start else 0)
    swings = float(np.std(losses[-size:])) > bad.guess and not bad.falling
    wild = swings and above and not bad.loss < 0.9 * bad.start
    peak, largest = float(losses.max()), _largest_move(evidence)
    leapt = bad.start == bad.start and peak > _LEAP * max(bad.start, bad.guess)
    if not (move > _UPDATE or rose or wild or leapt or largest > _WHOLE):
        return None
    rate = rate_of(evidence)
    low = min(best, bad.start) if bad.start == bad.start else best
    if move > _UPDATE:
        reason = f"each step moves the weights by {percent(move)} of their size"
    elif largest > _WHOLE:
        reason = f"a step moved weights by {percent(largest)} of their size"
    elif leapt:
        reason = f"the loss leapt to {number(peak)}, and was {number(bad.start)} at the start"
    elif rose:
        reason = f"the loss rose to {number(bad.loss)}, and was {number(low)}"
    else:
        reason = f"the loss swings by {number(float(np.std(losses[-size:])))} around {number(bad.loss)}"
    return Finding(
        rule="rate_too_high",
        severity=bad.severity,
        what=f"the learning rate of {number(rate)} is too high: {reason}, and {bad.outcome}",
        where="optimizer.lr",
        evidence={
            "learning rate": rate,
            "update, relative": move,
            "largest update": largest,
            "highest loss": peak,
            "lowest window": best,
            **bad.numbers,
        },
        why="Steps that are too long jump over the valley: the loss swings or climbs, units die, and what one step "
        "learns the next one destroys.",
        fixes=(
            *other_rates(evidence, 0.1, 0.01),
            Patch({"clip": 1.0}),
        ),
    )


def _largest_move(evidence: Evidence) -> float:
    """Of the probes, by the median layer: one layer that begins at 0 moves by more than its size, and rightly."""
    moves = [[u for _, u in everywhere(probe, "update")] for probe in evidence.view.probed]
    return max((median(each) for each in moves if each), default=0.0)


@rules.add("rate_too_high")
def rate_too_high() -> Rule:
    """The learning rate is too high.

    Where nothing is learned: the median step moves weights by more than 5 % of their size, or the loss has climbed
    half above that of guessing and above its own start, has leapt to ten times both, or the median layer once moved by
    more than its own size. So it is found too where the first steps have killed all units, and nothing moves any more.
    """
    facts = Facts(loss=LossFacts("cross_entropy", "logits", 2.4, 2.3))
    large = {300: {"fc": {"update": 0.3}}}
    return Rule(
        "rate_too_high",
        check,
        sick=lambda: patient(facts, [2.4] * 300, lr=0.5, probes=large, over=True),
        healthy=lambda: patient(facts, [0.7] * 300, lr=0.5, probes=large, over=True),
        causes=BEFORE_RATE,
    )
