"""Every touch of the disk that a checkpoint depends on: one system call each, in an order that survives a power cut."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO, TypeVar

T = TypeVar("T")

_PIECE = 8 << 20  # bytes of one write
_PAUSES = (0.1, 0.4, 1.6)  # seconds before each further try
_PASSING = {errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ETIMEDOUT}


def write(path: Path, pieces: Iterable[bytes | memoryview]) -> tuple[int, str]:
    """A new file with these bytes, on the disk when this returns; its size and sha256. Its mode is the umask's."""
    size, digest = 0, hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        for piece in pieces:
            size += len(piece)
            view = memoryview(piece)
            digest.update(view)
            while view:
                view = view[os.write(handle, view[:_PIECE]) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    return size, digest.hexdigest()


def put(path: Path, data: bytes) -> None:
    """A file of this name with ``data``, also where there is one: at every moment the old or the new one is there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(2)}")
    try:
        write(draft, [data])
        os.replace(draft, path)
        settle(path.parent)
    except OSError:
        with suppress(OSError):
            os.unlink(draft)
        raise


def anew(path: Path) -> TextIO:
    """A new text file to write into; one of this name is removed first, so that nothing is written through a link."""
    path.unlink(missing_ok=True)
    return path.open("x", newline="", encoding="utf-8")


def flush(path: Path) -> None:
    """What was appended to a file so far is on the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def settle(folder: Path) -> None:
    """What was made, renamed or removed in a folder is durable; some systems have no such thing for folders."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows does not open folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(folder: Path) -> None:
    """A folder with the files in it; what is gone already is no trouble, what cannot be removed stays.

    Of a link only the link: what it leads to is somebody else's.
    """
    try:
        if folder.is_symlink():
            os.unlink(folder)
            return
        for name in os.listdir(folder):
            os.unlink(folder / name)
        os.rmdir(folder)
    except OSError:
        return


def patiently(act: Callable[[], T], pause: Callable[[float], None] = time.sleep) -> T:
    """What ``act`` returns, tried again where the system's error is one that passes."""
    for seconds in _PAUSES:
        try:
            return act()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            pause(seconds)
    return act()
