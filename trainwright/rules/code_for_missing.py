"""A number such as -999 among measurements."""

from __future__ import annotations

from trainwright.core.data_facts import Code, DataFacts
from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import failing, gravity, number


def check(evidence: Evidence) -> Finding | None:
    """It repeats at the end of a column, further from the rest than the rest is wide."""
    found, bad = evidence.facts.data.code, failing(evidence)
    if not found.count:
        return None
    return Finding(
        rule="code_for_missing",
        severity=gravity(evidence) if bad else "note",
        what=f"column '{found.column}' says {number(found.value)} in {found.count:,} of {found.rows:,} records, and "
        f"all others lie between {number(found.low)} and {number(found.high)}: it may stand for something else",
        where=found.column,
        evidence={
            "value": found.value,
            "records": found.count,
            "lowest of the others": found.low,
            "highest of the others": found.high,
            **(bad.numbers if bad else {}),
        },
        why="A code for missing is read as a measurement: it moves means and scales, and stands nearest to values that "
        "it has nothing to do with. What the column's description says of it decides.",
        fixes=(Edit(f"if it means missing, write data.missing = ['{found.value:g}'] for a table of text"),),
    )


@rules.add("code_for_missing")
def code_for_missing() -> Rule:
    """A number such as 999 or -9999 that repeats at one end of a column of a table, far from all others.

    It occurs three times and in a thousandth of the records at least, and lies further from the others than these
    reach. A note; where nothing is learned a warning, and at the end of 200 steps and more an error.
    """
    loss = LossFacts("mse", "numbers", 1.0, 1.0)
    sick = DataFacts(code=Code("age", -999.0, 14, 1000, 0.0, 92.0))
    return Rule(
        "code_for_missing",
        check,
        sick=lambda: patient(Facts(data=sick, loss=loss), [1.0] * 300, over=True),
        healthy=lambda: patient(Facts(data=sick, loss=loss), [0.3] * 300, over=True),
        causes=("not_finite_data", "constant_target"),
    )
