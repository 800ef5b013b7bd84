"""Residual networks for images, from small pictures to large ones.

Letters in shapes: N samples, C channels, H height, W width, F features.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import relu

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.models import strided
from trainwright.models.activations import dense
from trainwright.models.norms import MapNorm

Size = Annotated[int, Field(ge=1)]
Depth = Literal[8, 14, 20, 32, 44, 56, 110, 18, 34, 50]


class _Plan(NamedTuple):
    blocks: tuple[int, ...]  # of each stage
    width: int  # of the first stage, as published


_PLANS = {18: _Plan((2, 2, 2, 2), 64), 34: _Plan((3, 4, 6, 3), 64), 50: _Plan((3, 4, 6, 3), 64)}
_EXPANSION = 4  # a bottleneck's outputs per inner map
_SMALL = 64  # pixels; up to here a first convolution with stride 4 in all would throw away too much


@models.add("resnet")
@final
class ResNet(nn.Module):
    """Stages of residual blocks, each stage with twice the maps at half the size; their mean; outputs.

    Depths 18, 34 and 50 have four stages (50 of bottlenecks, the stride in the 3x3 convolution); the others have three
    stages of basic blocks and are made for pictures of about 32 pixels. Shortcuts are projections where the shape
    changes. The last gain of each block begins at 0, so that at first each block passes on what it was given.

    Args:
        channels: of the images; given by the data.
        size: height and width of the images in pixels; given by the data.
        outputs: numbers that come out; given by the data.
        depth: layers with weights, shortcuts not counted.
        width: maps of the first stage; "auto" is the published 64 for depths 18, 34 and 50, else 16.
        stem: what comes before the blocks: "small" is a 3x3 convolution, "large" a 7x7 convolution with stride 2 and a
            max-pool with stride 2, "auto" is "small" for images whose shorter side is at most 64 pixels.
        dropout: share of the features silenced before the outputs in training.

    Source: He et al. 2016, "Deep residual learning for image recognition" (section 4.2 for three stages); Goyal et al.
    2017, "Accurate, large minibatch SGD", section 5.1 for the gain of 0.
    """

    def __init__(
        self,
        *,
        channels: Size,
        size: tuple[Size, Size],
        outputs: Size,
        depth: Depth = 18,
        width: Literal["auto"] | Size = "auto",
        stem: Literal["auto", "small", "large"] = "auto",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.shape = (channels, *size)
        plan = _PLANS.get(depth) or _Plan((depth // 6,) * 3, 16)
        maps = plan.width if width == "auto" else width
        large = stem == "large" or (stem == "auto" and min(size) > _SMALL)
        self.stem = _stem(channels, maps, large)
        self.blocks = nn.Sequential()
        before = maps
        for stage, count in enumerate(plan.blocks):
            inner = maps * 2**stage
            for i in range(count):
                stride = 2 if stage and not i else 1
                block = _Bottleneck(before, inner, stride) if depth == 50 else _Basic(before, inner, stride)
                self.blocks.append(block)
                before = block.outputs
        self.dropout = nn.Dropout(dropout)
        self.head = dense(before, outputs, None)
        # maps with their channels side by side: 1.4 to 2 times as fast on a CPU, and what tensor cores want
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outputs)."""
        if x.shape[1:] != self.shape:
            what = f"is built for images {self.shape}, but was given {tuple(x.shape[1:])}"
            raise UserError("model", what, "the axes are channels, height, width")
        x = x.contiguous(memory_format=torch.channels_last)
        features = self.blocks(self.stem(x)).mean((2, 3))  # (N, F)
        return self.head(self.dropout(features))  # type: ignore[no-any-return]


@final
class _Basic(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inputs: int, maps: int, stride: int) -> None:
        super().__init__()
        self.outputs = maps
        self.conv1, self.norm1 = _conv(inputs, maps, 3, stride), MapNorm(maps)
        self.conv2, self.norm2 = _conv(maps, maps, 3), _silent(maps)
        self.shortcut = _shortcut(inputs, maps, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, maps, ⌈H/stride⌉, ⌈W/stride⌉)."""
        y = relu(self.norm1(self.conv1(x)))
        return relu(self.norm2(self.conv2(y)) + self.shortcut(x))


@final
class _Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, with few maps inside, around a shortcut."""

    def __init__(self, inputs: int, maps: int, stride: int) -> None:
        super().__init__()
        self.outputs = maps * _EXPANSION
        self.conv1, self.norm1 = _conv(inputs, maps, 1), MapNorm(maps)
        self.conv2, self.norm2 = _conv(maps, maps, 3, stride), MapNorm(maps)
        self.conv3, self.norm3 = _conv(maps, self.outputs, 1), _silent(self.outputs)
        self.shortcut = _shortcut(inputs, self.outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4 · maps, ⌈H/stride⌉, ⌈W/stride⌉)."""
        y = relu(self.norm1(self.conv1(x)))
        y = relu(self.norm2(self.conv2(y)))
        return relu(self.norm3(self.conv3(y)) + self.shortcut(x))


def _stem(channels: int, maps: int, large: bool) -> nn.Sequential:
    if not large:
        return nn.Sequential(_conv(channels, maps, 3), MapNorm(maps), nn.ReLU())
    return nn.Sequential(_conv(channels, maps, 7, 2), MapNorm(maps), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """What is added: the input, projected where its shape differs (option B)."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(_conv(inputs, outputs, 1, stride), MapNorm(outputs))


def _silent(maps: int) -> MapNorm:
    norm = MapNorm(maps)
    nn.init.zeros_(norm.weight)
    return norm


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Padded by half the kernel; without a bias, as a norm follows. Kaiming's normal over the outputs, as published."""
    kind = strided.Conv2d if kernel == 1 and stride > 1 and inputs < strided.LEAST else nn.Conv2d
    layer = kind(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
