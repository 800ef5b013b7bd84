"""Targets in an order, and nothing that shuffles them."""

from __future__ import annotations

from trainwright.core.data_facts import DataFacts, Order
from trainwright.core.facts import Facts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent

_ERRORS, _PART, _SINGLE = 5.0, 0.5, 0.2


def check(evidence: Evidence) -> Finding | None:
    """Neighbours agree far beyond chance, so a batch is no picture of the whole."""
    order = evidence.facts.data.order
    beyond = order.alike - order.chance
    if not beyond > max(_PART * (1 - order.chance), _ERRORS * order.error):
        return None
    alone = order.single > _SINGLE
    batches = f"{percent(order.single)} of the batches hold one class alone" if alone else "each batch is of one kind"
    return Finding(
        rule="sorted_targets",
        severity="error" if alone else "warning",
        what=f"the training samples come sorted by their target, and nothing shuffles them: {batches}",
        where="the order of the data",
        evidence={
            "neighbours alike": order.alike,
            "by chance": order.chance,
            "standard error": order.error,
            "batches of one class": order.single,
            "samples": order.rows,
        },
        why="Each step learns what the last step's class was, and forgets the others; the network ends up saying the "
        "class that came last.",
        fixes=(Patch({"shuffle": True}),),
    )


@rules.add("sorted_targets")
def sorted_targets() -> Rule:
    """Training samples that follow each other have the same target, and are not shuffled.

    Measured where ``shuffle = false``, and in a loop of your own in the order in which samples come: neighbours agree
    (or correlate) by half of what is possible beyond chance, and by five standard errors. An error where more than a
    fifth of the batches hold one class alone.
    """
    return Rule(
        "sorted_targets",
        check,
        sick=lambda: patient(Facts(data=DataFacts(order=Order(500, 0.99, 0.34, 0.02, 0.8)))),
        healthy=lambda: patient(Facts(data=DataFacts(order=Order(500, 0.36, 0.34, 0.02, 0.0)))),
    )
