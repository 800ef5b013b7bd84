"""A handful of samples that cannot even be learned by heart."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.core.trial_facts import Heart
from trainwright.rules.patients import patient
from trainwright.rules.reading import NO_BETTER, number
from trainwright.rules.upstream import BEFORE_BEGINNING

_STEPS = 100  # that a trial must have had
_MOVED = 0.9  # of the loss at the start


def check(evidence: Evidence) -> Finding | None:
    """A copy that learned one batch alone with Adam did no better than one and the same answer to all of it."""
    heart, guess = evidence.facts.heart, evidence.facts.loss.guess
    stuck = heart.reached > NO_BETTER * guess and heart.reached > _MOVED * heart.start
    if heart.steps < _STEPS or not stuck:
        return None
    return Finding(
        rule="batch_not_learned",
        severity="warning",
        what=f"{heart.samples} samples could not be learned by heart: in {heart.steps} steps of Adam the loss came "
        f"from {number(heart.start)} to {number(heart.reached)}, and guessing reaches {number(guess)}",
        where="the network or its loss",
        evidence={
            "samples": heart.samples,
            "steps": heart.steps,
            "loss at the start": heart.start,
            "lowest loss": heart.reached,
            "loss of guessing": guess,
        },
        why="A network that has more weights than it is shown samples can remember them, whatever the data are. If it "
        "cannot, no rate, budget or data will help: what the inputs say does not reach the loss, or the loss does not "
        "reach the weights.",
        fixes=(
            Advice(
                "look for outputs that are rounded, detached or bounded, for a wrong axis, and for inputs left unused"
            ),
            Advice("take layers away until it works: the last one taken is at fault"),
        ),
    )


@rules.add("batch_not_learned")
def batch_not_learned() -> Rule:
    """One batch that a copy of the model could not learn by heart.

    Asked by ``trainwright doctor recipe.toml``: up to 32 samples, 300 steps of Adam at each of two rates, dropout off,
    five seconds at most. Said where after 100 steps and more the lowest loss is no better than 95 % of guessing, and no
    lower than 90 % of where it began.
    """
    loss = LossFacts("cross_entropy", "logits", 2.3, 2.3)
    return Rule(
        "batch_not_learned",
        check,
        sick=lambda: patient(Facts(heart=Heart(32, 600, 2.3, 2.29, 2.0), loss=loss)),
        healthy=lambda: patient(Facts(heart=Heart(32, 300, 2.3, 1.4, 2.0), loss=loss)),
        causes=BEFORE_BEGINNING,
    )
