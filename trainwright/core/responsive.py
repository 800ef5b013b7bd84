"""A schedule that answers to how the training goes, not only to how far it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class Responsive(ABC):
    """A schedule with a memory: it is told every evaluation, and is a part of the training's state."""

    @abstractmethod
    def __call__(self, step: int, steps: int) -> float:
        """The multiplier of the base rates at ``step`` of ``steps``."""

    @abstractmethod
    def judged(self, value: float, better: str) -> None:
        """An evaluation of the monitor; ``better`` is "higher" or "lower"."""

    @abstractmethod
    def state_dict(self) -> Mapping[str, Any]:
        """What it remembers, as JSON."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""


class Unchanging:
    """Stands in the state for a schedule without a memory."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Whatever another schedule remembered is of no use."""
