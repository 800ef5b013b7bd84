"""Weights that could learn and that no optimizer moves."""

from __future__ import annotations

from trainwright.core.facts import Facts, OptimizerFacts
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent


def check(evidence: Evidence) -> Finding | None:
    """The model's weights that ask for a gradient, less the optimizer's."""
    rule = evidence.facts.optimizer
    if not rule.absent or not rule.weights:
        return None
    share = rule.absent / rule.weights
    return Finding(
        rule="not_in_optimizer",
        severity="error" if share > 0.05 else "warning",
        what=f"{percent(share)} of the weights that can learn are in no group of the optimizer: "
        f"{', '.join(rule.missing)}",
        where="the optimizer",
        evidence={"weights": rule.weights, "absent": rule.absent, "share": share},
        why="They get a gradient and are never moved. The optimizer was made before they were, of another copy of the "
        "model, or of some of its parts.",
        fixes=(
            Edit(
                "make the optimizer of model.parameters(), after the model is whole and on its device",
                ({"name": "optimizer_of_all"},),
            ),
        ),
    )


@rules.add("not_in_optimizer")
def not_in_optimizer() -> Rule:
    """Weights that ask for a gradient and are in no group of the optimizer.

    Exact. A warning; an error where they are more than a twentieth. Weights that rest on purpose
    (``requires_grad = False``, or ``freeze``) do not count.
    """
    return Rule(
        "not_in_optimizer",
        check,
        sick=lambda: patient(Facts(optimizer=OptimizerFacts("adam", 1e-3, ("backbone.0.weight",), 900, 1000))),
        healthy=lambda: patient(Facts(optimizer=OptimizerFacts("adam", 1e-3, (), 0, 1000, 5000))),
    )
