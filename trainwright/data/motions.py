"""Augmentations that move the pixels of images: whole pixels, or a warp that says where each pixel comes from.

Letters in shapes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.core.kinds import Change, Warp, augmentations

Border = Literal["repeat", "mirror", "black"]
Share = Annotated[float, Field(ge=0, lt=1)]


@augmentations.add("flip", stage="pixels")
def flip(*, direction: Literal["horizontal", "vertical", "both"] = "horizontal") -> Change:
    """Mirrors every other image.

    Args:
        direction: "horizontal" swaps left and right, "vertical" top and bottom; "both" does each for every other image.
    """
    return partial(_flipped, direction)


@augmentations.add("shift", stage="pixels")
def shift(*, pixels: Annotated[int, Field(ge=0)] = 4, border: Border = "repeat") -> Change:
    """Moves by whole pixels in both directions: the same as a border added all around and a random crop.

    Args:
        pixels: how far, at most.
        border: what comes in: the border pixels repeated, the image mirrored, or black.

    Source: He et al. 2016, "Deep residual learning for image recognition", section 4.2, with a black border of 4.
    """
    return partial(_shifted, pixels, border)


@augmentations.add("rotate", stage="warp")
def rotate(*, degrees: Annotated[float, Field(ge=0, le=180)] = 15.0) -> Warp:
    """Turns about the middle.

    Args:
        degrees: how far, at most, to either side.
    """
    return partial(_rotation, degrees)


@augmentations.add("scale", stage="warp")
def scale(*, share: Share = 0.2) -> Warp:
    """Makes larger or smaller about the middle.

    Args:
        share: the factor lies between 1 - share and 1 + share.
    """
    return partial(_scaling, share)


@augmentations.add("shear", stage="warp")
def shear(*, degrees: Annotated[float, Field(ge=0, lt=90)] = 10.0) -> Warp:
    """Slants to the side: rows move against each other.

    Args:
        degrees: between the slanted and the upright, at most, to either side.
    """
    return partial(_shearing, degrees)


@augmentations.add("translate", stage="warp")
def translate(*, share: Share = 0.1) -> Warp:
    """Moves in both directions, by fractions of a pixel too.

    Args:
        share: of height and width, how far at most.
    """
    return partial(_translation, share)


@augmentations.add("crop", stage="warp")
def crop(
    *, smallest: Annotated[float, Field(gt=0, le=1)] = 0.35, stretch: Annotated[float, Field(ge=1)] = 4 / 3
) -> Warp:
    """Shows a random part of the image in its full size: the random resized crop.

    Args:
        smallest: share of the area that is shown, at least.
        stretch: by how much the part may be wider, or higher, than the image's own shape.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", section 6, with a smallest share of 0.08.
    """
    return partial(_cropping, smallest, stretch)


def _flipped(direction: str, x: Tensor, draw: Draw) -> Tensor:
    dice = draw.uniform("flip", 2) < 0.5
    if direction != "vertical":
        x = torch.where(dice[:, 0, None, None, None], x.flip(3), x)
    if direction != "horizontal":
        x = torch.where(dice[:, 1, None, None, None], x.flip(2), x)
    return x


def _shifted(pixels: int, border: Border, x: Tensor, draw: Draw) -> Tensor:
    moves = draw.integers("shift", 2 * pixels + 1, 2) - pixels
    for axis in (2, 3):
        size = x.shape[axis]
        places = torch.arange(size, device=x.device) + moves[:, axis - 2, None]  # (N, size), some of them outside
        inside = (places >= 0) & (places < size)
        if border == "mirror":  # with a period of two images, the second one mirrored
            places = places.remainder(2 * size)
            places = torch.where(places < size, places, 2 * size - 1 - places)
        shape = (len(x), 1, size, 1) if axis == 2 else (len(x), 1, 1, size)
        x = x.gather(axis, places.clamp(0, size - 1).view(shape).expand(x.shape))
        if border == "black":
            x = x * inside.view(shape)
    return x


def _rotation(degrees: float, size: tuple[int, int], draw: Draw) -> Tensor:
    angle = _within(draw, "rotate", math.radians(degrees))
    return _matrix(angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def _scaling(share: float, size: tuple[int, int], draw: Draw) -> Tensor:
    inverse = 1 / (1 + _within(draw, "scale", share))
    zero = torch.zeros_like(inverse)
    return _matrix(inverse, zero, zero, inverse)


def _shearing(degrees: float, size: tuple[int, int], draw: Draw) -> Tensor:
    slant = _within(draw, "shear", math.radians(degrees)).tan()
    one = torch.ones_like(slant)
    return _matrix(one, slant, torch.zeros_like(slant), one)


def _translation(share: float, size: tuple[int, int], draw: Draw) -> Tensor:
    moves = share * (2 * draw.uniform("translate", 2) - 1)
    one, zero = torch.ones_like(moves[:, 0]), torch.zeros_like(moves[:, 0])
    return _matrix(one, zero, zero, one, moves[:, 0] * size[1], moves[:, 1] * size[0])


def _cropping(smallest: float, stretch: float, size: tuple[int, int], draw: Draw) -> Tensor:
    dice = draw.uniform("crop", 4)
    area = smallest + (1 - smallest) * dice[:, 0]
    root = torch.exp(math.log(stretch) * (2 * dice[:, 1] - 1)).sqrt()  # of width by height, as shares of the image's
    wide, high = (area.sqrt() * root).clamp_max(1), (area.sqrt() / root).clamp_max(1)
    across, down = (1 - wide) * (dice[:, 2] - 0.5) * size[1], (1 - high) * (dice[:, 3] - 0.5) * size[0]
    zero = torch.zeros_like(wide)
    return _matrix(wide, zero, zero, high, across, down)


def _within(draw: Draw, name: str, reach: float) -> Tensor:
    """(N,) between -reach and reach."""
    return reach * (2 * draw.uniform(name)[:, 0] - 1)


def _matrix(
    a: Tensor, b: Tensor, c: Tensor, d: Tensor, across: Tensor | None = None, down: Tensor | None = None
) -> Tensor:
    """(N, 3, 3) of [[a, b, across], [c, d, down], [0, 0, 1]]."""
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    rows = [a, b, zero if across is None else across, c, d, zero if down is None else down, zero, zero, one]
    return torch.stack(rows, 1).view(-1, 3, 3)
