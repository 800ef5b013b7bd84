"""Several layers that make one matrix."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts, LossFacts
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import gravity, heavy, number, wanting

_STRAIGHT = 1e-4


def check(evidence: Evidence) -> Finding | None:
    """f(x + y) = f(x) + f(y) - f(0) at the last layer; a note, as it may be meant, and a warning where it fails."""
    facts = evidence.facts
    layers = heavy(evidence)
    if not facts.bent < _STRAIGHT or len(layers) < 2:
        return None
    bad = wanting(evidence)
    return Finding(
        rule="linear_stack",
        severity=gravity(evidence) if bad else "note",
        what=f"the {len(layers)} layers equal a single one: between them nothing bends",
        where=layers[0].name,
        evidence={"layers": len(layers), "residue": facts.bent, **(bad.numbers if bad else {})},
        why="A product of matrices is a matrix. Such a network can learn no more than linear regression "
        f"(the relative residue of f(x + y) is {number(facts.bent)}).",
        fixes=(Edit("put a ReLU, GELU or tanh between the layers", ({"name": "activations_between"},)),),
    )


@rules.add("linear_stack")
def linear_stack() -> Rule:
    """Layers without an activation between them.

    Measured before the first step, on random pairs of samples: the residue of f(x) + f(y) - f(x + y) - f(0).
    """
    two = (LayerFacts("a", "linear", 10), LayerFacts("b", "linear", 10))
    loss = LossFacts("mse", "numbers", 1.0, 1.0)
    return Rule(
        "linear_stack",
        check,
        sick=lambda: patient(Facts(layers=two, bent=1e-7, loss=loss), [1.0] * 300, over=True),
        healthy=lambda: patient(Facts(layers=two, bent=0.3, loss=loss), [1.0] * 300, over=True),
    )
