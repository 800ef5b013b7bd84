"""Images and their draws, and random numbers as a reference reads them, for the tests of augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.data.augmentation import Augmenter, asked

Image = NDArray[np.float64]


def images(n: int = 40, *, channels: int = 3, height: int = 9, width: int = 8) -> tuple[Tensor, Draw]:
    """Noise (N, C, H, W) uint8, and their draw."""
    dice = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=dice)
    return x, Draw(3, 1, torch.arange(n) * 7 + 5)


def changed(x: Tensor, draw: Draw, **table: Any) -> Tensor:
    """The images with changes by name, as a recipe writes them."""
    return Augmenter(asked(table))(x, draw)


def rolled(draw: Draw, name: str, k: int = 1) -> list[list[float]]:
    """The uniform numbers of a change, sample by sample, as Python's floats."""
    rows: list[list[float]] = draw.uniform(name, k).double().tolist()
    return rows


def array(x: Tensor) -> Image:
    """In float64."""
    return x.double().numpy()
