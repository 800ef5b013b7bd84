"""A batch whose step depends on how it is cut."""

from __future__ import annotations

from trainwright.core.facts import Facts
from trainwright.core.finding import Edit, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.core.trial_facts import Invariance
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent

_APART = 0.01  # rounding gives 1e-5; kinks of max-pools that fall otherwise 1e-3


def check(evidence: Evidence) -> Finding | None:
    """The gradient in micro-batches is not that of the whole batch."""
    found = evidence.facts.invariance
    if not found.cut > _APART:
        return None
    return Finding(
        rule="pieces_differ",
        severity="warning",
        what=f"cut into {found.pieces} micro-batches, the same batch gives a gradient that is off by "
        f"{percent(found.cut)} (its loss by {percent(found.cut_loss)})",
        where="the loss",
        evidence={"pieces": found.pieces, "gradient apart": found.cut, "loss apart": found.cut_loss},
        why="Then micro-batches, several devices and a smaller last batch train something else than the recipe says. "
        "Mostly a loss takes a mean over something that differs from piece to piece, or samples are compared with "
        "those beside them.",
        fixes=(
            Edit("let the loss be a sum, and divide it once by the total weight of the batch"),
            Patch({"micro_batch": "all"}),
        ),
    )


@rules.add("pieces_differ")
def pieces_differ() -> Rule:
    """A batch in micro-batches that gives another gradient than at once.

    Asked by ``trainwright doctor recipe.toml`` of up to 32 samples, without dropout; models with batch norm are left
    out, whose statistics are those of a piece. Said from a hundredth of the gradient's size.
    """
    return Rule(
        "pieces_differ",
        check,
        sick=lambda: patient(Facts(invariance=Invariance(4, 0.4, 0.1))),
        healthy=lambda: patient(Facts(invariance=Invariance(4, 2e-6, 1e-7))),
        causes=("rows_mixed", "shapes_spread"),
    )
