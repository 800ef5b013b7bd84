"""The loss scale of float16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LossScale:
    """Keeps float16 gradients above the smallest number: doubled after ``patience`` good steps, halved after a bad one.

    Source: Micikevicius et al. 2018, "Mixed precision training", section 3.2.
    """

    def __init__(self, scale: float = 2.0**16, patience: int = 2000) -> None:
        self.scale, self.patience, self.good = scale, patience, 0

    def update(self, finite: bool) -> None:
        """After each step."""
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.scale = max(self.scale / 2, 1.0)
        elif self.good >= self.patience:
            self.scale, self.good = self.scale * 2, 0

    def state_dict(self) -> dict[str, Any]:
        """The scale, and the good steps since it changed."""
        return {"scale": self.scale, "patience": self.patience, "good": self.good}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.scale, self.patience, self.good = float(state["scale"]), int(state["patience"]), int(state["good"])
