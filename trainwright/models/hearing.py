"""What networks for sound have in common: padding that stays silent, and convolutions that shorten the time.

Letters in shapes: N recordings, U frames, F bands, C channels, W width.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from trainwright.models.activations import begin
from trainwright.models.dropout import Dropout


def real_frames(count: int, lengths: Tensor) -> Tensor:
    """(N, U) which of the frames are no padding."""
    return torch.arange(count, device=lengths.device) < lengths[:, None]


def shorter(lengths: Tensor, times: int) -> Tensor:
    """(N,) frames -> (N,) frames behind convolutions that step ``times`` frames in all, rounded up."""
    return (lengths + times - 1) // times


@final
class RealNorm(nn.Module):
    """Batch norm of maps (N, C, U, F) over their real frames: padding changes nothing.

    A batch without any real frame, or with one value alone, is normalised by the running statistics.

    Source: Ioffe & Szegedy 2015, "Batch normalization".
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """(N, C, U, F), and (N, 1, U, 1) of 0 and 1 which frames are real -> the same, padding 0."""
        mean, var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        if self.training:
            count = real.sum() * x.shape[3]
            there = x * real
            mean = there.sum((0, 2, 3)) / count
            var = (there.square().sum((0, 2, 3)) / count - mean.square()).clamp_min(0)
            with torch.no_grad():
                for name, new in (("running_mean", mean), ("running_var", var)):
                    self.get_buffer(name).lerp_(new.detach().to(self.get_buffer(name).dtype), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None]) * real

    def extra_repr(self) -> str:
        """The channels."""
        return f"{len(self.weight)}"


@final
class Shortened(nn.Module):
    """Two convolutions over time and bands, which leave one frame of several, and half of the bands twice.

    Args:
        bands: of a frame.
        width: numbers that a frame is told by behind.
        channels: of the convolutions.
        times: frames that become one: 1, 2 or 4.
        dropout: share of the numbers silenced in training.
    """

    def __init__(self, bands: int, width: int, channels: int, times: int, dropout: float) -> None:
        super().__init__()
        assert times in (1, 2, 4)
        steps = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[times]
        self.times = times
        self.steps = steps
        self.maps = nn.ModuleList()
        for before, step in zip((1, channels), steps, strict=True):
            layer = nn.Conv2d(before, channels, 3, stride=(step, 2), padding=1)
            begin(layer, 2**0.5)
            self.maps.append(layer)
        self.out = nn.Linear(channels * shorter_bands(bands), width)
        begin(self.out, 1.0)
        self.dropout = Dropout(dropout)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, U, F) and (N,) -> (N, U / times, W) and (N,), both rounded up; padding is 0."""
        x = frames[:, None]
        for layer, step in zip(self.maps, self.steps, strict=True):
            lengths = shorter(lengths, step)
            x = relu(layer(x))
            x = x * real_frames(x.shape[2], lengths)[:, None, :, None]
        told = self.dropout(self.out(x.transpose(1, 2).flatten(2)))
        return told * real_frames(told.shape[1], lengths)[:, :, None], lengths


def shorter_bands(bands: int) -> int:
    """How many bands two convolutions leave that step over every other one."""
    return (bands + 3) // 4
