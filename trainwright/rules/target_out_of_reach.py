"""Targets that the last activation can never give."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts, Output, Target, Values
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number, percent
from trainwright.rules.remedies import another_end

_TOLERATED = 0.01  # of the targets


def check(evidence: Evidence) -> Finding | None:
    """More than one target in a hundred lies beyond the range of the last operation, or of the loss."""
    facts = evidence.facts
    output, values, loss = facts.output, facts.target.values, facts.loss
    binary = loss.name == "binary_cross_entropy"
    beyond_loss = (
        binary and facts.target.coding in ("numbers", "classes") and (values.low < -1e-6 or values.high > 1 + 1e-6)
    )
    beyond_output = loss.wants in ("numbers", "") and output.missed > _TOLERATED
    if not beyond_loss and not beyond_output:
        return None
    span = f"{number(values.low)} to {number(values.high)}"
    if beyond_loss:
        what = f"binary cross-entropy compares with 0 to 1, and the targets are {span}"
        fix = "number classes from 0 and use cross-entropy with one output each; for numbers use mse"
        counted = facts.target.coding == "classes" and values.low >= 0
        answers = int(values.high) + 1
        wide = output.values.shape[:1] == (answers,)
        end = another_end(
            facts, fix, "none", "cross_entropy" if counted else "mse", 0 if wide or not counted else answers
        )
    else:
        low, high = output.reach
        reach = f"{number(low)} to {number(high)}" if high < 1e9 else f"{number(low)} and more"
        what = f"{percent(output.missed)} of the targets ({span}) lie beyond what {output.last} can say: {reach}"
        end = another_end(facts, "leave out the last activation, or scale the targets into its range")
    return Finding(
        rule="target_out_of_reach",
        severity="error",
        what=what,
        where="the last operation",
        evidence={"lowest target": values.low, "highest target": values.high, "share beyond": output.missed},
        why="No weights whatever can bring the network to these targets; it learns to say the nearest bound.",
        fixes=(end,),
    )


@rules.add("target_out_of_reach")
def target_out_of_reach() -> Rule:
    """Targets beyond the range of the last activation, or of the loss.

    More than one in a hundred of up to 4,096 training samples, before the first step.
    """
    relu = Output(Values((1,)), "relu", 1, 1.0, (0.0, 1e30), 0.5)
    return Rule(
        "target_out_of_reach",
        check,
        sick=lambda: patient(Facts(output=relu, loss=LossFacts("mse", "numbers"), target=Target(coding="numbers"))),
        healthy=lambda: patient(Facts(output=Output(), loss=LossFacts("mse", "numbers"))),
        causes=("softmax_axis", "shapes_spread"),
    )
