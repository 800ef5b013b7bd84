"""Optuna's journal in a file that outlives a kill: the lock goes with its process, and a torn line is taken away."""

from __future__ import annotations

import os
from pathlib import Path
from typing import final

from filelock import FileLock
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock


def journal(path: Path) -> JournalFileBackend:
    """The journal in a file, made where there is none."""
    return JournalFileBackend(str(path), lock_obj=_Writer(path))


@final
class _Writer(JournalFileOpenLock):
    """Whoever holds it alone writes.

    Optuna's own locks stay behind when their process is killed, and a line that it did not write to its end spoils all
    that others write behind it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o600)

    def acquire(self) -> bool:
        """Wait for it, and mend the file."""
        self._lock.acquire()
        try:
            _mended(self._path)
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Let others write."""
        self._lock.release()


def _mended(path: Path) -> None:
    """Without the line that has no end, which nobody is writing any more."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        keep = size
        while keep:
            start = max(0, keep - 4096)
            file.seek(start)
            found = file.read(keep - start).rfind(b"\n")
            if found >= 0:
                keep = start + found + 1
                break
            keep = start
        if keep < size:
            file.truncate(keep)
            file.flush()
            os.fsync(file.fileno())
