"""Inputs of very different or very large scale."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts, LossFacts, Values
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import HEAVY, blown, gravity, number, wanting
from trainwright.rules.remedies import scaled_inputs

_RATIO, _LARGE, _BEFORE = 100.0, 50.0, 10.0
_ONE = 1e4  # robust deviations of a single number, which then makes its column wide


def check(evidence: Evidence) -> Finding | None:
    """The scale of the inputs and of what the first layer makes of them; a warning only where nothing is learned."""
    facts = evidence.facts
    layers = facts.layers
    if not layers or layers[0].kind not in HEAVY:
        return None  # an embedding or a norm takes them as they are
    worst = max(
        ((name, v) for name, v in facts.inputs.items() if v.dtype.startswith(("float", "bfloat"))),
        key=lambda pair: _size(pair[1]),
        default=None,
    )
    if worst is None:
        return None
    name, values = worst
    ratio = values.columns[1] / values.columns[0] if values.columns[0] > 0 else 1.0
    large = max(abs(values.low), abs(values.high))
    if not (ratio > _RATIO or large > _LARGE):
        return None
    burst = blown(evidence) if layers[0].deviation > _BEFORE else None
    bad, before = wanting(evidence) or burst, layers[0].deviation
    if bad is None and before <= _BEFORE:
        return None
    what = (
        f"column {values.widest} of {name} is {number(ratio)} times as wide as most"
        if ratio > _RATIO
        else f"the numbers of {name} go from {number(values.low)} to {number(values.high)}"
    )
    if ratio > _RATIO and values.outlying > _ONE:
        what += f", as one number lies {number(values.outlying)} deviations from the others ({values.outlier_at})"
    return Finding(
        rule="inputs_not_scaled",
        severity="error" if burst else gravity(evidence) if bad else "note",
        what=what + (", and the loss overflows" if burst else f", and {bad.outcome}" if bad else ""),
        where=name,
        evidence={
            "lowest": values.low,
            "highest": values.high,
            "widest column to most": ratio,
            "deviation behind the first layer": before,
            **(bad.numbers if bad else {}),
        },
        why="Weights are drawn for inputs near 1. Larger ones drive units into their flat ends, and make the slope so "
        "uneven that no rate fits all weights.",
        fixes=(scaled_inputs(facts),),
    )


def _size(values: Values) -> float:
    ratio = values.columns[1] / values.columns[0] if values.columns[0] > 0 else 1.0
    return max(ratio / _RATIO, max(abs(values.low), abs(values.high)) / _LARGE)


@rules.add("inputs_not_scaled")
def inputs_not_scaled() -> Rule:
    """Columns a hundred times as wide as others, or numbers beyond 50.

    Measured on up to 4,096 training samples before the first step, where the first layer multiplies them by weights.
    A note where that layer gives numbers of a deviation above 10; a warning where nothing is learned, and at the end of
    200 steps and more an error, as where steps are not finite.
    """
    facts = Facts(
        inputs={"x": Values((2,), low=0.0, high=255.0)},
        layers=(LayerFacts("a", "linear", 10, deviation=60.0),),
        loss=LossFacts("mse", "numbers", 1.0, 1.0),
    )
    return Rule(
        "inputs_not_scaled",
        check,
        sick=lambda: patient(facts, [1.0] * 300, over=True),
        healthy=lambda: patient(
            Facts(inputs={"x": Values((2,), low=-3.0, high=3.0)}, layers=facts.layers), [1.0] * 300
        ),
        causes=("not_finite_data", "constant_target", "output_contradicts_loss", "target_out_of_reach", "softmax_axis"),
    )
