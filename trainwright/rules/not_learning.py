"""The network does no better than guessing, and nothing else was found that explains it."""

from __future__ import annotations

from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import Standing, failing, gravity, number
from trainwright.rules.remedies import general
from trainwright.rules.upstream import ALL

_PART = 0.5  # of the budget; causes that are proved speak sooner


def check(evidence: Evidence) -> Finding | None:
    """The loss of the latest steps beside that of the best constant answer."""
    now = failing(evidence)
    if now is None or (not evidence.over and now.steps < _PART * evidence.facts.steps):
        return None
    return Finding(
        rule="not_learning",
        severity=gravity(evidence),
        what=f"after {now.steps:,} steps {_told(now)}",
        where="the training",
        evidence={**now.numbers, "standard error": now.error},
        why="No cause was proved. Whether a few samples can be learned by heart would tell whether the network can "
        "learn at all; a simple model on the same data, whether there is anything to learn.",
        fixes=(
            Advice("try to learn 64 samples by heart: if the loss does not fall to 0 then, the network is at fault"),
            *general(evidence),
        ),
    )


def _told(now: Standing) -> str:
    if now.severity == "warning":
        return now.outcome
    return (
        f"the network does no better than guessing: its loss is {number(now.loss)}, and one and the same answer to "
        f"every sample reaches {number(now.guess)}"
    )


@rules.add("not_learning")
def not_learning() -> Rule:
    """The training loss is no better than 95 % of what the best constant answer reaches.

    While the training goes on, after half of the budget, 200 steps and one epoch at least, and only where the loss does
    not fall; a validation loss below 90 % of guessing clears it. At the end also where the network gets less than a
    fifth of the way from guessing to right answers on its own samples, and simple models much more on samples left out.
    """
    return Rule(
        "not_learning",
        check,
        sick=lambda: patient(losses=[1.0] * 300, over=True),
        healthy=lambda: patient(losses=[1.0 - 0.002 * i for i in range(300)], over=True),
        causes=(*ALL, "stopped_early"),
    )
