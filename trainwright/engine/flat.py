"""The weights of a module in a row: to walk through a deep network takes longer than a small step of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


class Flat:
    """The weights of a module, each once, in the order of ``parameters()``.

    Args:
        module: is walked through once, and again where one of its modules or weights is another one or a new one.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._seen: list[tuple[Mapping[str, Any], list[int]]] = []
        self._weights: list[nn.Parameter] = []
        self.alike = False  # all of one type, in one place

    def weights(self) -> list[nn.Parameter]:
        """As they are now."""
        if not self._seen or any([*map(id, inside.values())] != then for inside, then in self._seen):
            every = [inside for m in self._module.modules() for inside in (m._parameters, m._modules)]
            self._seen = [(inside, [*map(id, inside.values())]) for inside in every]
            self._weights = list(self._module.parameters())
            self.alike = len({(w.dtype, w.device) for w in self._weights}) == 1
        return self._weights
