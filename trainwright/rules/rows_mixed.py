"""The answer for one sample depends on the other samples of its batch."""

from __future__ import annotations

from trainwright.core.facts import Facts
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number

_TOLERATED = 1e-3  # deviations; sums in another order differ in the last digits


def check(evidence: Evidence) -> Finding | None:
    """In evaluation mode, other neighbours gave another answer."""
    mixed = evidence.facts.mixed
    if not mixed > _TOLERATED:
        return None
    return Finding(
        rule="rows_mixed",
        severity="error",
        what="the model's answer for one sample changes when the other samples of the batch are exchanged",
        where="the model",
        evidence={"change, in deviations of the output": mixed},
        why=f"Samples are mixed with each other: an answer moved by {number(mixed)} deviations. A view, reshape or "
        "transpose that confuses the samples' axis with another does this, and so does a softmax, norm or recurrence "
        "over the samples.",
        fixes=(Advice("keep the samples in axis 0 through every view, reshape and transpose, and reduce over others"),),
    )


@rules.add("rows_mixed")
def rows_mixed() -> Rule:
    """The answer for one sample depends on which others are in its batch.

    Measured before the first step, in evaluation mode (batch statistics do not count): half of a batch is answered
    twice, beside other samples.
    """
    return Rule(
        "rows_mixed",
        check,
        sick=lambda: patient(Facts(mixed=0.4)),
        healthy=lambda: patient(Facts(mixed=1e-6)),
        causes=("softmax_axis",),
    )
