"""Augmentations that change the values of images: brightness, contrast, saturation, hue; parts erased, noise.

Letters in shapes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.core.kinds import Change, augmentations

Share = Annotated[float, Field(ge=0, lt=1)]
_LUMA = (0.299, 0.587, 0.114)  # what red, green and blue give to the brightness: ITU-R BT.601


@augmentations.add("brightness", stage="colour")
def brightness(*, share: Share = 0.2) -> Change:
    """Makes lighter or darker.

    Args:
        share: every value is multiplied by one factor between 1 - share and 1 + share.
    """
    return partial(_brighter, share)


@augmentations.add("contrast", stage="colour")
def contrast(*, share: Share = 0.2) -> Change:
    """Stretches or squeezes the values about the image's mean.

    Args:
        share: the factor lies between 1 - share and 1 + share.
    """
    return partial(_contrasted, share)


@augmentations.add("saturation", stage="colour", channels=3)
def saturation(*, share: Share = 0.2) -> Change:
    """Makes colours stronger or paler: stretches every pixel's colours about its grey.

    Args:
        share: the factor lies between 1 - share and 1 + share.
    """
    return partial(_saturated, share)


@augmentations.add("hue", stage="colour", channels=3)
def hue(*, share: Annotated[float, Field(ge=0, le=0.5)] = 0.05) -> Change:
    """Turns the colour circle; what is grey stays so.

    Args:
        share: of the whole circle, at most, to either side.

    Source: Smith 1978, "Color gamut transform pairs", for hue, saturation and value.
    """
    return partial(_turned, share)


@augmentations.add("erase", stage="damage")
def erase(
    *,
    chance: Annotated[float, Field(ge=0, le=1)] = 0.5,
    area: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.02, 0.25),
    stretch: Annotated[float, Field(ge=1)] = 3.3,
) -> Change:
    """Covers a rectangle with the image's mean colour: random erasing, cutout.

    Args:
        chance: of each image.
        area: share of the image that is covered, from and to.
        stretch: by how much the rectangle may be wider, or higher, than the image's own shape.

    Source: Zhong et al. 2017, "Random erasing data augmentation"; DeVries & Taylor 2017, "Improved regularization of
    convolutional neural networks with cutout".
    """
    return partial(_erased, chance, area, stretch)


@augmentations.add("noise", stage="damage")
def noise(*, deviation: Annotated[float, Field(ge=0, le=1)] = 0.02) -> Change:
    """Adds a number from a normal distribution to every value.

    Args:
        deviation: its standard deviation, as a share of the range from black to white.
    """
    return partial(_noisy, deviation)


def _brighter(share: float, x: Tensor, draw: Draw) -> Tensor:
    return x * _factor(draw, "brightness", share)


def _contrasted(share: float, x: Tensor, draw: Draw) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * _factor(draw, "contrast", share)


def _saturated(share: float, x: Tensor, draw: Draw) -> Tensor:
    red, green, blue = x.unbind(1)
    grey = (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]
    return grey + (x - grey) * _factor(draw, "saturation", share)


def _turned(share: float, x: Tensor, draw: Draw) -> Tensor:
    value, chroma = x.amax(1), x.amax(1) - x.amin(1)
    red, green, blue = x.unbind(1)
    whole = chroma.clamp_min(1e-9)
    sector = torch.where(  # of the colour circle, in sixths: red 0, green 2, blue 4
        value == red,
        (green - blue) / whole,
        torch.where(value == green, (blue - red) / whole + 2, (red - green) / whole + 4),
    )
    sector = sector + 6 * share * (2 * draw.uniform("hue")[:, :, None] - 1)
    places = [(sector + k).remainder(6) for k in (5, 3, 1)]  # how far red, green and blue are from being weakest
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in places], 1)


def _erased(chance: float, area: tuple[float, float], stretch: float, x: Tensor, draw: Draw) -> Tensor:
    dice = draw.uniform("erase", 5)
    root = torch.exp(math.log(stretch) * (2 * dice[:, 1] - 1)).sqrt()
    side = (min(area) + (max(area) - min(area)) * dice[:, 0]).sqrt()
    rows = _span(x.shape[2], side / root, dice[:, 2])
    columns = _span(x.shape[3], side * root, dice[:, 3])
    covered = rows[:, None, :, None] & columns[:, None, None, :] & (dice[:, 4] < chance)[:, None, None, None]
    return torch.where(covered, x.mean((2, 3), keepdim=True), x)


def _span(size: int, share: Tensor, place: Tensor) -> Tensor:
    """(N, size) true on a stretch of that share (N,), at least one pixel, that lies inside wherever it is placed."""
    length = (share * size).round().clamp(1, size)
    start = (place * (size - length + 1)).floor()
    pixels = torch.arange(size, device=share.device)
    return (pixels >= start[:, None]) & (pixels < (start + length)[:, None])


def _noisy(deviation: float, x: Tensor, draw: Draw) -> Tensor:
    return x + 255 * deviation * draw.normal("noise", x[0].numel()).view(x.shape)


def _factor(draw: Draw, name: str, reach: float) -> Tensor:
    """(N, 1, 1, 1) between 1 - reach and 1 + reach."""
    return (1 + reach * (2 * draw.uniform(name) - 1))[:, :, None, None]
