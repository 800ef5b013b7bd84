"""Learned by heart: the validation loss rises while the training loss falls."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number

_MORE = 1.05
_CHECKS = 3


def check(evidence: Evidence) -> Finding | None:
    """At three evaluations in a row the validation loss lies 5 % above its minimum: a note, as the best are kept."""
    evals = [e for e in evidence.view.evals if e.part == "valid" and "loss" in e.metrics]
    if len(evals) < _CHECKS + 1:
        return None
    best = min(evals, key=lambda e: e.metrics["loss"])
    late = evals[-_CHECKS:]
    low = best.metrics["loss"]
    if low <= 0 or best.step >= late[0].step or any(not e.metrics["loss"] > _MORE * low for e in late):
        return None
    rows = {r["step"]: r.get("train/loss") for r in evidence.view.history()}
    then, now = rows.get(best.step), rows.get(late[-1].step)
    if then is None or now is None or now >= then or now >= evidence.facts.loss.guess:
        return None  # what is no better than guessing has learned nothing by heart
    rise = late[-1].metrics["loss"] / low - 1
    return Finding(
        rule="overfitting",
        severity="note",
        what=f"since step {best.step:,} the validation loss rose by {rise:.0%}, from {number(low)} to "
        f"{number(late[-1].metrics['loss'])}, while the training loss fell from {number(then)} to {number(now)}",
        where="the training",
        evidence={"best step": best.step, "valid loss then": low, "valid loss now": late[-1].metrics["loss"]},
        why="What is learned from here on helps with the training samples alone. The best weights are kept and served.",
        fixes=(
            Patch({"patience": 5}),
            Patch({"optimizer.weight_decay": 0.1}),
            Advice("more data, augmentation or dropout let it learn for longer"),
        ),
    )


@rules.add("overfitting")
def overfitting() -> Rule:
    """The validation loss lies more than 5 % above its minimum at three evaluations, while the training loss falls.

    Only where the training loss is better than guessing: a network that fails has nothing to forget.
    """
    falling = [1.0 - 0.004 * i for i in range(200)]
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0))
    rising = {40 * i: {"loss": v} for i, v in enumerate((0.8, 0.9, 1.0, 1.1), 1)}
    flat = {40 * i: {"loss": v} for i, v in enumerate((0.8, 0.7, 0.69, 0.69), 1)}
    return Rule(
        "overfitting",
        check,
        sick=lambda: patient(facts, falling, evals=rising),
        healthy=lambda: patient(facts, falling, evals=flat),
        causes=("noisy_labels",),
    )
