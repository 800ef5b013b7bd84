"""Whose checkpoints are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """The run whose checkpoints are read: those of another one are told, whatever folder they lie in."""

    run: str  # its identity, which each of its checkpoints carries
    unsigned: int = -1  # up to this step they are of an older version, and carry none
