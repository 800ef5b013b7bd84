"""NaN or infinity among the numbers that a network is given or compared with."""

from __future__ import annotations

from trainwright.core.facts import Facts, Target, Values
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient


def check(evidence: Evidence) -> Finding | None:
    """One number that is not finite is proof."""
    facts = evidence.facts
    places = [*facts.inputs.items(), ("the targets", facts.target.values)]
    bad = [(name, v) for name, v in places if v.bad]
    if not bad:
        return None
    name, values = bad[0]
    return Finding(
        rule="not_finite_data",
        severity="error",
        what=f"{values.bad} numbers of {name} are NaN or infinite, the first at {values.bad_at}",
        where=name,
        evidence={"numbers": values.bad, "rows looked at": values.rows},
        why="Everything computed from NaN is NaN: the loss, the gradient, and after one step all weights.",
        fixes=(Edit("drop these rows, or put the column's median in their place"),),
    )


@rules.add("not_finite_data")
def not_finite_data() -> Rule:
    """Numbers in the data that are NaN or infinite.

    Measured on up to 4,096 training samples before the first step.
    """
    return Rule(
        "not_finite_data",
        check,
        sick=lambda: patient(Facts(inputs={"x": Values(bad=2, bad_at="sample 17, column 5", rows=100)})),
        healthy=lambda: patient(Facts(inputs={"x": Values(rows=100)}, target=Target(Values(rows=100)))),
    )
