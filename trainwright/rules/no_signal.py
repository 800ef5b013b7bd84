"""Targets that nothing in the inputs tells of."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import by_heart, failing, gravity, percent

_ERRORS = 2.0


def check(evidence: Evidence) -> Finding | None:
    """Neither the network nor trees nor a linear model do better than guessing on samples they have not seen."""
    facts, heart = evidence.facts, by_heart(evidence)
    bad = failing(evidence) or heart
    if bad is None or not facts.signal <= _ERRORS * facts.signal_error:
        return None
    return Finding(
        rule="no_signal",
        severity=gravity(evidence),
        what="nothing in the inputs seems to tell of the targets: trees and a linear model, cross-validated, get "
        f"{percent(max(0.0, facts.signal))} of the way from guessing to right answers, and the network "
        + (
            "knows its training samples by heart and was never better than guessing on others"
            if heart
            else "gets nowhere"
        ),
        where="the data",
        evidence={"share of the way": facts.signal, "standard error": facts.signal_error, **bad.numbers},
        why="If the labels are shuffled, shifted by a row, or of another file, or do not depend on these inputs, no "
        "network can learn them. It may still be that only a pattern which these models cannot see tells of them.",
        fixes=(
            Advice("look at a few samples beside their targets, as the network gets them"),
            Advice("check the order of rows wherever inputs and targets come from different places"),
        ),
    )


@rules.add("no_signal")
def no_signal() -> Rule:
    """Where nothing is learned, or nothing that holds for other samples, simple models find nothing to learn either.

    Extremely randomized trees and a linear model on up to 600 training samples, each judged on samples left out of its
    training, beside the share of the largest class or the mean. Measured once, when the training is first seen to fail.
    """
    loss = LossFacts("mse", "numbers", 1.0, 1.0)
    return Rule(
        "no_signal",
        check,
        sick=lambda: patient(Facts(loss=loss, signal=0.01, signal_error=0.05), [1.0] * 300, over=True),
        healthy=lambda: patient(Facts(loss=loss, signal=0.6, signal_error=0.05), [1.0] * 300, over=True),
        causes=("not_finite_data", "constant_input", "constant_target", "sorted_targets", "conflicting_targets"),
    )
