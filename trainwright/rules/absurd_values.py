"""Single numbers so far from all others that they decide the training."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts, Values
from trainwright.core.finding import Edit, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import failing, gravity, number

_FAR = 100.0  # robust deviations


def check(evidence: Evidence) -> Finding | None:
    """A number a hundred deviations from the median of its column, where nothing is learned."""
    facts, bad = evidence.facts, failing(evidence)
    targets = {"the targets": facts.target.values} if facts.target.coding == "numbers" else {}
    floats = {n: v for n, v in {**facts.inputs, **targets}.items() if v.dtype.startswith(("float", "bfloat"))}
    far = {n: v for n, v in floats.items() if v.outlying > _FAR}
    if bad is None or not far:
        return None
    name, values = max(far.items(), key=lambda pair: pair[1].outlying)
    return Finding(
        rule="absurd_values",
        severity=gravity(evidence),
        what=f"a number of {name} ({values.outlier_at}) lies {number(values.outlying)} deviations from the median of "
        f"its column, and {bad.outcome}",
        where=name,
        evidence={"deviations": values.outlying, "lowest": values.low, "highest": values.high, **bad.numbers},
        why="One number that large moves all weights at once, and what is usual becomes too small to be seen. It may "
        "be a slip of a decimal mark, another unit, or a code for something that is missing.",
        fixes=(
            Edit("correct the number, or leave the record out"),
            *([Patch({"task.loss": "huber"})] if name == "the targets" and facts.loss.name == "mse" else []),
            Edit("scale by ranks, which no single number can move: task.scaling = 'quantile' for tables"),
        ),
    )


@rules.add("absurd_values")
def absurd_values() -> Rule:
    """A number a hundred robust deviations from the median of its column, where nothing is learned.

    Measured on up to 4,096 training samples before the first step; the deviation is 1.4826 times the median distance to
    the median. Columns of prices and counts have such numbers too, so it is said only where nothing is learned.
    """
    loss = LossFacts("mse", "numbers", 1.0, 1.0)
    sick = Values((2,), outlying=4000.0, outlier_at="record 7, column 1", high=4000.0)
    return Rule(
        "absurd_values",
        check,
        sick=lambda: patient(Facts(inputs={"x": sick}, loss=loss), [1.0] * 300, over=True),
        healthy=lambda: patient(Facts(inputs={"x": sick}, loss=loss), [0.3] * 300, over=True),
        causes=("not_finite_data", "constant_target", "code_for_missing"),
    )
