"""Pictures of every kind become bytes of one shape."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.tasks.cases import png
from trainwright.core.errors import DataError
from trainwright.data.images import Form, Look, common_size, file_of, look, pixels

RAMP = np.tile(np.linspace(0, 255, 24).astype(np.uint8), (16, 1))  # dark left, bright right
COLOUR = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 100)], 2)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def test_arrays_and_lossless_files_keep_every_pixel() -> None:
    for value in (COLOUR, png(COLOUR), Image.fromarray(COLOUR)):
        assert np.array_equal(pixels(value, Form(3, 16, 24)), COLOUR.transpose(2, 0, 1))
    for value in (RAMP, RAMP[:, :, None], png(RAMP)):
        assert np.array_equal(pixels(value, Form(1, 16, 24)), RAMP[None])
    assert np.array_equal(pixels(RAMP > 127, Form(1, 16, 24))[0], (RAMP > 127) * 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_cameras_held_in_any_way_give_upright_pictures(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that undo each
    image = Image.fromarray(COLOUR)
    if orientation != 1:
        image = image.transpose(Image.Transpose(back[orientation]))
    data = saved(image, "PNG", exif=exif)
    upright = pixels(data, Form(3, 16, 24))
    assert np.array_equal(upright, COLOUR.transpose(2, 0, 1))
    assert look(data) == Look(16, 24, False)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_becomes_grey_or_colour(mode: str) -> None:
    image = Image.fromarray(COLOUR).convert("RGB" if mode == "LAB" else mode)
    for channels in (1, 3):
        found = pixels(image, Form(channels, 16, 24))
        assert found.shape == (channels, 16, 24)
        assert found.dtype == np.uint8
        if mode not in ("1", "P"):
            reference = np.asarray(Image.fromarray(COLOUR).convert("L" if channels == 1 else "RGB"), dtype=float)
            if mode in ("L", "LA") and channels == 3:
                reference = np.asarray(Image.fromarray(COLOUR).convert("L").convert("RGB"), dtype=float)
            assert np.abs(found.astype(float) - reference.reshape(16, 24, channels).transpose(2, 0, 1)).max() <= 8


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    red = Image.new("RGB", (32, 32), (220, 30, 30))
    found = pixels(saved(red.convert("CMYK"), "JPEG", quality=95), Form(3, 32, 32)).mean((1, 2))
    assert found == pytest.approx([220, 30, 30], abs=12)


def test_sixteen_bits_keep_their_range() -> None:
    deep = (RAMP.astype(np.uint16)) * 257
    assert np.array_equal(pixels(deep, Form(1, 16, 24))[0], RAMP)
    for kind in ("PNG", "TIFF"):
        data = saved(Image.fromarray(deep), kind)
        assert look(data).grey
        assert np.array_equal(pixels(data, Form(1, 16, 24))[0], RAMP)


def test_what_is_transparent_becomes_white() -> None:
    half = np.dstack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8)])
    half[:, 2:, 3] = 0
    for value in (png(half), half, saved(Image.fromarray(half).quantize(), "PNG")):
        found = pixels(value, Form(3, 4, 4))
        assert found[:, :, :2].max() == 0
        assert found[:, :, 2:].min() == 255


@given(st.integers(5, 40), st.integers(5, 40), st.integers(5, 30), st.integers(5, 30))
@settings(max_examples=30, deadline=None)
def test_the_aspect_is_kept_by_cropping_or_padding(height: int, width: int, to_height: int, to_width: int) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    crop = pixels(image, Form(3, to_height, to_width, "crop"))
    pad = pixels(image, Form(3, to_height, to_width, "pad"))
    assert crop.shape == pad.shape == (3, to_height, to_width)
    assert crop.min() == 200  # nothing added
    shown = [int((pad[0] == 200).any(axis).sum()) for axis in (1, 0)]
    scale = min(to_height / height, to_width / width)
    assert shown == [pytest.approx(height * scale, abs=1), pytest.approx(width * scale, abs=1)]


def test_the_thinnest_picture_can_still_be_shown() -> None:
    for fit in ("crop", "pad"):
        for shape in ((1000, 1), (1, 1000)):
            assert pixels(np.full(shape, 9, np.uint8), Form(1, 8, 8, fit)).max() == 9  # type: ignore[arg-type]


def test_the_centre_is_kept() -> None:
    image = np.zeros((10, 30), np.uint8)
    image[:, 10:20] = 255
    assert pixels(image, Form(1, 10, 10, "crop")).mean() > 250
    padded = pixels(image, Form(1, 30, 30, "pad"))[0]
    assert padded[:9].max() == padded[21:].max() == 0


@pytest.mark.parametrize(
    ("looks", "size"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(8, 8)], (8, 8)),
        ([(480, 640)] * 4, (168, 224)),
        ([(20, 20), (30, 40), (40, 40)], (64, 64)),
        ([(100, 150), (120, 130), (110, 170)], (110, 150)),
        ([(400, 533), (500, 300), (600, 400)], (224, 224)),
    ],
)
def test_the_size_is_the_common_one_or_the_median_within_bounds(
    looks: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    assert common_size(Look(h, w, True) for h, w in looks) == size


def broken() -> list[tuple[str, Any, str]]:
    jpeg = png(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8), "JPEG")
    whole = png(COLOUR)
    return [
        ("half a jpeg", jpeg[: len(jpeg) // 2], "damaged"),
        ("half a png", whole[: len(whole) // 2], "damaged"),
        ("no image", b"hello, this is text", "no image that can be read"),
        ("nothing", b"", "no image that can be read"),
        ("a path", "photo.jpg", "str is no picture"),
        ("none", None, "NoneType is no picture"),
        ("floats", np.zeros((4, 4), np.float32), "the pixels are float32"),
        ("channels first", np.zeros((3, 32, 32), np.uint8), r"shape \(3, 32, 32\) is no picture"),
        ("a vector", np.zeros(16, np.uint8), "is no picture"),
        ("no pixels", np.zeros((0, 4), np.uint8), "is no picture"),
        ("floats in a file", saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "floating-point numbers"),
    ]


@pytest.mark.parametrize(("value", "said"), [b[1:] for b in broken()], ids=[b[0] for b in broken()])
def test_what_is_no_picture_is_told(value: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        pixels(value, Form(1, 8, 8))


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_file_with_flipped_bits_is_read_or_told_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(png(COLOUR, "PNG" if seed % 2 else "GIF" if seed % 3 else "BMP"))
    for _ in range(4):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    with suppress(DataError):
        assert pixels(bytes(data), Form(3, 8, 8)).shape == (3, 8, 8)


def test_a_picture_that_is_no_file_becomes_a_lossless_one() -> None:
    data = png(COLOUR, "JPEG")
    assert file_of(data) is data
    assert np.array_equal(pixels(file_of(COLOUR), Form(3, 16, 24)), COLOUR.transpose(2, 0, 1))
