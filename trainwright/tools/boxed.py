"""What a recipe for pictures with boxes says: which things are to be found, and what their boxes need."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from trainwright.tools.found import Found

_TASK = "object_detection"
_FEW = 8  # classes that are named


class Plan(Protocol):
    """The recipe to be."""

    values: dict[str, Any]
    reasons: dict[str, str]
    facts: list[tuple[str, str]]
    unsure: list[str]


def in_boxes(plan: Plan, found: Found) -> None:
    """Detection of every class that is marked; boxes that cannot be right are mended, and counted."""
    labels = found.source.values("labels")
    tally = Counter(str(name) for names in labels for name in names)
    named = ", ".join(f"{n:,} {name}" for name, n in tally.most_common(_FEW))
    named += f", … ({len(tally) - _FEW} more)" if len(tally) > _FEW else ""
    empty = sum(not names for names in labels)
    plan.values["task"] = {"name": _TASK, "faulty": "mend"}
    plan.reasons["task"] = (
        f"Boxes of {len(tally)} classes: {named}. Boxes are cut at the edge of their image, and left out where nothing "
        'remains; with faulty = "refuse" they end the training.'
    )
    plan.facts += [("data", f"{found.told}: {len(labels):,} images, {empty:,} of them without boxes")]
    plan.facts += [("task", f"{_TASK}: {named}")]
    plan.unsure.append('where there is no up and down, as from the air or under a microscope, write flips = "both"')
