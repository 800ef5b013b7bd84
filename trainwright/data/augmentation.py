"""Augmentation of images: a whole batch at once, on its device, by numbers that depend on the sample alone."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.batch import Draw


def augmented(
    x: Tensor,
    draw: Draw,
    *,
    flip: bool = False,
    shift: Annotated[int, Field(ge=0)] = 0,
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Tensor:
    """Images (N, C, H, W), 0 to 255, changed each in its own way; float32.

    Args:
        flip: mirror every other image, left to right.
        shift: move by up to so many pixels in both directions; border pixels are repeated.
        brightness: multiply by up to 1 ± this.
        contrast: stretch about the image's mean by up to 1 ± this.
    """
    if flip or shift:
        x = _moved(x, draw, flip, shift)
    x = x.float()
    if brightness:
        x = x * _factor(draw, "brightness", brightness)
    if contrast:
        mean = x.mean((1, 2, 3), keepdim=True)
        x = mean + (x - mean) * _factor(draw, "contrast", contrast)
    return x.clamp(0, 255) if brightness or contrast else x


def usual(channels: int, height: int, width: int) -> dict[str, bool | int]:
    """What suits most images of that shape.

    Grey images are shifted only: they are often digits, letters or scans, which their mirror image is not.
    """
    side = min(height, width)
    if channels == 1:
        return {"flip": False, "shift": round(side / 14)}
    return {"flip": True, "shift": round(side / 8)}


def _moved(x: Tensor, draw: Draw, flip: bool, shift: int) -> Tensor:
    """Shifted and mirrored in one gathering."""
    n, _, height, width = x.shape
    rows = torch.arange(height, device=x.device).expand(n, height)
    columns = torch.arange(width, device=x.device).expand(n, width)
    if flip:
        columns = torch.where(draw.uniform("flip") < 0.5, width - 1 - columns, columns)
    if shift:
        moves = draw.integers("shift", 2 * shift + 1, 2) - shift
        rows = (rows + moves[:, :1]).clamp(0, height - 1)
        columns = (columns + moves[:, 1:]).clamp(0, width - 1)
    x = x.gather(2, rows[:, None, :, None].expand(x.shape))
    return x.gather(3, columns[:, None, None, :].expand(x.shape))


def _factor(draw: Draw, name: str, reach: float) -> Tensor:
    """(N, 1, 1, 1) between 1 - reach and 1 + reach."""
    return (1 + reach * (2 * draw.uniform(name) - 1))[:, :, None, None]
