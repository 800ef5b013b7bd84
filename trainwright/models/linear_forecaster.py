"""Linear forecasts: one map of the past for all series, or one for each.

Letters in shapes: N windows, T steps of context, L steps to forecast, V series, Q numbers told for each step,
K numbers known ahead.
"""

from __future__ import annotations

from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, pad

from trainwright.core.kinds import models
from trainwright.models.effects import effect_of, parted

Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


@models.add("nlinear", default_for="forecasting")
@final
class NLinear(nn.Module):
    """A linear map of each series' context, relative to its last number.

    Args:
        context: steps that are known; given by the data.
        horizon: steps to forecast; given by the data.
        variables: series; given by the data.
        quantiles: numbers told for each step; given by the data.
        known: numbers known ahead, whose linear effect is taken out and added again; given by the data.
        individual: whether each series has a map of its own.

    Source: Zeng, Chen, Zhang & Xu 2023, "Are Transformers effective for time series forecasting?".
    """

    def __init__(
        self,
        *,
        context: Size,
        horizon: Size,
        variables: Size,
        quantiles: Size,
        known: Count = 0,
        individual: bool = False,
    ) -> None:
        super().__init__()
        self.effect = effect_of(known, variables)
        self.map = _map(context, horizon * quantiles, variables, individual)
        self.quantiles = quantiles

    def forward(self, context: Tensor, known: Tensor | None = None) -> Tensor:
        """(N, T, V) and (N, T + L, K) -> (N, L, V, Q)."""
        context, added = parted(self.effect, context, known)
        last = context[:, -1:]
        return _told(self.map((context - last).transpose(1, 2)), self.quantiles) + last[..., None] + added


@models.add("dlinear")
@final
class DLinear(nn.Module):
    """A linear map of each series' trend, its moving mean, and another of the rest, added.

    Args:
        context: steps that are known; given by the data.
        horizon: steps to forecast; given by the data.
        variables: series; given by the data.
        quantiles: numbers told for each step; given by the data.
        known: numbers known ahead, whose linear effect is taken out and added again; given by the data.
        window: steps of the moving mean; the ends of the context are repeated for it.
        individual: whether each series has maps of its own.

    Source: Zeng, Chen, Zhang & Xu 2023, "Are Transformers effective for time series forecasting?".
    """

    def __init__(
        self,
        *,
        context: Size,
        horizon: Size,
        variables: Size,
        quantiles: Size,
        known: Count = 0,
        window: Size = 25,
        individual: bool = False,
    ) -> None:
        super().__init__()
        self.effect = effect_of(known, variables)
        self.trend = _map(context, horizon * quantiles, variables, individual)
        self.rest = _map(context, horizon * quantiles, variables, individual)
        self.quantiles, self.window = quantiles, window

    def forward(self, context: Tensor, known: Tensor | None = None) -> Tensor:
        """(N, T, V) and (N, T + L, K) -> (N, L, V, Q)."""
        context, added = parted(self.effect, context, known)
        x = context.transpose(1, 2)
        before = (self.window - 1) // 2
        trend = avg_pool1d(pad(x, (before, self.window - 1 - before), mode="replicate"), self.window, stride=1)
        return _told(self.trend(trend) + self.rest(x - trend), self.quantiles) + added


@final
class _Each(nn.Module):
    """A linear map of the last axis for each of V series; drawn as torch draws one."""

    def __init__(self, variables: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(variables, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(variables, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(N, V, T) -> (N, V, outputs)."""
        return torch.baddbmm(self.bias, x.transpose(0, 1), self.weight).transpose(0, 1)


def _map(inputs: int, outputs: int, variables: int, individual: bool) -> nn.Module:
    """One for all series, or one for each."""
    return _Each(variables, inputs, outputs) if individual else nn.Linear(inputs, outputs)


def _told(flat: Tensor, quantiles: int) -> Tensor:
    """(N, V, L · Q) -> (N, L, V, Q)."""
    return flat.reshape(*flat.shape[:2], -1, quantiles).transpose(1, 2)
