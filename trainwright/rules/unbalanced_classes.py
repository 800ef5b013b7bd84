"""A large class, and a score that is content with it."""

from __future__ import annotations

from trainwright.core.facts import Facts, Target
from trainwright.core.finding import Edit, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent

_RATIO, _GONE, _LEAST = 10.0, 0.1, 100
_SCORES = ("balanced_accuracy", "macro_f1", "f1", "auroc", "average_precision")


def check(evidence: Evidence) -> Finding | None:
    """One class outnumbers another tenfold: a note where accuracy decides, a warning where it is never left."""
    facts, counts = evidence.facts, [c for c in evidence.facts.target.counts if c]
    if facts.target.coding not in ("classes", "binary", "one_hot") or sum(counts) < _LEAST or len(counts) < 2:
        return None
    share = max(counts) / sum(counts)
    if max(counts) / min(counts) <= _RATIO:
        return None
    last = [e.metrics for e in evidence.view.evals if "accuracy" in e.metrics]
    reached = last[-1]["accuracy"] if evidence.over and last else None
    stuck = reached is not None and (reached - share) / (1 - share) < _GONE
    if not stuck and (facts.monitor != "accuracy" or reached is not None):
        return None
    what = f"the largest class has {percent(share)} of the samples, {max(counts) / min(counts):.0f} times the smallest"
    if reached is not None:
        what += f", and the accuracy of {percent(reached)} is what saying it every time would reach"
    return Finding(
        rule="unbalanced_classes",
        severity="warning" if stuck else "note",
        what=what + ("" if stuck else ": accuracy alone says little of the others"),
        where="the targets",
        evidence={
            "largest class": share,
            "largest to smallest": max(counts) / min(counts),
            **({} if reached is None else {"accuracy": reached}),
            **({n: last[-1][n] for n in _SCORES if n in last[-1]} if last else {}),
        },
        why="A network that never says the small class is nearly always right, and of no use to whom the small class "
        "matters. The recall of each class tells whether that is so.",
        fixes=(
            Patch({"metrics": ["balanced_accuracy"], "monitor": "balanced_accuracy"}),
            Edit("weigh the classes in the loss: task.loss = {name = 'cross_entropy', class_weights = 'balanced'}"),
        ),
    )


@rules.add("unbalanced_classes")
def unbalanced_classes() -> Rule:
    """One class has ten times the samples of another, and accuracy is what decides.

    A note before the training where accuracy is the monitor. A warning at its end where less than a tenth of the errors
    are gone that saying the largest class makes.
    """
    target = Target(coding="classes", classes=2, counts=(960, 40))
    return Rule(
        "unbalanced_classes",
        check,
        sick=lambda: patient(Facts(target=target), [0.1] * 300, evals={300: {"accuracy": 0.96}}, over=True),
        healthy=lambda: patient(Facts(target=target), [0.1] * 300, evals={300: {"accuracy": 0.99}}, over=True),
        causes=("constant_target", "no_signal"),
    )
