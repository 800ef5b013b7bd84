"""Most of the weights are kept from learning."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts, OptimizerFacts
from trainwright.core.finding import Edit, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.below_linear import check as below_linear
from trainwright.rules.patients import patient
from trainwright.rules.reading import failing, gravity, percent

_MOST = 0.5


def check(evidence: Evidence) -> Finding | None:
    """More than half rest, and nothing is learned, or less than by a linear model; else they may rest on purpose."""
    rule, bad, below = evidence.facts.optimizer, failing(evidence), below_linear(evidence)
    whole = rule.frozen + rule.weights
    short = below is not None and below.severity != "note"
    if (bad is None and not short) or not whole or rule.frozen <= _MOST * whole:
        return None
    share = rule.frozen / whole
    return Finding(
        rule="weights_at_rest",
        severity=gravity(evidence) if bad else "warning",
        what=f"{percent(share)} of the weights rest (freeze, requires_grad), and the others alone learn "
        + ("nothing" if bad else "less than a linear model"),
        where="freeze",
        evidence={"share at rest": share, "weights that learn": rule.weights, **(bad.numbers if bad else {})},
        why="Layers that rest pass on what they were drawn with. Where they hold nothing of another training, the rest "
        "has little to work on.",
        fixes=(
            Patch({"freeze": [], "unfreeze": {}}),
            Edit("let all weights learn", ({"name": "learn_all"},)),
        ),
    )


@rules.add("weights_at_rest")
def weights_at_rest() -> Rule:
    """More than half of the weights are kept from learning, where nothing is learned, or less than by a linear model.

    Layers of another training may rest on purpose; as long as the loss is better than these, nothing is said.
    """
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0), optimizer=OptimizerFacts("adam", 1e-3, (), 0, 10, 990))
    return Rule(
        "weights_at_rest",
        check,
        sick=lambda: patient(facts, [1.0] * 300, over=True),
        healthy=lambda: patient(facts, [0.5] * 300, over=True),
    )
