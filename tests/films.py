"""Tiny films for tests, written by PyAV itself."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (T, H, W, 3)


def moving(right: bool, frames: int = 16, size: int = 32, seed: int = 0) -> Frames:
    """A bright square that goes round, to the right or to the left, from anywhere: no one frame tells which way."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, 40, (frames, size, size, 3), dtype=np.uint8)
    begin, top, side = int(rng.integers(size)), int(rng.integers(size - size // 4)), size // 4
    for t in range(frames):
        columns = (begin + (2 * t if right else -2 * t) + np.arange(side)) % size
        out[t, top : top + side, columns] = 230
    return out


def fading(frames: int, size: tuple[int, int] = (32, 48)) -> Frames:
    """Every frame in a grey of its own: frame t is 8 t."""
    return np.stack([np.full((*size, 3), 8 * t, np.uint8) for t in range(frames)])


def write(
    path: Path,
    frames: Sequence[NDArray[np.uint8]] | Frames,
    *,
    codec: str = "mpeg4",
    rate: int = 10,
    aspect: int | None = None,
    **options: str,
) -> Path:
    """A video file; the suffix says which kind."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def sound(path: Path, seconds: float = 0.5) -> Path:
    """A file that holds sound alone."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        wave = np.zeros((1, int(8000 * seconds)), np.int16)
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned(path: Path) -> Path:
    """The same mp4 with the display matrix of a camera held upright: to be shown a quarter turn clockwise.

    Source: ISO/IEC 14496-12, the track header box: 40 bytes behind its name stand nine 32-bit numbers.
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one, minus = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True)
    nought = bytes(4)
    data[at : at + 36] = (
        nought + one + nought + minus + nought + nought + nought + nought + (1 << 30).to_bytes(4, "big")
    )
    other = path.with_name(f"turned-{path.name}")
    other.write_bytes(data)
    return other


def folders(root: Path, count: int, frames: int = 16, seed: int = 0) -> Path:
    """``count`` films of each class, left and right, in one folder per class."""
    for i in range(count):
        for right in (False, True):
            film = moving(right, frames, seed=seed + 2 * i + right)
            write(root / ("right" if right else "left") / f"{i}.mp4", film)
    return root
