"""Classes that a held-out part has no record of: its scores say nothing about them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from torch import Tensor

from trainwright.core.finding import Advice, Finding

RULE = "absent_classes"
_SHOWN = 5


def absent(classes: Sequence[Hashable], parts: Mapping[str, Tensor]) -> list[Finding]:
    """One finding for each part that lacks a class of the training part.

    Args:
        classes: of every record.
        parts: the record ids of each part, among them "train".
    """
    having = {name: {classes[i] for i in ids.tolist()} for name, ids in parts.items() if len(ids)}
    known = having.pop("train", set())
    return [_told(name, known - has, len(known)) for name, has in having.items() if known - has]


def _told(part: str, lacking: set[Hashable], known: int) -> Finding:
    names = sorted(map(str, lacking))
    shown = ", ".join(repr(name) for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return Finding(
        rule=RULE,
        severity="warning",
        what=f"the {part} part has no record of {len(names)} of the {known} classes: {shown}",
        where=part,
        evidence={"classes": float(known), "absent": float(len(names))},
        why="its scores say nothing about them: a model that never finds them loses nothing there",
        fixes=(Advice(f"make data.{part} larger, or give more records of them"),),
    )
