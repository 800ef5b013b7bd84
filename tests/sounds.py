"""Tiny recordings for tests: spoken-like tones, as arrays and as files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Wave = NDArray[np.float32]
RATE = 8000
FORMANTS = {"a": (400, 1100), "b": (700, 2300), "c": (1500, 1900), "d": (1000, 3200)}  # Hz of each letter's two tones


def spoken(text: str, seed: int = 0, rate: int = RATE, letter: float = 0.08) -> Wave:
    """Each letter is two tones that swell and fade, of a random length and pitch; words are apart by silence."""
    rng = np.random.default_rng(seed)
    parts: list[Any] = [np.zeros(int(rate * rng.uniform(0.02, 0.06)))]
    for c in text:
        count = int(rate * letter * rng.uniform(0.8, 1.3))
        at = np.arange(count) / rate
        if c != " ":
            pitch, swell = rng.uniform(0.95, 1.05), np.hanning(count)
            parts.append(
                swell * sum(0.25 * np.sin(2 * np.pi * f * pitch * at + rng.uniform(0, 6)) for f in FORMANTS[c])
            )
        parts.append(np.zeros(int(rate * rng.uniform(0.05, 0.07)) + (count if c == " " else 0)))
    wave = np.concatenate(parts)
    return (wave + 0.003 * rng.normal(size=len(wave))).astype(np.float32)


def sentences(count: int, seed: int = 0) -> list[str]:
    """One to three words of one to three letters."""
    rng = np.random.default_rng(seed)
    return [
        " ".join("".join(rng.choice(list("abcd"), rng.integers(1, 4))) for _ in range(rng.integers(1, 4)))
        for _ in range(count)
    ]


def utterances(count: int = 40, seed: int = 0) -> list[dict[str, Any]]:
    texts = sentences(count, seed)
    return [{"audio": (spoken(t, seed + i), RATE), "text": t} for i, t in enumerate(texts)]


def calls(count: int = 40, seed: int = 0) -> list[dict[str, Any]]:
    """Two classes, of different lengths."""
    words = ["ab", "cd"]
    made = [(spoken(words[i % 2] * (1 + i % 3), seed + i), words[i % 2]) for i in range(count)]
    return [{"audio": (wave, RATE), "label": label} for wave, label in made]


def file(wave: Wave, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """The bytes of a file."""
    soundfile = pytest.importorskip("soundfile")
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def write(path: Path, wave: Wave, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file(wave, rate, {"wav": "WAV", "flac": "FLAC", "ogg": "OGG"}[path.suffix[1:]]))
    return path


def folders(root: Path, count: int, kinds: Sequence[str] = ("wav",)) -> Path:
    """``count`` recordings of each of two classes, one folder per class."""
    for i, record in enumerate(calls(2 * count)):
        write(root / record["label"] / f"{i}.{kinds[i % len(kinds)]}", record["audio"][0])
    return root
