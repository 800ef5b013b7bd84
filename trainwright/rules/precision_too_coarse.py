"""A precision in which the gradient is another one."""

from __future__ import annotations

from trainwright.core.facts import Facts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.core.trial_facts import Invariance
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent

_APART, _LOSS = 0.5, 0.05


def check(evidence: Evidence) -> Finding | None:
    """Half of the gradient, or a twentieth of the loss, is owed to rounding."""
    found = evidence.facts.invariance
    if not (found.precision > _APART or found.precision_loss > _LOSS):
        return None
    return Finding(
        rule="precision_too_coarse",
        severity="warning",
        what=f"in {evidence.facts.precision} the gradient of a batch is off by {percent(found.precision)} of its size, "
        f"and its loss by {percent(found.precision_loss)}",
        where="precision",
        evidence={"gradient apart": found.precision, "loss apart": found.precision_loss},
        why="Numbers that are small beside others are rounded away, so the network follows another slope than its own.",
        fixes=(Patch({"precision": "float32"}), Patch({"precision": "bfloat16"})),
    )


@rules.add("precision_too_coarse")
def precision_too_coarse() -> Rule:
    """A reduced precision in which one batch has another loss or gradient than in float32.

    Asked by ``trainwright doctor recipe.toml`` of up to 32 samples: half of the gradient's size, or a twentieth of the
    loss.
    """
    half = Facts(precision="float16", invariance=Invariance(4, 0.0, 0.0, 0.9, 0.2))
    fine = Facts(precision="bfloat16", invariance=Invariance(4, 0.0, 0.0, 0.02, 0.001))
    return Rule("precision_too_coarse", check, sick=lambda: patient(half), healthy=lambda: patient(fine))
