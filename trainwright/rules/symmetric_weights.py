"""Units that begin alike and stay alike."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import heavy, percent
from trainwright.rules.remedies import drawn_anew


def check(evidence: Evidence) -> Finding | None:
    """Rows of a hidden kernel that are equal to the last bit, and no gradient that could part them.

    A kernel of zeros in front of an output or at the end of a residual block is meant, and gets a gradient.
    """
    layers = heavy(evidence)
    for layer in layers[:-1]:
        if layer.alike < 0.5 or (layer.scale == 0 and layer.gradient > 0):
            continue
        return Finding(
            rule="symmetric_weights",
            severity="error",
            what=f"{percent(layer.alike)} of the units of {layer.name} begin with the weights of another unit",
            where=layer.name,
            evidence={"share alike": layer.alike, "root mean square": layer.scale, "gradient": layer.gradient},
            why="Units that are alike get the same gradient and stay alike for ever: the layer is as good as one unit.",
            fixes=(drawn_anew(), Advice("draw the weights at random")),
        )
    return None


@rules.add("symmetric_weights")
def symmetric_weights() -> Rule:
    """Hidden units whose first weights are the same, such as zeros or a constant.

    Exact, before the first step.
    """
    last = LayerFacts("b", "linear", 9, alike=1.0, scale=0.0, gradient=0.2)
    return Rule(
        "symmetric_weights",
        check,
        sick=lambda: patient(Facts(layers=(LayerFacts("a", "linear", 9, alike=0.9, scale=0.1, gradient=0.1), last))),
        healthy=lambda: patient(Facts(layers=(LayerFacts("a", "linear", 9, alike=0.0, scale=0.1), last))),
    )
