"""Inputs that are the same for every sample."""

from __future__ import annotations

from math import prod

from trainwright.core.facts import Facts, Values
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number

_ROWS = 8


def check(evidence: Evidence) -> Finding | None:
    """No column of any input says one thing of one sample and another of another."""
    inputs = evidence.facts.inputs
    if not inputs or any(v.rows < _ROWS or v.bad or v.constant < prod(v.shape) for v in inputs.values()):
        return None
    name, values = next(iter(inputs.items()))
    return Finding(
        rule="constant_input",
        severity="error",
        what=f"all {values.rows:,} samples that were looked at have the same inputs ({name}: {number(values.low)} to "
        f"{number(values.high)})",
        where=name,
        evidence={"rows": values.rows, "lowest": values.low, "highest": values.high},
        why="A network that is shown the same each time can only answer the same. Often whole numbers were divided as "
        "whole numbers, pictures were divided by 255 twice and rounded, or one record was read again and again.",
        fixes=(Advice("print two samples as the network gets them, and go back to where they become the same"),),
    )


@rules.add("constant_input")
def constant_input() -> Rule:
    """Inputs that are the same for all samples.

    Measured on up to 4,096 training samples before the first step, in every column of every input.
    """
    return Rule(
        "constant_input",
        check,
        sick=lambda: patient(Facts(inputs={"x": Values((4,), rows=64, constant=4, low=0.0, high=0.0)})),
        healthy=lambda: patient(Facts(inputs={"x": Values((4,), rows=64, constant=3)})),
        causes=("not_finite_data",),
    )
