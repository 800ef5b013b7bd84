"""Numbers to be learned that lie far from 0, or are very large or small."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts, Target, Values
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import blown, gravity, number, wanting
from trainwright.rules.remedies import scaled_targets

_SMALL, _WIDE, _FAR = 0.01, 100.0, 10.0


def check(evidence: Evidence) -> Finding | None:
    """The targets' mean and deviation, where nothing is learned."""
    target, loss = evidence.facts.target, evidence.facts.loss
    values = target.values
    if target.coding != "numbers" or loss.name not in ("mse", "mae", "huber", "log_cosh") or values.deviation == 0:
        return None
    far = abs(values.mean) > _FAR * values.deviation
    if not (far or not _SMALL < values.deviation < _WIDE):
        return None
    burst = blown(evidence) if max(abs(values.mean), values.deviation) > _WIDE else None
    bad = wanting(evidence) or burst
    if bad is None:
        return None
    what = (
        f"the targets lie around {number(values.mean)}, {number(abs(values.mean) / values.deviation)} deviations from 0"
        if far
        else f"the targets have a deviation of {number(values.deviation)}"
    )
    return Finding(
        rule="target_not_scaled",
        severity="error" if burst else gravity(evidence),
        what=f"{what}, and the loss overflows" if burst else f"{what}, and after {bad.steps:,} steps {bad.outcome}",
        where="the targets",
        evidence={"mean": values.mean, "deviation": values.deviation, **bad.numbers},
        why="A new network says numbers near 0. With steps of the usual size it takes very long to reach others, and "
        "until then all it learns is the offset.",
        fixes=(scaled_targets(evidence.facts),),
    )


@rules.add("target_not_scaled")
def target_not_scaled() -> Rule:
    """Targets with a deviation outside 0.01 to 100, or more than ten deviations from 0.

    Where nothing is learned, or where they are large and steps are not finite.
    """
    values = Values((1,), rows=100, mean=4e5, deviation=3e5)
    loss = LossFacts("mse", "numbers", 2.0, 1.0)
    return Rule(
        "target_not_scaled",
        check,
        sick=lambda: patient(Facts(target=Target(values, "numbers"), loss=loss), [2.0] * 300, over=True),
        healthy=lambda: patient(Facts(target=Target(values, "numbers"), loss=loss), [0.1] * 300, over=True),
        causes=("not_finite_data", "constant_target", "target_out_of_reach", "shapes_spread", "softmax_axis"),
    )
