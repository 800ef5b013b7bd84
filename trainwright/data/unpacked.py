"""Packed data, unpacked as far as it can be meant: a small file that unfolds without end is refused in time."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from trainwright.core.errors import DataError

ALWAYS = 32 << 20  # bytes that may be unpacked whatever they were packed into
RATIO = 500  # beyond that: bytes unpacked of one packed. Tables of text reach 5 to 50; zeros, by deflate, 1,030
_PIECE = 1 << 20
OPENED: Mapping[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def plausible(unpacked: int, packed: int, place: str) -> None:
    """`DataError` where so few bytes would unfold into so many."""
    if unpacked > ALWAYS and unpacked > RATIO * packed:
        what = f"{packed:,} bytes unfold into {unpacked:,} or more"
        raise DataError(place, what, "unpack it by hand if this is meant")


def contents(path: Path) -> bytes:
    """The bytes of a file, unpacked where its name ends in .gz, .bz2 or .xz; errors of the format are its reader's."""
    reader = OPENED.get(path.suffix.lower())
    if reader is None:
        return path.read_bytes()
    data = bytearray()
    with path.open("rb") as packed, reader(packed) as file:
        while piece := file.read(_PIECE):
            data += piece
            plausible(len(data), packed.tell(), path.name)  # of what was read so far
    return bytes(data)
