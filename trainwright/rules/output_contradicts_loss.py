"""What the model says at its end is not what the loss takes it for."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts, Output, Values
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import failing, gravity, number, percent
from trainwright.rules.remedies import another_end

_BOUNDED = {"softmax", "sigmoid", "hardsigmoid", "softmin"}
_INSTEAD = {
    ("cross_entropy", "logits"): "leave out the last activation: this loss has the softmax in it",
    ("binary_cross_entropy", "logits"): "leave out the last activation: this loss has the sigmoid in it",
    ("cross_entropy", "probabilities"): "end with a softmax, or take the cross-entropy that has it in it",
    ("binary_cross_entropy", "probabilities"): "end with a sigmoid, or take binary cross-entropy with logits",
    ("nll", "log_probabilities"): "end with log_softmax, or take the cross-entropy that has it in it",
}


def check(evidence: Evidence) -> Finding | None:
    """Applied twice, or never: outputs that the loss cannot take are proof."""
    facts = evidence.facts
    loss, output = facts.loss, facts.output
    if not output.last:
        return None
    match loss.wants:
        case "probabilities" if not _within(output):
            return _finding(
                evidence,
                "error",
                f"the loss takes probabilities, and the model's last operation ({_named(output)}) gives any number: "
                f"{number(output.values.low)} to {number(output.values.high)}",
                f"Outputs beyond 0 and 1 are cut off, and there the loss has no slope: it is deaf to "
                f"{percent(loss.deaf)} of the samples.",
            )
        case "log_probabilities" if output.last not in ("log_softmax", "logsigmoid") and not _sums_to_one(output):
            return _finding(
                evidence,
                "error",
                f"the loss takes logarithms of probabilities, and the model ends with {_named(output)}",
                "Without the normalization it falls for ever by making all outputs larger, and tells nothing.",
            )
        case "logits" if output.last in _BOUNDED or output.last == "relu":
            return _twice(evidence)
        case "probabilities" if facts.target.coding in ("one_hot", "classes") and _apart(output):
            return _each_by_itself(evidence)
        case _:
            return None


def _twice(evidence: Evidence) -> Finding:
    """It trains, but slowly and not to the end: a warning, and an error where nothing is learned."""
    output, loss = evidence.facts.output, evidence.facts.loss
    inside = "softmax" if loss.name == "cross_entropy" else "sigmoid"
    what = (
        f"the loss applies the {inside} itself, and the model ends with {_named(output)}"
        if output.last != "relu"
        else f"the model ends with a ReLU, so it can never speak against a class, and the loss applies the {inside}"
    )
    why = (
        "Applied twice, the outputs differ by 1 at most: the gradient is small, and the loss cannot come near 0."
        if output.last != "relu"
        else "Half of the outputs are 0 and get no gradient."
    )
    return _finding(evidence, "error" if failing(evidence) else "warning", what, why)


def _apart(output: Output) -> bool:
    return output.last in ("sigmoid", "hardsigmoid") and len(output.values.shape) == 1 and output.values.shape[0] > 1


def _each_by_itself(evidence: Evidence) -> Finding:
    """It trains where the loss divides by the sum: a note, unless nothing is learned."""
    count = evidence.facts.output.values.shape[0]
    return _finding(
        evidence,
        gravity(evidence) if failing(evidence) else "note",
        f"exactly one of {count} answers is right, and the model's sigmoids say each of them by itself",
        "Nothing makes the others smaller when the right one grows: all may come near 1, where a sigmoid is flat. A "
        "softmax makes them sum to 1.",
    )


def _within(output: Output) -> bool:
    low, high = output.reach
    return (low >= 0 and high <= 1) or (output.values.low >= 0 and output.values.high <= 1 and output.last != "linear")


def _sums_to_one(output: Output) -> bool:
    return output.values.high <= 0  # logarithms, computed by hand


def _named(output: Output) -> str:
    return "no activation" if output.last == "linear" else output.last


def _finding(evidence: Evidence, severity: str, what: str, why: str) -> Finding:
    loss, output = evidence.facts.loss, evidence.facts.output
    numbers = {"lowest output": output.values.low, "highest output": output.values.high}
    numbers |= {"loss at the start": loss.start, "loss of guessing": loss.guess, "deaf share": loss.deaf}
    words = _INSTEAD.get((loss.name, loss.wants), "make the last activation and the loss fit each other")
    wide = output.values.shape[:1] != (1,) and output.values.shape != ()
    normal = "softmax" if loss.name == "cross_entropy" and wide else "sigmoid"
    by = {"logits": "none", "probabilities": normal, "log_probabilities": "log_softmax"}.get(loss.wants, "none")
    return Finding(
        rule="output_contradicts_loss",
        severity="error" if severity == "error" else "warning" if severity == "warning" else "note",
        what=what,
        where="the last operation",
        evidence=numbers,
        why=why,
        fixes=(another_end(evidence.facts, words, by),),
    )


@rules.add("output_contradicts_loss")
def output_contradicts_loss() -> Rule:
    """The output layer and the loss do not match: a softmax or sigmoid twice, or none where probabilities are needed.

    The last operation is seen in the first forward pass; what the loss computes is recognized by its values for a few
    random outputs, whoever wrote it.
    """
    linear = Output(Values((10,), low=-2.1, high=3.0), "linear")
    return Rule(
        "output_contradicts_loss",
        check,
        sick=lambda: patient(Facts(output=linear, loss=LossFacts("cross_entropy", "probabilities", 7.0, 2.3, 0.5))),
        healthy=lambda: patient(Facts(output=linear, loss=LossFacts("cross_entropy", "logits", 2.4, 2.3))),
        causes=("softmax_axis",),
    )
