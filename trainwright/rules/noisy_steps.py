"""A batch so small that its noise drowns what there is to learn."""

from __future__ import annotations

import numpy as np

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import curve, gravity, number, rate_of, rounded, wanting, window
from trainwright.rules.upstream import BEFORE_SLOW

_SMALL = 8


def check(evidence: Evidence) -> Finding | None:
    """Batches of a few samples, and a loss that swings by more than half of guessing, where nothing is learned."""
    bad, size = wanting(evidence), evidence.facts.batch_size
    if bad is None or not 0 < size <= _SMALL:
        return None
    losses = curve(evidence)
    swing = float(np.std(losses[-window(evidence, len(losses)) :]))
    if swing < 0.5 * bad.guess:
        return None
    return Finding(
        rule="noisy_steps",
        severity=gravity(evidence),
        what=f"with {size} {'sample' if size == 1 else 'samples'} a step the loss swings by {number(swing)} around "
        f"{number(bad.loss)}, and {bad.outcome}",
        where="batch_size",
        evidence={"batch size": size, "deviation of the loss": swing, **bad.numbers},
        why="Each step follows a few samples and undoes what others taught. Larger batches or a smaller rate average "
        "that out.",
        fixes=(Patch({"batch_size": 32}), Patch({"optimizer.lr": rounded(rate_of(evidence) / 10)})),
    )


@rules.add("noisy_steps")
def noisy_steps() -> Rule:
    """Batches of up to eight samples whose loss swings by more than half of guessing, where nothing is learned."""
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0), batch_size=1)
    return Rule(
        "noisy_steps",
        check,
        sick=lambda: patient(facts, [0.1, 1.9] * 150, over=True),
        healthy=lambda: patient(facts, [0.1, 0.9] * 150, over=True),
        causes=BEFORE_SLOW,
    )
