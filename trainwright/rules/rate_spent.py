"""A schedule that has used up the learning rate long before the end."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import failing, number

_SPENT = 1e-3  # of the highest
_PART = 0.7  # of the budget: cosine and the like are below a thousandth only at their very end


def check(evidence: Evidence) -> Finding | None:
    """The rate of the latest step beside the highest until now, and how far the training is."""
    steps = [e for e in evidence.view.steps if e.lr == e.lr]
    total = evidence.facts.steps
    if len(steps) < 3:
        return None
    now, highest = steps[-1], max(e.lr for e in steps)
    negative = now.lr < 0
    early = total > 0 and now.step < _PART * total and now.step > 20
    spent = highest > 0 and now.lr < _SPENT * highest
    if not negative and not (spent and (early or (not total and failing(evidence)))):
        return None
    place = f"at step {now.step:,}" + (f" of {total:,}" if total else "")
    what = (
        f"the learning rate is {number(now.lr)}"
        if negative
        else f"{place} the learning rate is {number(now.lr)}, a thousandth or less of what it was ({number(highest)})"
    )
    return Finding(
        rule="rate_spent",
        severity="error" if negative else "warning",
        what=what,
        where="schedule",
        evidence={"learning rate": now.lr, "highest": highest, "step": now.step, "steps": total},
        why="With a negative rate the loss is made large."
        if negative
        else "What is left of the budget moves nothing. "
        "Often a schedule made for epochs is stepped once per batch, or two schedules multiply.",
        fixes=(
            Patch({"schedule": {"name": "constant"}}),
            Advice("step the schedule as often as its length counts: once per batch, or once per epoch"),
        ),
    )


@rules.add("rate_spent")
def rate_spent() -> Rule:
    """The learning rate is negative, or below a thousandth of its highest before 70 % of the budget.

    Where the budget is not known, as in a loop of your own, only where nothing is learned.
    """
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0), steps=200)
    early = [max(1e-9, 1e-3 * 0.8**i) for i in range(100)]
    usual = [1e-3 * (1 - i / 200) for i in range(100)]
    return Rule(
        "rate_spent",
        check,
        sick=lambda: patient(facts, [1.0] * 100, lr=early),
        healthy=lambda: patient(facts, [1.0] * 100, lr=usual),
    )
