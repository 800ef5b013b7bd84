"""A convolutional network for recordings of any length.

Letters in shapes: N recordings, U frames, F bands, C channels.
"""

from __future__ import annotations

from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from trainwright.core.kinds import models
from trainwright.models.activations import begin, conv, dense
from trainwright.models.dropout import Dropout
from trainwright.models.hearing import RealNorm, real_frames, shorter

Size = Annotated[int, Field(ge=1)]


@models.add("audio_cnn", default_for="audio_classification")
@final
class AudioCNN(nn.Module):
    """A convolution and residual blocks over time and bands, each halving both; mean and maximum over time decide.

    Args:
        bands: of a frame; given by the data.
        outputs: numbers that come out; given by the data.
        filters: channels of the first convolution and of each block.
        dropout: share of what goes to the outputs silenced in training.

    Source: He et al. 2016, "Deep residual learning for image recognition"; Hershey et al. 2017, "CNN architectures for
    large-scale audio classification".
    """

    def __init__(
        self,
        *,
        bands: Size,
        outputs: Size,
        filters: Annotated[tuple[Size, ...], Field(min_length=1)] = (16, 32, 64, 64),
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    ) -> None:
        super().__init__()
        before, *others = filters
        self.first, self.norm = nn.Conv2d(1, before, 5, stride=2, padding=2), RealNorm(before)
        begin(self.first, 2**0.5)
        bands = -(-bands // 2)
        self.blocks = nn.ModuleList()
        for channels in others:
            self.blocks.append(_Block(before, channels))
            before, bands = channels, -(-bands // 2)
        self.dropout = Dropout(dropout)
        self.head = dense(2 * before * bands, outputs, None)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(N, U, F) features, of which (N,) frames are real -> (N, outputs)."""
        lengths = shorter(lengths, 2)
        x = self.first(frames[:, None])
        x = relu(self.norm(x, real_frames(x.shape[2], lengths)[:, None, :, None].to(x.dtype)))
        for block in self.blocks:
            x, lengths = block(x, lengths)
        real = real_frames(x.shape[2], lengths)[:, None, :, None]
        mean = x.sum(2) / lengths[:, None, None]
        largest = x.masked_fill(~real, -torch.inf).amax(2)
        told = torch.cat([mean, largest], 1).flatten(1)
        return self.head(self.dropout(told))  # type: ignore[no-any-return]


@final
class _Block(nn.Module):
    """Two convolutions with batch norm beside a shorter way, then the largest of 2 by 2."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.first = conv(before, channels, 3, same=True, activation="relu")
        self.second = conv(channels, channels, 3, same=True, activation="relu")
        self.first_norm, self.second_norm = RealNorm(channels), RealNorm(channels)
        self.way = nn.Conv2d(before, channels, 1) if before != channels else nn.Identity()

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, U, F) and (N,) -> half of the frames and of the bands, rounded up, and (N,); padding is 0."""
        real = real_frames(x.shape[2], lengths)[:, None, :, None].to(x.dtype)
        inner = relu(self.first_norm(self.first(x), real))
        x = relu(self.second_norm(self.second(inner), real) + self.way(x) * real)
        return max_pool2d(x, 2, ceil_mode=True), shorter(lengths, 2)
