"""First weights that blow signals up, or let them fade."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts, LossFacts
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import FLAT_ENDED, heavy, number, wanting
from trainwright.rules.remedies import drawn_anew

_LARGE, _SMALL = 10.0, 0.005  # 1 keeps the size of a signal; the usual rules give 0.1 to 1.5


def check(evidence: Evidence) -> Finding | None:
    """Nothing is learned, and a layer began with weights that multiply signals by ten, or by nearly nothing."""
    bad = wanting(evidence)
    if bad is None:
        return None
    known = [layer for layer in heavy(evidence) if layer.gain == layer.gain and layer.gain > 0]
    large = [layer for layer in known if layer.gain > _LARGE]
    small = [layer for layer in known[:-1] if layer.gain < _SMALL]  # the last may well begin near 0
    if not large and not small:
        return None
    worst = max(large, key=lambda x: x.gain) if large else min(small, key=lambda x: x.gain)
    flat = any(layer.kind in FLAT_ENDED for layer in evidence.facts.layers[:-1])
    return Finding(
        rule="weights_out_of_scale",
        severity=bad.severity,
        what=f"the first weights of {worst.name} multiply what they are given by about {number(worst.gain)}, where 1 "
        f"keeps its size ({len(large or small)} of {len(known)} layers are so), and {bad.outcome}",
        where=worst.name,
        evidence={"gain": worst.gain, "layers": len(large or small), "root mean square": worst.scale, **bad.numbers},
        why="Through a few such layers signals overflow, pin sigmoids and tanhs to their ends, and make a loss at the "
        "start that no rate fits; or they fade to nothing, and the gradient with them.",
        fixes=(drawn_anew("xavier_normal" if flat else "kaiming_normal"),),
    )


@rules.add("weights_out_of_scale")
def weights_out_of_scale() -> Rule:
    """First weights that multiply the size of a signal by more than 10 or less than 0.005, where nothing is learned.

    The gain of a layer is the root mean square of its weights times the square root of how many numbers each unit adds,
    before the first step. The usual rules of drawing give 0.1 to 1.5 (LeCun, Xavier, He, and torch's own).
    """
    loss = LossFacts("cross_entropy", "logits", 400.0, 0.69)
    last = LayerFacts("b", "linear", 9, gain=1.0)
    wild = Facts(layers=(LayerFacts("a", "linear", 9, gain=100.0), last), loss=loss)
    usual = Facts(layers=(LayerFacts("a", "linear", 9, gain=0.58), last), loss=loss)
    return Rule(
        "weights_out_of_scale",
        check,
        sick=lambda: patient(wild, [40.0] * 300, over=True),
        healthy=lambda: patient(usual, [40.0] * 300, over=True),
        causes=("not_finite_data", "constant_target", "constant_input", "symmetric_weights"),
    )
