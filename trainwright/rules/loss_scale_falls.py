"""Steps in float16 that overflow again and again."""

from __future__ import annotations

import math

from trainwright.core.facts import Facts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent

_WINDOW, _SHARE, _EARLY = 100, 0.1, 40  # the scale begins high and may be halved 16 times


def check(evidence: Evidence) -> Finding | None:
    """More than a tenth of the latest steps had a finite loss and an infinite gradient, behind the first forty."""
    view = evidence.view
    if evidence.facts.precision != "float16":
        return None
    steps = [s for s in view.norms if s > _EARLY][-_WINDOW:]
    lost = [s for s in steps if not math.isfinite(view.norms[s]) and math.isfinite(view.losses.get(s, math.nan))]
    if len(steps) < 20 or len(lost) <= _SHARE * len(steps):
        return None
    return Finding(
        rule="loss_scale_falls",
        severity="error" if len(lost) > 0.5 * len(steps) else "warning",
        what=f"{percent(len(lost) / len(steps))} of the latest {len(steps)} steps were not taken, because their "
        "gradient was beyond what float16 can hold though the loss was not",
        where="precision",
        evidence={"steps lost": len(lost), "steps looked at": len(steps), "first": lost[0]},
        why="Each such step halves the loss scale, until small gradients fall below the smallest number of float16 and "
        "become 0: the first layers stop learning in silence.",
        fixes=(Patch({"precision": "bfloat16"}), Patch({"precision": "float32"}), Patch({"clip": 1.0})),
    )


@rules.add("loss_scale_falls")
def loss_scale_falls() -> Rule:
    """Steps in float16 whose gradient overflows though the loss is finite, so that the loss scale falls and falls.

    More than a tenth of the latest 100 steps. The first 40 steps do not count: a scale that begins too high finds its
    place by losing some.
    """
    half = Facts(precision="float16")
    lost = [math.inf if i % 4 == 0 else 1.0 for i in range(200)]
    begins = [math.inf if i < 16 else 1.0 for i in range(200)]
    return Rule(
        "loss_scale_falls",
        check,
        sick=lambda: patient(half, [1.0] * 200, norms=lost),
        healthy=lambda: patient(half, [1.0] * 200, norms=begins),
        causes=("not_finite_data", "not_finite_steps"),
    )
