"""A gradient that is lost on its way to the first layers."""

from __future__ import annotations

import math

from trainwright.core.facts import Facts, LayerFacts, LossFacts
from trainwright.core.finding import Advice, Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import FLAT_ENDED, failing, figure, heavy, number, probes
from trainwright.rules.remedies import drawn_anew, other_activations
from trainwright.rules.upstream import BEFORE_LAYERS

_LOST = 1e-3
_FEW = 0.03  # of it arrives through a stack of sigmoids
_DEEP = 3


def check(evidence: Evidence) -> Finding | None:
    """The first layer's gradient beside the last one's, at the latest probes or before the first step."""
    bad = failing(evidence)
    layers = heavy(evidence)
    if bad is None or len(layers) < 3:
        return None
    first, last = layers[0], layers[-1]
    ratios = [
        figure(p, first.name, "gradient") / figure(p, last.name, "gradient")
        for p in probes(evidence)
        if _known(p, first, last)
    ]
    if first.gradient == first.gradient and last.gradient and last.gradient == last.gradient:
        ratios.append(first.gradient / last.gradient)
    flat = sum(1 for layer in evidence.facts.layers if layer.kind in FLAT_ENDED)
    limit = _FEW if flat >= _DEEP else _LOST
    if not ratios or sorted(ratios)[len(ratios) // 2] > limit:
        return None
    ratio = sorted(ratios)[len(ratios) // 2]
    per = ratio ** (1 / (len(layers) - 1)) if ratio > 0 else 0.0
    return Finding(
        rule="vanishing_gradient",
        severity=bad.severity,
        what=f"the gradient shrinks on its way back, by {number(per)} a layer: {first.name} gets {number(ratio)} of "
        f"what {last.name} gets, and {bad.outcome}",
        where=first.name,
        evidence={
            "first to last": ratio,
            "per layer": per,
            "layers": len(layers),
            "flat activations": flat,
            **bad.numbers,
        },
        why="The first layers stay as they were drawn, and all that comes after works on noise. Each sigmoid passes on "
        "a quarter of the slope at most.",
        fixes=(
            other_activations(evidence.facts),
            drawn_anew("xavier_uniform"),
            Edit("put a layer norm behind each layer", ({"name": "norms_between"},)),
            Advice("a shortcut around every two layers lets the gradient pass by"),
        ),
    )


def _known(probe: object, first: LayerFacts, last: LayerFacts) -> bool:
    low, high = (figure(probe, layer.name, "gradient") for layer in (first, last))  # type: ignore[arg-type]
    return math.isfinite(low) and math.isfinite(high) and high > 0


@rules.add("vanishing_gradient")
def vanishing_gradient() -> Rule:
    """The gradient vanishes on its way to the first layers.

    Where nothing is learned: the first of three or more layers gets less than a thousandth of the last one's gradient
    (root mean square over the weights), or less than 3 % through three or more sigmoids or tanhs.
    """
    names = ("a", "b", "c")
    few = tuple(LayerFacts(n, "linear", 9, gradient=g) for n, g in zip(names, (1e-6, 1e-4, 1e-1), strict=True))
    fine = tuple(LayerFacts(n, "linear", 9, gradient=g) for n, g in zip(names, (0.2, 0.1, 0.1), strict=True))
    return Rule(
        "vanishing_gradient",
        check,
        sick=lambda: patient(Facts(layers=few, loss=LossFacts(guess=1.0, start=1.0)), [1.0] * 300, over=True),
        healthy=lambda: patient(Facts(layers=fine, loss=LossFacts(guess=1.0, start=1.0)), [1.0] * 300, over=True),
        causes=BEFORE_LAYERS,
    )
