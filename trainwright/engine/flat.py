"""The weights of a module in a row: to walk through a deep network takes longer than a small step of it."""

from __future__ import annotations

from collections.abc import ValuesView
from itertools import chain
from typing import Any

import torch
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
        self.exact = False  # all of 32 bits, or all of 64

    def weights(self) -> list[nn.Parameter]:
        """As they are now."""
        if [*map(id, chain.from_iterable(self._inside))] != self._then or not self._inside:
            every = [inside for m in self._module.modules() for inside in (m._parameters, m._modules)]
            self._inside = [inside.values() for inside in every]
            self._then = [*map(id, chain.from_iterable(self._inside))]
            self._weights = list(self._module.parameters())
            kinds = {(w.dtype, w.device) for w in self._weights}
            self.alike = len(kinds) == 1
            self.exact = self.alike and next(iter(kinds))[0] in (torch.float32, torch.float64)
        return self._weights
