"""A budget that ended while there was still much to gain."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number, standing
from trainwright.rules.upstream import ALL

_GAIN = 0.1


def check(evidence: Evidence) -> Finding | None:
    """The last window's loss beside the one before it: a note where as much again would be worth having."""
    now = standing(evidence)
    if not evidence.over or now is None or not now.falling or now.steps < 100 or now.loss <= 0:
        return None
    gain = (now.before - now.loss) / now.before
    lows = [e.metrics["loss"] for e in evidence.view.evals if "loss" in e.metrics]
    if gain < _GAIN or (lows and min(lows) < lows[-1]):
        return None
    return Finding(
        rule="stopped_early",
        severity="note",
        what=f"the loss still fell when the budget ended: from {number(now.before)} to {number(now.loss)} in the last "
        "windows",
        where="budget",
        evidence={"gain, relative": gain, **now.numbers},
        why="More training, or a higher rate, is likely to give a better network.",
        fixes=(Patch({"budget": f"{2 * max(1, evidence.facts.steps or now.steps)} steps"}),),
    )


@rules.add("stopped_early")
def stopped_early() -> Rule:
    """The training loss fell by more than 10 % between the last two windows, and validation was at its best."""
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0), steps=200)
    return Rule(
        "stopped_early",
        check,
        sick=lambda: patient(facts, [0.99**i for i in range(200)], over=True),
        healthy=lambda: patient(facts, [0.3 + 0.5 * 0.9**i for i in range(200)], over=True),
        causes=ALL,
    )
