"""A loss for another kind of target."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts, Output, Target, Values
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import gravity, wanting
from trainwright.rules.remedies import another_end

_FEW = 20  # different whole numbers that are rather classes


def check(evidence: Evidence) -> Finding | None:
    """By what the targets are and what the loss computes."""
    target, loss, output = evidence.facts.target, evidence.facts.loss, evidence.facts.output
    if loss.minus:
        return _finding(
            "error",
            f"the loss is minus the {loss.name}: the optimizer makes it smaller, and so the {loss.name} larger",
            "It falls without end, and the answers become wrong as surely as they can.",
            Edit("leave out the minus, or the factor below 0"),
        )
    several = target.coding == "several" and target.values.shape == output.values.shape and target.classes > 1
    if several and (loss.name == "cross_entropy" or (output.last == "softmax" and loss.name)):
        return _finding(
            "error",
            f"the targets are {target.classes} columns of yes or no that do not exclude each other, and "
            f"{'the loss' if loss.name == 'cross_entropy' else 'the softmax'} makes them compete",
            "A sample with two answers can never be right: what one gets the other loses.",
            another_end(
                evidence.facts, "use binary cross-entropy with one logit per column", "none", "binary_cross_entropy"
            ),
        )
    numbers = loss.name in ("mse", "mae", "huber")
    if numbers and target.coding in ("one_hot", "binary") and output.last in ("softmax", "sigmoid", "linear", "relu"):
        kind = "classes" if target.coding == "one_hot" else "yes or no"
        return _finding(
            gravity(evidence) if wanting(evidence) else "note",
            f"the targets are {kind}, and the loss ({loss.name}) measures distances",
            "It trains, but its slope vanishes where the network is surely wrong, so it learns slowly or not at all.",
            another_end(
                evidence.facts,
                "use cross-entropy" if target.coding == "one_hot" else "use binary cross-entropy",
                "none",
                "cross_entropy" if target.coding == "one_hot" else "binary_cross_entropy",
            ),
        )
    return None


def _finding(severity: str, what: str, why: str, fix: Edit) -> Finding:
    return Finding(
        rule="loss_misfits_target",
        severity="error" if severity == "error" else "warning" if severity == "warning" else "note",
        what=what,
        where="the loss",
        why=why,
        fixes=(fix,),
    )


@rules.add("loss_misfits_target")
def loss_misfits_target() -> Rule:
    """The loss is for another kind of target, or for another direction.

    Classes that compete though they may go together, distances for classes, or minus a loss of the textbooks. By the
    values of the targets, and by what the loss computes.
    """
    three = Output(Values((3,)), "softmax")
    return Rule(
        "loss_misfits_target",
        check,
        sick=lambda: patient(
            Facts(
                target=Target(Values((3,)), "several", 3),
                output=three,
                loss=LossFacts("cross_entropy", "probabilities"),
            )
        ),
        healthy=lambda: patient(
            Facts(target=Target(Values((3,)), "one_hot", 3), output=three, loss=LossFacts("cross_entropy"))
        ),
    )
