"""The weights of a module in a row: to walk through a deep network takes longer than a small step of it."""

from __future__ import annotations

from collections.abc import ValuesView
from itertools import chain
from typing import Any

from torch import nn


class Flat:
    """The weights of a module, each once, in the order of ``parameters()``.

    Args:
        module: is walked through once, and again where one of its modules or weights is another one or a new one.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._inside: list[ValuesView[Any]] = []  # of every module: its weights, its modules
        self._then: list[int] = []  # what they were
        self._weights: list[nn.Parameter] = []
        self.alike = False  # all of one type, in one place
        self.numbers = 0  # of all of them

    def weights(self) -> list[nn.Parameter]:
        """As they are now."""
        if [*map(id, chain.from_iterable(self._inside))] != self._then or not self._inside:
            every = [inside for m in self._module.modules() for inside in (m._parameters, m._modules)]
            self._inside = [inside.values() for inside in every]
            self._then = [*map(id, chain.from_iterable(self._inside))]
            self._weights = list(self._module.parameters())
            self.alike = len({(w.dtype, w.device) for w in self._weights}) == 1
            self.numbers = sum(w.numel() for w in self._weights)
        return self._weights
