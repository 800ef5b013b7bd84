"""The folder of a run while it trains: followed where it is renamed, told where it is gone, and rescued at the end."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trainwright.core.events import Found, Observer, Stop
from trainwright.core.finding import Advice, Finding
from trainwright.engine import checkpoint, disk
from trainwright.engine.packing import Snapshot
from trainwright.runs.directory import CHECKPOINTS, CONFIG, EVENTS, MANIFEST, PROCESSOR

PATIENCE = 600.0  # seconds for a folder to come back, such as one of a network that does not answer
_WHOLE = (CONFIG, PROCESSOR, MANIFEST)  # what a run is gone on with, beside a checkpoint and the log


class Home:
    """Knows the folder by itself and not by its name, and what is needed to begin it anew elsewhere.

    Args:
        folder: of the run; its configuration and manifest are written.
        follow: is told the folder's new place.
        clock: seconds.
    """

    def __init__(
        self, folder: Path, follow: Callable[[Path], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.follow, self.clock = folder.absolute(), follow, clock
        self._kept = {name: _read(folder / name) for name in _WHOLE}
        self._missing: float | None = None  # since when
        self._handle, self._log = _opened(folder), _opened(folder / EVENTS)
        self._same = None if self._handle is None else os.fstat(self._handle)  # which folder it is, by whatever name

    def close(self) -> None:
        """Nobody asks any more."""
        for handle in (self._handle, self._log):
            if handle is not None:
                os.close(handle)
        self._handle = self._log = None

    def watch(self, observe: Observer, step: int) -> Stop | None:
        """Follow the folder where it was moved; say that it is gone, and ask to stop where it stays so."""
        if self._handle is None or self._is(self.folder):
            self._missing = None
            return None
        there = _place_of(self._handle)
        if there is not None and self._is(there):
            was, self.folder, self._missing = self.folder, there, None
            self.follow(there)
            observe(Found(step, _moved(was, there)))
            return None
        first = self._missing is None
        self._missing = since = self.clock() if self._missing is None else self._missing
        if first:
            observe(Found(step, _gone(self.folder, self._removed())))
        if self._removed() or self.clock() - since > PATIENCE:
            return Stop(f"the run folder is gone: {self.folder}", "failed")
        return None

    def rescue(self, snapshot: Snapshot, step: int, run: str) -> Path | None:
        """A run folder with this state, beside the old one or in the temporary folder; None where neither has room."""
        for near in (self.folder.parent, Path(tempfile.gettempdir())):
            with suppress(OSError):
                place = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.rescued-", dir=near))
                try:
                    self._written(place, snapshot, step, run)
                except OSError:
                    _removed(place)
                    raise
                return place
        return None

    def _written(self, place: Path, snapshot: Snapshot, step: int, run: str) -> None:
        for name, content in self._kept.items():
            if (now := _read(self.folder / name) or content) is not None:
                disk.write(place / name, [now])
        disk.write(place / EVENTS, [self._logged()])
        checkpoint.write(snapshot, place / CHECKPOINTS, step, run)

    def _logged(self) -> bytes:
        """The lines that were written so far, also of a file that has no name any more."""
        if self._log is None:
            return b""
        os.lseek(self._log, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._log), "rb") as file:
            return file.read()

    def _is(self, path: Path) -> bool:
        """Whether the folder lies there; where the system cannot say, nothing is certain, and it counts as there."""
        assert self._same is not None
        try:
            return os.path.samestat(os.stat(path), self._same)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def _removed(self) -> bool:
        """Whether it has no name any more, for sure."""
        assert self._handle is not None
        with suppress(OSError):
            return os.fstat(self._handle).st_nlink == 0
        return False


class Trail:
    """Follows a folder in which other processes train."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._handle = folder, _opened(folder)

    def end(self) -> Path:
        """Where the folder lies now; nobody asks again."""
        place = self.here()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        return place

    def here(self) -> Path:
        """Where the folder lies now."""
        if self._handle is None:
            return self.folder
        there, inode = _place_of(self._handle), os.fstat(self._handle)
        for place in (self.folder, there):
            with suppress(OSError):
                if place is not None and os.path.samestat(os.stat(place), inode):
                    return place
        return self.folder


def _opened(path: Path) -> int | None:
    """None where the system does not open such a thing, or it is not here: then nobody watches."""
    with suppress(OSError):
        return os.open(path, os.O_RDONLY)
    return None


def _place_of(handle: int) -> Path | None:
    """Where the system says that an open folder lies."""
    with suppress(OSError):
        if sys.platform == "darwin":
            import fcntl

            return Path(os.fsdecode(fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
        return Path(os.readlink(f"/proc/self/fd/{handle}"))
    return None


def _read(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None


def _removed(place: Path) -> None:
    """A rescue that did not fit."""
    for folder in (place / CHECKPOINTS, place):
        disk.remove(folder)


def _moved(was: Path, now: Path) -> Finding:
    return Finding(
        rule="run_folder_moved",
        severity="warning",
        what=f"the run folder was moved to {now}",
        where=str(was),
        why="training goes on and writes there",
    )


def _gone(folder: Path, removed: bool) -> Finding:
    what = "was removed" if removed else "cannot be found any more"
    wait = "" if removed else f" unless it is back within {PATIENCE / 60:.0f} minutes"

    return Finding(
        rule="run_folder_gone",
        severity="error",
        what=f"the run folder {what}: nothing can be saved there",
        where=str(folder),
        why=f"training stops{wait}, and the newest state is saved elsewhere",
        fixes=(Advice("put it back, or go on with what is rescued"),),
    )
