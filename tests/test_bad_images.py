"""Pictures that are damaged, huge or of a rare kind: read as they should look, or told by their file."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trainwright as tw
from tests.mistakes import refused, written
from trainwright.data.images import Form, pixels

NOISE = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def png() -> bytes:
    return saved(Image.fromarray(NOISE))


def bomb(side: int) -> bytes:
    """A small PNG that says it has side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def flipped() -> bytes:
    """A PNG with damaged pixels, which its checksums tell."""
    data = bytearray(png())
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "cut in the middle": ("x.png", lambda: png()[: len(png()) // 2]),
    "a JPEG cut in the middle": ("x.jpg", lambda: saved(Image.fromarray(NOISE), "JPEG")[:400]),
    "cut in its header": ("x.png", lambda: png()[:20]),
    "without a byte": ("x.png", lambda: b""),
    "text by the name of a picture": ("x.png", lambda: b"a,b\n1,2\n"),
    "random bytes": ("x.jpg", lambda: np.random.default_rng(1).bytes(500)),
    "a bomb of 400 million pixels": ("x.png", lambda: bomb(20_000)),
    "a flipped bit": ("x.png", flipped),
    "floating-point numbers": ("x.tif", lambda: saved(Image.new("F", (9, 9), 0.5), "TIFF")),
    "a web page instead of the picture": ("x.jpg", lambda: b"<html><body>404 Not Found</body></html>"),
}


def folder(root: Path, name: str = "", content: bytes = b"") -> Path:
    """Two classes of twelve pictures, and one more."""
    for i in range(24):
        path = root / "photos" / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(path)
    if name:
        (root / "photos" / "cat" / name).write_bytes(content)
    return root / "photos"


def recipe(path: Path, **more: Any) -> dict[str, Any]:
    small = {"model": {"name": "mlp", "width": 4}, "budget": "1 steps"}
    return {"task": "image_classification", "data": {"source": "folder", "path": str(path)}, **small, **more}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_named_by_its_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, content = BAD[name]
    monkeypatch.chdir(tmp_path)
    path = folder(tmp_path, file, content())
    refused(["train", written(tmp_path, recipe(path))], f"photos/cat/{file}", capsys, tmp_path)


def test_all_bad_pictures_are_skipped_and_counted(tmp_path: Path) -> None:
    path = folder(tmp_path)
    for i, (file, content) in enumerate(BAD.values()):
        (path / "dog" / f"bad{i}-{file}").write_bytes(content())
    wrong = recipe(path, on_bad_sample="skip", bad_samples=len(BAD))
    run = tw.train(wrong, out=tmp_path / "run", quiet=True)
    told = run.manifest["data"]["bad_samples"]
    assert len(told["records"]) == len(BAD)
    assert sum(run.manifest["data"]["samples"].values()) == 24
    assert (run.path / "bad_samples.csv").read_text().count("photos/dog/bad") == len(BAD)


def sixteen() -> Image.Image:
    return Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 257)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(NOISE).crop((0, 0, 24, 12)), "JPEG", exif=exif, quality=95, subsampling=0)


RARE: dict[str, Callable[[], bytes]] = {
    "CMYK": lambda: saved(Image.fromarray(NOISE).convert("CMYK"), "JPEG"),
    "16 bits": lambda: saved(sixteen()),
    "a palette": lambda: saved(Image.fromarray(NOISE).convert("P")),
    "one bit": lambda: saved(Image.fromarray(NOISE).convert("1")),
    "transparent": lambda: saved(Image.fromarray(NOISE).convert("RGBA")),
    "animated": lambda: saved(
        Image.fromarray(NOISE), "GIF", save_all=True, append_images=[Image.fromarray(255 - NOISE)]
    ),
    "held sideways": turned,
    "progressive": lambda: saved(Image.fromarray(NOISE), "JPEG", progressive=True),
    "a TIFF of several pages": lambda: saved(
        Image.fromarray(NOISE), "TIFF", save_all=True, append_images=[Image.fromarray(NOISE)]
    ),
    "WebP": lambda: saved(Image.fromarray(NOISE), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", RARE)
def test_a_picture_of_a_rare_kind_is_read_and_is_not_blank(name: str) -> None:
    array = pixels(RARE[name](), Form(3, 24, 24))
    assert array.shape == (3, 24, 24)
    assert array.std() > 20


def test_of_an_animation_the_first_picture_counts() -> None:
    first = pixels(RARE["animated"](), Form(3, 24, 24)).astype(int)
    assert abs(first - NOISE.transpose(2, 0, 1)).mean() < 30  # a palette of 256 colours lies between


def test_a_picture_held_sideways_stands_upright() -> None:
    array = pixels(turned(), Form(3, 24, 12)).astype(int)
    upright = np.rot90(NOISE[:12], -1).transpose(2, 0, 1)
    assert abs(array - upright).mean() < 20


ARCHIVES: dict[str, tuple[dict[str, bytes], str]] = {
    "a path that leads out": ({"../../evil.png": png(), "cat/1.png": png()}, "leads out of the archive"),
    "an absolute path": ({"/etc/evil.png": png(), "cat/1.png": png()}, "leads out of the archive"),
    "no picture": ({"cat/readme.txt": b"x"}, "photos.zip holds no images"),
    "one class": ({"cat/1.png": png(), "cat/2.png": png()}, "photos.zip has one class only"),
    "nothing": ({}, "photos.zip holds no images"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_is_wrong_is_told_and_nothing_is_unpacked(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    members, told = ARCHIVES[name]
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    wrong = recipe(tmp_path / "photos.zip")
    refused(["train", written(tmp_path, wrong)], told, capsys, tmp_path)
    assert not any(Path(place).exists() for place in ("/etc/evil.png", tmp_path / "../../evil.png"))


def test_a_picture_to_predict_that_is_wrong_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tw.train(recipe(folder(tmp_path)), out=tmp_path / "run", quiet=True)
    for file, content in (BAD["cut in the middle"], BAD["a bomb of 400 million pixels"]):
        (tmp_path / file).write_bytes(content())
        refused(["predict", str(run.path), str(tmp_path / file)], "image", capsys, tmp_path)
