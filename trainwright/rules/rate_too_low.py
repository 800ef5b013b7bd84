"""Steps so small that the budget does not suffice."""

from __future__ import annotations

import math
from statistics import median

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import everywhere, gravity, number, percent, probes, rate_of, standing
from trainwright.rules.remedies import other_rates
from trainwright.rules.upstream import BEFORE_SLOW

_UPDATE = 1e-4  # of a weight, each step
_SLOW = 0.25  # of the way from the start to guessing


def check(evidence: Evidence) -> Finding | None:
    """At the end, or half way: no better than guessing, and the loss still falls or the weights hardly moved."""
    now = standing(evidence)
    facts = evidence.facts
    if now is None or not math.isfinite(now.guess) or now.guess <= 0 or now.loss <= 0.95 * now.guess or now.steps < 20:
        return None
    if not evidence.over and now.steps < max(200, facts.steps // 2):
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
    moved = f" (each step moves the weights by {percent(move)} of their size)" if moves else ""
    return Finding(
        rule="rate_too_low",
        severity=gravity(evidence),
        what=f"after {now.steps:,} steps the loss is {number(now.loss)}, and guessing reaches {number(now.guess)}; it "
        f"{'still falls, but too slowly' if slow else 'hardly moves'}{moved}",
        where="optimizer.lr",
        evidence={"learning rate": rate, "update, relative": move, "window before": now.before, **now.numbers},
        why="The way is right and the steps are too short for the budget.",
        fixes=(
            *other_rates(evidence, 10.0, 100.0),
            Patch({"budget": f"{10 * max(1, facts.steps)} steps"}),
        ),
    )


@rules.add("rate_too_low")
def rate_too_low() -> Rule:
    """The learning rate is too low, or the budget too small.

    No better than guessing, and the loss still falls beyond its noise, or the median step moves weights by less than
    0.01 % of their size.
    """
    facts = Facts(loss=LossFacts("mse", "numbers", 100.0, 1.0), steps=300)
    return Rule(
        "rate_too_low",
        check,
        sick=lambda: patient(facts, [100.0 - 0.1 * i for i in range(300)], over=True),
        healthy=lambda: patient(facts, [100.0 * 0.9**i for i in range(300)], over=True),
        causes=BEFORE_SLOW,
    )
