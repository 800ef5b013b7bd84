"""Units that give 0 for every sample and so never learn again."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts, LossFacts
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import SILENCING, figure, layers, percent, probes, wanting
from trainwright.rules.remedies import drawn_anew, other_activations, other_rates, scaled_inputs
from trainwright.rules.upstream import BEFORE_LAYERS

_MOST = 0.4
_PROBES = 2  # in a row


def check(evidence: Evidence) -> Finding | None:
    """A whole layer is proof; much of one is where nothing is learned."""
    latest = probes(evidence, _PROBES)
    if len(latest) < _PROBES:
        return None
    bad = wanting(evidence)
    worst, share = "", 0.0
    for name, layer in layers(evidence).items():
        if layer.kind not in SILENCING:
            continue
        dead = min(figure(p, name, "dead") for p in latest)
        if dead == dead and dead > share:
            worst, share = name, dead
    if share < _MOST or (share < 1.0 and bad is None):
        return None
    units = layers(evidence)[worst].shape
    count = units[0] if len(units) == 3 else units[-1] if units else 0
    return Finding(
        rule="dead_units",
        severity="error" if share == 1.0 or not bad else bad.severity,
        what=f"{percent(share)} of the {count} units of {worst} give 0 for every sample that was looked at",
        where=worst,
        evidence={"share dead": share, "units": count, "probes": len(latest), **(bad.numbers if bad else {})},
        why="A ReLU that is 0 for every sample has no slope, so its unit never learns again. Too high a rate or very "
        "large inputs push units there.",
        fixes=(
            *other_rates(evidence, 0.1),
            drawn_anew(),
            other_activations(evidence.facts, "leaky_relu"),
            scaled_inputs(evidence.facts),
        ),
    )


@rules.add("dead_units")
def dead_units() -> Rule:
    """Units of a ReLU that give 0 for every sample of the probe, at two probes in a row.

    All of a layer is proof; 40 % of it are a finding where nothing is learned. That a unit is 0 for most samples is
    how a ReLU works, and no trouble.
    """
    facts = Facts(layers=(LayerFacts("act", "relu", shape=(50,)),), loss=LossFacts(guess=1.0, start=1.0))
    dead = {n: {"act": {"dead": 1.0}} for n in (100, 200, 300)}
    some = {n: {"act": {"dead": 0.5}} for n in (100, 200, 300)}
    return Rule(
        "dead_units",
        check,
        sick=lambda: patient(facts, [1.0] * 300, probes=dead),
        healthy=lambda: patient(facts, [0.1] * 300, probes=some),
        causes=BEFORE_LAYERS,
    )
