"""Pictures of every kind become bytes of one shape."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import trainwright as tw
from tests.tasks.cases import png
from trainwright.core.errors import DataError
from trainwright.data.images import Form, Look, common_size, file_of, look, pixels

RAMP = np.tile(np.linspace(0, 255, 24).astype(np.uint8), (16, 1))  # dark left, bright right
COLOUR = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 100)], 2)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def raw_png(width: int, height: int, depth: int, colour: int, pixels: bytes) -> bytes:
    """A PNG written by hand: what Pillow itself never writes. ``colour`` is 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


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


def test_a_photo_taken_upright_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned to the right, as telephones are
    lying = Image.fromarray(COLOUR).transpose(Image.Transpose.ROTATE_90)
    photo = saved(lying, "JPEG", exif=exif, quality=100, subsampling=0)
    assert look(photo) == Look(16, 24, False)
    assert np.abs(pixels(photo, Form(3, 16, 24)).astype(float) - COLOUR.transpose(2, 0, 1)).max() < 12


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_a_moving_picture_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (24, 16), colour) for colour in ((200, 40, 40), (40, 200, 40), (40, 40, 200))]
    moving = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    with Image.open(io.BytesIO(moving)) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert look(moving) == Look(16, 24, False)
    assert pixels(moving, Form(3, 16, 24)).mean((1, 2)) == pytest.approx([200, 40, 40], abs=3)


def test_a_palette_keeps_its_colours() -> None:
    few = (COLOUR // 86 * 86).astype(np.uint8)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        palette = Image.fromarray(few).quantize(256, dither=Image.Dither.NONE)
        data = saved(palette, kind)
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == "P"
        assert np.array_equal(pixels(data, Form(3, 16, 24)), few.transpose(2, 0, 1))


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


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 1), (6, 3)])
def test_sixteen_bits_of_every_kind_are_read(colour: int, channels: int) -> None:
    deep = (COLOUR if channels == 3 else RAMP[:, :, None]).astype(">u2") * 257
    if colour >= 4:
        deep = np.concatenate([deep, np.full((16, 24, 1), 65535, ">u2")], 2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    data = raw_png(24, 16, 16, colour, rows)
    expected = COLOUR.transpose(2, 0, 1) if channels == 3 else RAMP[None]
    assert np.abs(pixels(data, Form(channels, 16, 24)).astype(int) - expected).max() <= 1


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
        ([(70, 90), (80, 80), (75, 95)], (75, 90)),
        ([(100, 150), (120, 130), (110, 170)], (96, 96)),
        ([(400, 533), (500, 300), (600, 400)] * 1000, (128, 128)),
        ([(400, 533), (500, 300), (600, 400)] * 7000, (224, 224)),
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
        ("all but the last bytes of a jpeg", jpeg[:-100], "damaged"),
        ("a bomb", raw_png(30_000, 30_000, 8, 2, bytes(1000)), "the image is too large"),
        ("a picture without pixels", raw_png(0, 0, 8, 2, b""), "damaged|no image"),
        ("the head of a gif", saved(Image.fromarray(RAMP), "GIF")[:12], "damaged|no image"),
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


def test_a_bomb_is_told_before_it_is_decoded() -> None:
    bomb = raw_png(60_000, 60_000, 8, 0, bytes(1000))
    said = r"the image is too large: Image size \(3600000000 pixels\) exceeds limit of \d+ pixels; make it smaller"
    with pytest.raises(DataError, match=said):
        look(bomb)
    with pytest.raises(DataError, match=said):
        pixels(bomb, Form(1, 8, 8))


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"GIF89a", b"hello"], ids=["empty", "jpeg", "gif", "text"])
def test_an_empty_file_in_a_folder_is_named(content: bytes, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(6):
            (tmp_path / label / f"{i}.png").write_bytes(png(COLOUR + i))
    (tmp_path / "cat" / "bad.jpg").write_bytes(content)
    recipe = {"task": "image_classification", "data": {"source": "folder", "path": str(tmp_path)}, "model": "cnn"}
    with pytest.raises(DataError, match=r"cat/bad\.jpg"):
        tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


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
