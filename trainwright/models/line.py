"""The linear model of numbers and categories, for beside a network of tables.

Letters in shapes: N samples, F numbers, K categories, I ids of all categories together, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn


@final
class Line(nn.Module):
    """A weight for each number and for each id of each category; it says 0 of everything before it learns.

    What is learned is multiplied by ``speed``: an optimizer whose steps do not grow with the gradient then moves what
    is said by as much more.

    Args:
        inputs: F.
        cardinalities: how many ids each category has.
        outputs: C.
        speed: above 0.
    """

    begins: Tensor

    def __init__(self, inputs: int, cardinalities: Sequence[int], outputs: int, speed: float) -> None:
        super().__init__()
        self.speed = speed
        self.weight = nn.Parameter(torch.zeros(inputs, outputs))
        self.levels = nn.Parameter(torch.zeros(sum(cardinalities), outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        begins = torch.tensor([0, *cardinalities], dtype=torch.int64).cumsum(0)[:-1]
        self.register_buffer("begins", begins, persistent=False)  # of each category's ids among all (K,)

    def forward(self, x: Tensor | None = None, categorical: Tensor | None = None) -> Tensor:
        """Numbers (N, F), category ids (N, K) int64 -> (N, C)."""
        said: Tensor = self.bias
        if x is not None:
            said = said + x @ self.weight
        if categorical is not None:
            said = said + self.levels[categorical + self.begins].sum(1)
        return said * self.speed
