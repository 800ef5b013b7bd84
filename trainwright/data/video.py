"""Films of any kind: video files, folders of pictures, bytes, arrays."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from trainwright.core.errors import DataError
from trainwright.data.film import WHERE, Film
from trainwright.data.images import Form, Look, Pixels, look, pixels
from trainwright.data.stream import Stream

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".gif", ".mpg", ".mpeg"),
    *(".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"),
)
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def film(value: Any) -> Film:
    """A film from the path of a file or of a folder of pictures, a file's bytes, or pictures.

    Pictures are an array (T, H, W) or (T, H, W, C), or a list of arrays (H, W) or (H, W, C) or of image files' bytes.
    `DataError` for what is none of these, for a file without a picture, and for one that is damaged or ends too early.
    """
    if isinstance(value, str | os.PathLike):
        path = Path(value).expanduser()
        if path.is_dir():
            return Pictures([file.read_bytes for file in pictures_in(path)])
        if not path.is_file():
            raise DataError(WHERE, f"nothing is at {path}", "give the path of a film or of a folder of pictures")
        return Stream(path)
    if isinstance(value, bytes):
        return Stream(io.BytesIO(value))
    if isinstance(value, np.ndarray) and value.ndim not in (3, 4):
        what = f"an array of shape {value.shape} is no film"
        raise DataError(WHERE, what, "give (frames, height, width) or (frames, height, width, channels)")
    if isinstance(value, np.ndarray | list | tuple):
        return Pictures([lambda picture=picture: picture for picture in value])
    what = f"{type(value).__name__} is no film"
    raise DataError(WHERE, what, "give the path of a film or of a folder of pictures, a film's bytes, or its pictures")


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names, where numbers count as such: 2.png before 10.png."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")]
    return sorted(found, key=lambda p: in_order(p.name))


def in_order(name: str) -> list[tuple[int, str]]:
    """What names are sorted by so that numbers in them count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@final
class Pictures(Film):
    """Pictures one by one, each as long as any other.

    Args:
        read: gives a picture: the bytes of its file, or an array.
    """

    timed = False

    def __init__(self, read: Sequence[Any]) -> None:
        if not read:
            raise DataError(WHERE, "the film has no frame", "give at least one picture")
        self.read = read

    @property
    def length(self) -> float:
        """The number of pictures."""
        return float(len(self.read))

    @cached_property
    def look(self) -> Look:
        """Of the first."""
        return look(self.read[0]())

    def shown(self, times: Sequence[float], form: Form) -> Pixels:
        """(M, C, H, W): picture number ⌊time⌋."""
        numbers = [min(len(self.read) - 1, max(0, int(t))) for t in times]
        once = {n: self._one(n, form) for n in sorted(set(numbers))}
        return np.stack([once[n] for n in numbers])

    def _one(self, number: int, form: Form) -> Pixels:
        try:
            return pixels(self.read[number](), form)
        except DataError as error:
            raise DataError(f"{WHERE}, frame {number}", error.what, error.instead) from None
        except OSError as error:
            raise DataError(f"{WHERE}, frame {number}", f"cannot be read ({error.strerror})") from None
