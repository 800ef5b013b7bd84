"""An anchor-free one-stage detector: a residual network, a pyramid of its maps, and two small heads on each.

Letters in shapes: N samples, C channels, H height, W width, F features of the pyramid, K classes.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import Pyramid
from trainwright.models.resnet import ResNet

Size = Annotated[int, Field(ge=1)]
_PRIOR = 0.01  # the chance that a cell of a fresh model sees an object; Lin et al. 2017, section 4.1
_WIDE = math.log(4.0)  # a fresh model's boxes are four cells wide: those of its map are up to eight


@models.add("fcos", default_for="object_detection", speaks=Pyramid)
@final
class FCOS(nn.Module):
    """Each cell of three maps, at strides 8, 16 and 32, says which class an object there has, and where its box is.

    The maps are the last three stages of a residual network, each with what coarser ones know added. Two heads, the
    same for all maps, tell the classes and the boxes. No weights are loaded: it learns from scratch.

    Args:
        channels: of the images; given by the data.
        size: height and width of the images in pixels; given by the data.
        outputs: classes; given by the data.
        depth: layers with weights of the residual network.
        width: maps of its first stage; 64 as published, fewer for few pictures.
        features: of each cell of the pyramid; a multiple of 8.
        towers: convolutions of each head.

    Source: Tian et al. 2019, "FCOS: fully convolutional one-stage object detection"; Lin et al. 2017, "Feature pyramid
    networks for object detection"; Li et al. 2020, "Generalized focal loss", for one score instead of two.
    """

    strides = (8, 16, 32)

    def __init__(
        self,
        *,
        channels: Size,
        size: tuple[Size, Size],
        outputs: Size,
        depth: Literal[18, 34, 50] = 18,
        width: Annotated[int, Field(ge=4)] = 32,
        features: Annotated[int, Field(ge=8, multiple_of=8)] = 64,
        towers: Annotated[int, Field(ge=0, le=8)] = 2,
    ) -> None:
        super().__init__()
        self.shape = (channels, *size)
        whole = ResNet(channels=channels, size=size, outputs=1, depth=depth, width=width, stem="large")
        self.stem, self.stages = whole.stem, _stages(whole.blocks)
        maps = [stage[-1].outputs for stage in self.stages[1:]]  # type: ignore[index]
        self.lateral = nn.ModuleList(nn.Conv2d(m, features, 1) for m in maps)
        self.smooth = nn.ModuleList(nn.Conv2d(features, features, 3, padding=1) for _ in maps)
        self.to_classes, self.to_boxes = _head(features, towers, outputs), _head(features, towers, 4)
        self.scales = nn.Parameter(torch.ones(len(maps)))  # of the boxes of each map
        nn.init.constant_(self.to_classes[-1].bias, -math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[arg-type]
        with torch.no_grad():
            self.to_boxes[-1].bias[2:] = _WIDE  # type: ignore[operator]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) -> for each stride (N, 4 + K, ⌈H/stride⌉, ⌈W/stride⌉).

        The first four numbers are the middle of the box, from that of the cell, and the logarithms of its width and
        height, in cells; the others are logits.
        """
        if x.shape[1:] != self.shape:
            what = f"is built for images {self.shape}, but was given {tuple(x.shape[1:])}"
            raise UserError("model", what, "the axes are channels, height, width")
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        found: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        maps = self._pyramid(found[1:])
        return tuple(torch.cat([self.to_boxes(m) * self.scales[i], self.to_classes(m)], 1) for i, m in enumerate(maps))

    def _pyramid(self, found: list[Tensor]) -> list[Tensor]:
        """(N, F, H, W) of each stride, finest first."""
        maps = [layer(x) for layer, x in zip(self.lateral, found, strict=True)]
        for i in range(len(maps) - 2, -1, -1):
            maps[i] = maps[i] + interpolate(maps[i + 1], size=maps[i].shape[2:], mode="nearest")
        return [relu(layer(m)) for layer, m in zip(self.smooth, maps, strict=True)]


def _stages(blocks: nn.Sequential) -> nn.ModuleList:
    """The four stages of a residual network: a new one begins where the size is halved."""
    stages: list[list[nn.Module]] = [[]]
    for block in blocks:
        halves = any(isinstance(m, nn.Conv2d) and m.stride[0] > 1 for m in block.modules())
        if halves and stages[-1]:
            stages.append([])
        stages[-1].append(block)
    return nn.ModuleList(nn.Sequential(*stage) for stage in stages)


def _head(features: int, towers: int, outputs: int) -> nn.Sequential:
    """3x3 convolutions with group norm, which the maps of all strides share, and a last one without."""
    layers: list[nn.Module] = []
    for _ in range(towers):
        convolution = nn.Conv2d(features, features, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.GroupNorm(8, features), nn.ReLU()]
    last = nn.Conv2d(features, outputs, 3, padding=1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return nn.Sequential(*layers, last)
