"""Steps so large that they undo what was learned."""

from __future__ import annotations

from statistics import median

import numpy as np

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import curve, everywhere, failing, number, percent, probes, rate_of, window
from trainwright.rules.remedies import other_rates
from trainwright.rules.upstream import BEFORE_RATE

_UPDATE = 0.05  # of a weight, each step
_ABOVE = 1.5  # times the loss of guessing


def check(evidence: Evidence) -> Finding | None:
    """Nothing is learned, and steps are large against the weights, or the loss has risen above where it began."""
    bad = failing(evidence)
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
    if not (move > _UPDATE or rose or wild):
        return None
    rate = rate_of(evidence)
    low = min(best, bad.start) if bad.start == bad.start else best
    reason = (
        f"each step moves the weights by {percent(move)} of their size"
        if move > _UPDATE
        else f"the loss rose to {number(bad.loss)}, and was {number(low)}"
    )
    return Finding(
        rule="rate_too_high",
        severity="error",
        what=f"the learning rate of {number(rate)} is too high: {reason}, and nothing is learned",
        where="optimizer.lr",
        evidence={"learning rate": rate, "update, relative": move, "lowest window": best, **bad.numbers},
        why="Steps that are too long jump over the valley: the loss swings or climbs, units die, and what one step "
        "learns the next one destroys.",
        fixes=(
            *other_rates(evidence, 0.1, 0.01),
            Patch({"clip": 1.0}),
        ),
    )


@rules.add("rate_too_high")
def rate_too_high() -> Rule:
    """The learning rate is too high.

    Where nothing is learned: the median step moves weights by more than 5 % of their size, or the loss has climbed
    half above that of guessing and above its own start.
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
