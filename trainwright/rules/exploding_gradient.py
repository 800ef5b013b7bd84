"""Gradients that leap."""

from __future__ import annotations

import numpy as np

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import failing, gravity, norms, number, probes, rate_of, rounded
from trainwright.rules.upstream import BEFORE_LAYERS

_TIMES, _LEAST, _WINDOW = 10.0, 3, 200


def check(evidence: Evidence) -> Finding | None:
    """Nothing is learned, and of the latest steps several had ten times the usual gradient."""
    bad, sizes = failing(evidence), norms(evidence)
    if bad is None or len(sizes) < 50:
        return None
    latest = sizes[-_WINDOW:]
    usual = float(np.median(latest))
    leaps = int((latest > _TIMES * usual).sum())
    if not usual > 0 or leaps < _LEAST:
        return None
    calm = float(np.quantile(latest[latest <= _TIMES * usual], 0.9))
    where = _largest(evidence)
    return Finding(
        rule="exploding_gradient",
        severity=gravity(evidence),
        what=f"{leaps} of the latest {len(latest)} steps had a gradient more than ten times the usual "
        f"({number(usual)}; the largest {number(float(latest.max()))}), and {bad.outcome}",
        where=where,
        evidence={
            "leaps": leaps,
            "steps looked at": len(latest),
            "usual": usual,
            "largest": float(latest.max()),
            **bad.numbers,
        },
        why="One step along such a gradient undoes what many small ones learned. Products over long sequences or many "
        "layers make them. Clipping keeps the direction and takes away the leap.",
        fixes=(
            Patch({"clip": rounded(calm)}),
            Patch({"clip": rounded(calm), "optimizer.lr": rounded(rate_of(evidence) / 3)}),
        ),
    )


def _largest(evidence: Evidence) -> str:
    """The layer with the largest gradient at the latest probe."""
    for probe in reversed(probes(evidence)):
        sizes = {layer: v["gradient"] for layer, v in probe.statistics.items() if "gradient" in v}
        if sizes:
            return max(sizes, key=lambda layer: sizes[layer])
    return "the gradient"


@rules.add("exploding_gradient")
def exploding_gradient() -> Rule:
    """Steps whose gradient is more than ten times the usual, where nothing is learned.

    Three of the latest 200 steps at least; the usual is their median. The proposed clip is what nine of ten calm steps
    stay below. Leaps alone are no trouble: many a network that learns has them.
    """
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0))
    leaping = [50.0 if i % 30 == 0 else 1.0 + 0.01 * (i % 7) for i in range(300)]
    return Rule(
        "exploding_gradient",
        check,
        sick=lambda: patient(facts, [1.2] * 300, norms=leaping, over=True),
        healthy=lambda: patient(facts, [0.3] * 300, norms=leaping, over=True),
        causes=BEFORE_LAYERS,
    )
