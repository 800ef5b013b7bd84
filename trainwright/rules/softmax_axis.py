"""A softmax that has nothing to share: over one unit, or over the samples."""

from __future__ import annotations

from trainwright.core.facts import Facts, Output, Values
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.remedies import another_end


def check(evidence: Evidence) -> Finding | None:
    """By the shape of the output and the axis of the last operation."""
    output = evidence.facts.output
    if output.last not in ("softmax", "log_softmax", "softmin"):
        return None
    shape = output.values.shape
    over_samples = output.over == 0
    width = 0 if over_samples or output.over > len(shape) else shape[output.over - 1]
    if not over_samples and width != 1:
        return None
    what = (
        "the softmax at the end shares 1 among the samples of a batch (axis 0), not among the classes"
        if over_samples
        else "the softmax at the end has a single unit, and so it says 1 whatever it is given"
    )
    fix = (
        "write softmax(dim=-1), or leave it out where the loss has it"
        if over_samples
        else ("use a sigmoid for yes or no, as many units as there are classes otherwise, and none for numbers")
    )
    return Finding(
        rule="softmax_axis",
        severity="error",
        what=what,
        where="the last operation",
        evidence={"axis": output.over, "units": width, "deviation between samples": output.spread},
        why="The output does not tell what the network thinks of a sample; of a single unit it has no slope at all, "
        "and no weight can learn.",
        fixes=_fixes(evidence.facts, fix, over_samples),
    )


def _fixes(facts: Facts, words: str, over_samples: bool) -> tuple[Edit, ...]:
    """What goes with the targets and the loss."""
    coding, wants, classes = facts.target.coding, facts.loss.wants, facts.target.classes
    if over_samples:
        return (another_end(facts, words, "none" if wants == "logits" else "softmax"),)
    if coding == "classes" and classes > 2:
        return (another_end(facts, words, "none", "cross_entropy", facts.target.lowest + classes),)
    yes_or_no = another_end(facts, words, "none" if wants == "logits" else "sigmoid")
    if coding == "binary" and wants != "numbers" and facts.loss.name != "binary_cross_entropy":
        return (another_end(facts, words, "none", "binary_cross_entropy"),)
    if coding == "binary":
        return (yes_or_no, another_end(facts, words, "none", "binary_cross_entropy"))
    return (another_end(facts, words),)


@rules.add("softmax_axis")
def softmax_axis() -> Rule:
    """A softmax over one unit or over the wrong axis.

    Seen in the first forward pass.
    """
    return Rule(
        "softmax_axis",
        check,
        sick=lambda: patient(Facts(output=Output(Values((1,)), "softmax", 1))),
        healthy=lambda: patient(Facts(output=Output(Values((3,)), "softmax", 1))),
    )
