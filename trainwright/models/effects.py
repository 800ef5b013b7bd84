"""What columns beside a series add to it.

Letters in shapes: N windows, T steps of context, L steps to forecast, V series, K numbers known ahead.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class Effect(nn.Module):
    """A linear effect of what is known of a time on the series at that time, the same at all times; 0 at first.

    It is taken from the context, the rest is forecast, and it is added to what is told: a regression with errors that
    a forecaster models.

    Args:
        known: numbers that are known ahead, K.
        variables: series, V.

    Source: Hyndman & Athanasopoulos 2021, "Forecasting: principles and practice", chapter 10.
    """

    def __init__(self, known: int, variables: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(known, variables))

    def forward(self, known: Tensor) -> Tensor:
        """(N, S, K) -> (N, S, V)."""
        return known.to(self.weight.dtype) @ self.weight


def effect_of(known: int, variables: int) -> Effect | None:
    """None where nothing is known ahead."""
    return Effect(known, variables) if known else None


def parted(effect: Effect | None, context: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | float]:
    """The context (N, T, V) without the effect, and the effect (N, L, V, 1) on what follows."""
    if effect is None or known is None:
        return context, 0.0
    steps = context.shape[1]
    return context - effect(known[:, :steps]), effect(known[:, steps:])[..., None]


def joined(series: Tensor, known: Tensor | None, past: Tensor | None) -> Tensor:
    """(N, T, V + K + P): what a model of all series reads, step by step."""
    beside = [] if known is None else [known[:, : series.shape[1]]]
    return torch.cat([series, *beside, *([] if past is None else [past])], 2)
