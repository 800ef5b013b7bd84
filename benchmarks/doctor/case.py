"""A file of cases, read: facts about other people's programs, in the words of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwright.core.errors import UserError


class CannotBuildError(ValueError):
    """A case that cannot be made into a program here; the message says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One program, as the file tells it."""

    id: str
    facts: Mapping[str, Any]

    @property
    def status(self) -> str:
        """buggy, healthy, fixed_unverified or disputed."""
        return str(self.facts.get("status", "buggy"))

    @property
    def pytorch(self) -> bool:
        """Whether its defaults are those of PyTorch and not of Keras."""
        return "torch" in str(self.facts.get("framework", "keras")).lower()

    def text(self, key: str, inside: str | None = None) -> str:
        """A fact in lower case; "" where it is not told."""
        found = self.facts if inside is None else self.facts.get(inside) or {}
        return str(found.get(key) or "").lower()


def cases(folder: Path) -> list[Case]:
    """Every case of a folder's *.json files, or of one file; an id that appears twice is kept once.

    Raises:
        UserError: the path holds no cases.
    """
    files = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    found: dict[str, Case] = {}
    for file in files:
        if not file.exists():
            raise UserError(str(file), "no such file of cases", "name a folder that holds cases.json")
        for facts in _listed(json.loads(file.read_text())):
            found.setdefault(str(facts["id"]), Case(str(facts["id"]), facts))
    if not found:
        raise UserError(str(folder), "holds no cases", "name a folder that holds cases.json")
    return list(found.values())


def twins(every: Sequence[Case]) -> dict[str, tuple[str, ...]]:
    """Id of a buggy program -> ids of its repaired forms; id of a repaired one -> the buggy program it comes from."""
    found: dict[str, tuple[str, ...]] = {}
    for case in every:
        if origin := case.facts.get("pair_of"):
            found[case.id] = (str(origin),)
            found[str(origin)] = (*found.get(str(origin), ()), case.id)
    return found


def _listed(document: Any) -> list[Mapping[str, Any]]:
    listed = document.get("cases", []) if isinstance(document, dict) else document
    return [facts for facts in listed if isinstance(facts, dict) and "id" in facts]
