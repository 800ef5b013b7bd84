"""Pictures to look for things in: image files, those below a folder, and the frames of a film one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainwright.core.errors import DataError
from trainwright.core.task import Record
from trainwright.data import video
from trainwright.data.folder import SUFFIXES
from trainwright.data.stream import Stream

_FILMS = tuple(s for s in video.SUFFIXES if s != ".gif")


def records_in(path: Path) -> Iterator[Record]:
    """What a file or a folder holds to be looked at: pictures, and films frame by frame.

    Records are ``{"image": bytes, "path"}``, and of a film ``{"image": (H, W, 3), "path", "frame", "second"}``.
    """
    if not path.is_dir():
        yield from _film(path) if path.suffix.lower() in _FILMS else _picture(path)
        return
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    found = [p for p in files if p.suffix.lower() in (*SUFFIXES, *_FILMS)]
    if not found:
        raise DataError(str(path), "holds no images and no films", f"give {', '.join(SUFFIXES[:4])} files")
    for file in found:
        yield from records_in(file)


def _picture(path: Path) -> Iterator[Record]:
    try:
        yield {"image": path.read_bytes(), "path": str(path)}
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "check the file") from None


def _film(path: Path) -> Iterator[Record]:
    try:
        for number, (second, frame) in enumerate(Stream(path).frames()):
            yield {"image": frame, "path": str(path), "frame": number, "second": round(second, 3)}
    except DataError as error:
        raise DataError(str(path), error.what, error.instead) from None
