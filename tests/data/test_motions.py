"""Motions of pixels: each against a loop, or scipy, that reads the same dice."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.pixels import Image, array, changed, images, rolled
from trainwright.core.batch import Draw


def test_a_flip_mirrors_about_half_of_the_images_whole() -> None:
    x, draw = images(200)
    for direction, axis in (("horizontal", 3), ("vertical", 2)):
        out = changed(x, draw, flip=direction)
        same, mirrored = (out == x).flatten(1).all(1), (out == x.flip(axis)).flatten(1).all(1)
        assert bool((same | mirrored).all())
        assert 60 < int(mirrored.sum()) < 140
    both = changed(x, draw, flip="both")
    ways = [(both == way).flatten(1).all(1) for way in (x, x.flip(2), x.flip(3), x.flip(2, 3))]
    assert bool(torch.stack(ways).any(0).all())
    assert min(int(way.sum()) for way in ways) > 25


@pytest.mark.parametrize(("border", "mode"), [("repeat", "edge"), ("mirror", "symmetric"), ("black", "constant")])
def test_a_shift_is_a_border_all_around_and_a_crop(border: str, mode: Any) -> None:
    x, draw = images(100)
    out = array(changed(x, draw, shift={"pixels": 2, "border": border}))
    moves = set()
    for before, after in zip(array(x), out, strict=True):
        padded = np.pad(before, ((0, 0), (2, 2), (2, 2)), mode)
        fitting = [
            (a, b) for a, b in product(range(5), range(5)) if np.array_equal(padded[:, a : a + 9, b : b + 8], after)
        ]
        assert len(fitting) == 1
        moves.add(fitting[0])
    assert len(moves) > 20  # of 25


def test_a_shift_further_than_the_image_still_gives_an_image() -> None:
    x, draw = images()
    for border in ("repeat", "mirror", "black"):
        out = changed(x, draw, shift={"pixels": 50, "border": border})
        known = set(x.unique().tolist()) | {0}
        assert set(out.unique().tolist()) <= known


def moved(image: Image, inverse: Image, across: float = 0.0, down: float = 0.0) -> Image:
    """(C, H, W) sampled by scipy: (x, y) from the middle comes from ``inverse`` @ (x, y) + (across, down)."""
    from scipy.ndimage import affine_transform

    swapped = inverse[::-1, ::-1]
    middle = (np.array(image.shape[1:]) - 1) / 2
    offset = middle + np.array([down, across]) - swapped @ middle
    return np.stack([affine_transform(channel, swapped, offset, order=1, mode="nearest") for channel in image])


@pytest.mark.parametrize("size", [(9, 8), (5, 12)])
def test_warps_are_what_they_say(size: tuple[int, int]) -> None:
    height, width = size
    x, draw = images(30, height=height, width=width)
    out = {
        "rotate": array(changed(x, draw, rotate=40)),
        "scale": array(changed(x, draw, scale=0.3)),
        "shear": array(changed(x, draw, shear=20)),
        "translate": array(changed(x, draw, translate=0.2)),
        "crop": array(changed(x, draw, crop={"smallest": 0.2, "stretch": 2.0})),
    }
    turn, factor, slant, there, dice = (
        rolled(draw, name, k) for name, k in (("rotate", 1), ("scale", 1), ("shear", 1), ("translate", 2), ("crop", 4))
    )
    for n, image in enumerate(array(x)):
        angle = math.radians(40) * (2 * turn[n][0] - 1)
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        expected = {"rotate": moved(image, rotation)}
        expected["scale"] = moved(image, np.eye(2) / (1 + 0.3 * (2 * factor[n][0] - 1)))
        expected["shear"] = moved(image, np.array([[1, math.tan(math.radians(20) * (2 * slant[n][0] - 1))], [0, 1]]))
        across, down = (0.2 * (2 * u - 1) for u in there[n])
        expected["translate"] = moved(image, np.eye(2), across * width, down * height)
        area, ratio = 0.2 + 0.8 * dice[n][0], 2.0 ** (2 * dice[n][1] - 1)
        wide, high = min(1, math.sqrt(area * ratio)), min(1, math.sqrt(area / ratio))
        left, top = (1 - wide) * (dice[n][2] - 0.5) * width, (1 - high) * (dice[n][3] - 0.5) * height
        expected["crop"] = moved(image, np.diag([wide, high]), left, top)
        for name, reference in expected.items():
            assert out[name][n] == pytest.approx(reference, abs=0.02), name


def test_a_crop_never_shows_more_than_there_is() -> None:
    x = torch.zeros(500, 1, 20, 30)
    x[:, :, 1:-1, 1:-1] = 255  # a black frame, which a crop that reached outside would repeat
    out = changed(x, Draw(0, 0, torch.arange(500)), crop=0.5)
    frames = torch.stack([(out[:, 0].amax(axis) < 127).sum(1) for axis in (1, 2)])
    assert int(frames.max()) <= 4
    assert float(out.mean()) > 220


def test_defaults_move_and_zero_does_not() -> None:
    x, draw = images()
    for name in ("rotate", "scale", "shear", "translate"):
        assert torch.allclose(changed(x, draw, **{name: 0.0}), x.float(), atol=1e-3)
        assert not torch.allclose(changed(x, draw, **{name: True}), x.float(), atol=10)
    assert torch.equal(changed(x, draw, shift=0), x.float())
    assert torch.allclose(changed(x, draw, crop={"smallest": 1.0, "stretch": 1.0}), x.float(), atol=1e-3)
