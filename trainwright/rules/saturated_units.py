"""Sigmoids and tanhs pinned to their flat ends."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts, LossFacts
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import FLAT_ENDED, failing, figure, layers, percent, probes
from trainwright.rules.remedies import drawn_anew, other_activations, scaled_inputs
from trainwright.rules.upstream import BEFORE_LAYERS

_MOST = 0.5


def check(evidence: Evidence) -> Finding | None:
    """The share of what hidden sigmoids and tanhs give that lies in their flat ends, where nothing is learned."""
    bad = failing(evidence)
    if bad is None:
        return None
    known = layers(evidence)
    hidden = [n for n, layer in known.items() if layer.kind in FLAT_ENDED]
    hidden = [n for n in hidden if n != list(known)[-1]]  # the last one's ends are answers
    latest = probes(evidence, 1)
    shares = {n: figure(latest[0], n, "pinned") if latest else known[n].pinned for n in hidden}
    shares = {n: s for n, s in shares.items() if s > _MOST}
    if not shares:
        return None
    worst = max(shares, key=lambda n: shares[n])
    return Finding(
        rule="saturated_units",
        severity=bad.severity,
        what=f"{percent(shares[worst])} of what {worst} gives lies in the flat ends of its {known[worst].kind}, and "
        f"{bad.outcome}",
        where=worst,
        evidence={"share pinned": shares[worst], "layers": len(shares), **bad.numbers},
        why="There the slope is nearly 0, so no gradient passes. Inputs or weights are too large.",
        fixes=(
            scaled_inputs(evidence.facts),
            drawn_anew("xavier_uniform"),
            other_activations(evidence.facts),
        ),
    )


@rules.add("saturated_units")
def saturated_units() -> Rule:
    """Hidden sigmoids or tanhs more than half of whose answers lie in the flat ends, where nothing is learned.

    Measured on the probe: below 0.01 or above 0.99 of a sigmoid, beyond 0.98 of a tanh.
    """
    hidden, last = LayerFacts("act", "sigmoid", shape=(50,)), LayerFacts("out", "linear", 9)
    facts = Facts(layers=(hidden, last), loss=LossFacts(guess=1.0, start=1.0))
    pinned = {300: {"act": {"pinned": 0.97}}}
    return Rule(
        "saturated_units",
        check,
        sick=lambda: patient(facts, [1.0] * 300, probes=pinned, over=True),
        healthy=lambda: patient(facts, [0.1] * 300, probes=pinned, over=True),
        causes=BEFORE_LAYERS,
    )
