"""Convolutions that look back alone, in blocks.

Letters in shapes: N sequences, C channels, T steps.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from trainwright.models.dropout import Dropout


@final
class CausalBlock(nn.Module):
    """Two causal convolutions, and what came in added to what comes out.

    Args:
        inputs: channels that come in.
        channels: that come out.
        window: steps that a convolution sees.
        step: how far these lie apart.
        dropout: share of what each convolution says, silenced in training.

    Source: Bai, Kolter & Koltun 2018, "An empirical evaluation of generic convolutional and recurrent networks for
    sequence modeling".
    """

    def __init__(self, inputs: int, channels: int, window: int, step: int, dropout: float) -> None:
        super().__init__()
        self.before = step * (window - 1)
        self.first = nn.Conv1d(inputs, channels, window, dilation=step)
        self.second = nn.Conv1d(channels, channels, window, dilation=step)
        self.beside = nn.Conv1d(inputs, channels, 1) if inputs != channels else nn.Identity()
        self.dropout = Dropout(dropout)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, C, T)."""
        inner = self.dropout(torch.relu(self.first(pad(x, (self.before, 0)))))
        inner = self.dropout(torch.relu(self.second(pad(inner, (self.before, 0)))))
        return torch.relu(inner + self.beside(x))
