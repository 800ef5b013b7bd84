"""A budget that ended while there was still much to gain."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import EARLY, failing, number, standing
from trainwright.rules.remedies import other_rates
from trainwright.rules.upstream import ALL

_GAIN = 0.1


def check(evidence: Evidence) -> Finding | None:
    """The last window's loss beside the one before it: a note where as much again would be worth having.

    A warning where nothing is learned yet, and the budget was of so few steps that most networks learn nothing.
    """
    now, bad = standing(evidence), failing(evidence)
    if evidence.over and bad is not None and bad.steps < EARLY:
        return Finding(
            rule="stopped_early",
            severity="warning",
            what=f"the budget of {bad.steps:,} steps ended before anything was learned: the loss is "
            f"{number(bad.loss)}, and guessing reaches {number(bad.guess)}",
            where="budget",
            evidence=bad.numbers,
            why=f"Few networks learn in less than {EARLY} steps, whatever their rate. Smaller batches make more steps "
            "of the same samples.",
            fixes=(
                Patch({"budget": f"{5 * max(EARLY, bad.steps)} steps"}),
                *other_rates(evidence, 10.0),
            ),
        )
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
    """The budget ended too early.

    The training loss fell by more than 10 % between the last two windows, and validation was at its best; or nothing is
    learned after less than 200 steps, and no other cause was found.
    """
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0), steps=200)
    return Rule(
        "stopped_early",
        check,
        sick=lambda: patient(facts, [0.99**i for i in range(200)], over=True),
        healthy=lambda: patient(facts, [0.3 + 0.5 * 0.9**i for i in range(200)], over=True),
        causes=ALL,
    )
