"""Batch norm that lives through a batch of one sample.

Letters in shapes: N samples, C features, H height, W width.
"""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn.functional import batch_norm


@final
class FeatureNorm(nn.BatchNorm1d):
    """Batch norm of features (N, C); where a training batch has one sample, by the running statistics.

    Torch raises there, and the last batch of an epoch may be that small.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        return _running(self, input) if len(input) == 1 else super().forward(input)


@final
class MapNorm(nn.BatchNorm2d):
    """Batch norm of maps (N, C, H, W); where a training batch has one value per map, by the running statistics."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        one = input.numel() == input.shape[1]
        return _running(self, input) if one else super().forward(input)


def _running(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    return batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
