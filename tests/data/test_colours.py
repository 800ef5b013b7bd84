"""Changes of values: each against a loop over pixels in float64 that reads the same dice."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch

from tests.data.pixels import array, changed, images, rolled
from trainwright.core.batch import Draw


def test_brightness_and_contrast_are_one_factor_per_image() -> None:
    x, draw = images()
    bright, contrast = array(changed(x, draw, brightness=0.3)), array(changed(x, draw, contrast=0.4))
    for n, image in enumerate(array(x)):
        by = 1 + 0.3 * (2 * rolled(draw, "brightness")[n][0] - 1)
        assert bright[n] == pytest.approx((image * by).clip(0, 255), abs=1e-3)
        by = 1 + 0.4 * (2 * rolled(draw, "contrast")[n][0] - 1)
        assert contrast[n] == pytest.approx((image.mean() + by * (image - image.mean())).clip(0, 255), abs=1e-3)


def test_saturation_is_pillows_blend_with_grey() -> None:
    from PIL import Image, ImageEnhance

    x, draw = images()
    out = array(changed(x, draw, saturation=0.6))
    for n, image in enumerate(x):
        by = 1 + 0.6 * (2 * rolled(draw, "saturation")[n][0] - 1)
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        expected = np.asarray(ImageEnhance.Color(picture).enhance(by), dtype=float).transpose(2, 0, 1)
        assert np.abs(out[n] - expected).max() <= 2  # Pillow rounds to whole numbers, twice


def test_hue_turns_the_circle_as_the_standard_library_does() -> None:
    x, draw = images()
    x[:, :, 0] = x[:, :1, 0]  # a grey row
    out = array(changed(x, draw, hue=0.5))
    for n, image in enumerate(array(x)):
        turn = 0.5 * (2 * rolled(draw, "hue")[n][0] - 1)
        for i in range(image.shape[1]):
            for j in range(image.shape[2]):
                h, s, v = colorsys.rgb_to_hsv(*(image[:, i, j] / 255))
                expected = np.array(colorsys.hsv_to_rgb((h + turn) % 1, s, v)) * 255
                assert out[n, :, i, j] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("size", [(9, 8), (20, 31)])
def test_a_rectangle_is_erased_with_the_images_own_mean(size: tuple[int, int]) -> None:
    height, width = size
    x, draw = images(100, height=height, width=width)
    out = array(changed(x, draw, erase={"chance": 0.6, "area": [0.1, 0.3], "stretch": 2.0}))
    dice, erased = rolled(draw, "erase", 5), 0
    for n, image in enumerate(array(x)):
        expected = image.copy()
        if dice[n][4] < 0.6:
            erased += 1
            side, ratio = math.sqrt(0.1 + 0.2 * dice[n][0]), 2.0 ** (2 * dice[n][1] - 1)
            high = min(height, max(1, round(side / math.sqrt(ratio) * height)))
            wide = min(width, max(1, round(side * math.sqrt(ratio) * width)))
            top, left = math.floor(dice[n][2] * (height - high + 1)), math.floor(dice[n][3] * (width - wide + 1))
            expected[:, top : top + high, left : left + wide] = image.mean((1, 2))[:, None, None]
        assert out[n] == pytest.approx(expected, abs=1e-3)
    assert 40 < erased < 80


def test_erased_areas_fill_their_range() -> None:
    x = torch.zeros(2000, 1, 40, 40)
    x[:, :, ::2] = 255
    out = changed(x, Draw(0, 0, torch.arange(2000)), erase={"chance": 1.0, "area": [0.1, 0.4]})
    area = (out != x).float().mean((1, 2, 3))
    assert 0.08 < float(area.min()) < 0.12
    assert 0.36 < float(area.max()) < 0.42
    assert bool((changed(x, Draw(0, 0, torch.arange(2000)), erase=0.0) == x).all())


def test_noise_is_normal_with_the_deviation_asked_for() -> None:
    from scipy.stats import kstest

    x = torch.full((50, 3, 16, 16), 128, dtype=torch.uint8)
    out = changed(x, Draw(0, 0, torch.arange(50)), noise=0.02)
    values = array(out - 128).ravel() / (255 * 0.02)
    assert kstest(values, "norm").pvalue > 1e-3
    images_differ = np.corrcoef(values.reshape(50, -1))[np.triu_indices(50, 1)]
    assert np.abs(images_differ).max() < 0.2
