"""Models that are broken on purpose; recipes of ill_trials.py name this file."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainwright.core.kinds import models


@models.add("timid")
class Timid(nn.Module):
    """Dense layers whose answers are squeezed into a narrow band.

    Args:
        inputs: numbers of a sample.
        outputs: numbers that come out.
        reach: of the answers.
    """

    def __init__(self, *, inputs: int, outputs: int, reach: float = 0.02) -> None:
        super().__init__()
        self.body, self.head, self.reach = nn.Linear(inputs, 32), nn.Linear(32, outputs), reach

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        return self.reach * torch.tanh(self.head(torch.relu(self.body(x))))


class TwoLayers(nn.Module):
    """Dense layers, of which each model makes something else.

    Args:
        inputs: numbers of a sample.
        outputs: numbers that come out.
    """

    def __init__(self, *, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(inputs, 32), nn.Linear(32, outputs)


@models.add("far_away")
class FarAway(TwoLayers):
    """Dense layers behind a shift of the inputs that is taken back only behind the first of them."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        return self.head(torch.relu(self.body(x + 500) - self.body(torch.full_like(x, 500))))


@models.add("of_thirty_two")
class OfThirtyTwo(TwoLayers):
    """Dense layers whose answers are multiplied by the size of the batch and divided by a constant 32."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        return self.head(torch.relu(self.body(x))) * len(x) / 32
