"""One writer per run and any number of readers: a lock that dies with its process, and that readers ask but never take.

On Linux the lock belongs to an open file (F_OFD_SETLK), and asking for it (F_OFD_GETLK) takes nothing. Elsewhere it is
flock: there a reader holds a shared lock for a moment, and a writer is patient. Windows has neither; one writer is then
the user's care.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from trainwright.core.errors import CannotCreateError, TrainwrightError

LOCK = "run.lock"
_RANGE = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid
_OPEN_FILE = sys.platform == "linux" and sys.maxsize > 2**32
_TRIES, _PAUSE = 50, 0.01  # seconds


class LockedError(TrainwrightError):
    """Another process writes this run."""

    exit_code = 75


class Lock:
    """One writer per run: held while the process lives, gone with it, whatever children it leaves behind.

    Args:
        folder: of the run; LockedError names who writes it, CannotCreateError says why nobody can.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            instead = "make it writable, or copy the run to a place that is"
            raise CannotCreateError(str(folder), f"cannot be written: {error.strerror}", instead) from None
        if not _taken(self._file):
            owner = _owner(folder / LOCK)
            if owner or not _taken(self._file):  # a dead owner's newborn child may have needed that moment to close it
                os.close(self._file)
                told = f"{folder}: is being trained by {owner or 'another process'}"
                raise LockedError(f"{told}; wait for it, or stop it first")
        _sign(self._file)
        _not_in_forks(self)

    def release(self) -> None:
        """Let others write."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            self.forget()

    def forget(self) -> None:
        """Close it: what a forked child does, whose copy would keep the lock when its parent is killed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def locked(folder: Path) -> bool:
    """Whether a process is writing this run; whoever asks takes nothing that a writer might want."""
    try:
        file = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _free(file)
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    """Take the lock of an open file; False where another holds it."""
    if sys.platform == "win32":
        return True
    import fcntl

    if _OPEN_FILE:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_RANGE, fcntl.F_WRLCK, 0, 0, 0, 0))
        except BlockingIOError:
            return False
        except OSError:  # a file system without it
            return _flocked(file)
        return True
    return _flocked(file)


def _free(file: int) -> bool:
    """Whether nobody holds the lock of an open file."""
    if sys.platform == "win32":
        return True
    import fcntl

    if _OPEN_FILE:
        with suppress(OSError):
            asked = struct.pack(_RANGE, fcntl.F_RDLCK, 0, 0, 0, 0)
            if struct.unpack(_RANGE, fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK:
                return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _flocked(file: int) -> bool:
    """Take flock, past readers that hold it for a moment."""
    import fcntl

    for _ in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _sign(file: int) -> None:
    """Who holds the lock, for those who come too late; it is never empty on the way."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    name = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": now}) + "\n"
    with suppress(OSError):  # a full disk: the lock holds without a name
        os.pwrite(file, name.encode(), 0)
        os.ftruncate(file, len(name.encode()))


def _owner(path: Path) -> str:
    """Who holds the lock, or nothing; waits a moment for an owner who has yet to sign."""
    for _ in range(_TRIES):
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["host"] != socket.gethostname() or _alive(int(told["process"])):
                return f"process {told['process']} on {told['host']} since {told['since']}"
        time.sleep(_PAUSE)
    return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _not_in_forks(lock: Lock) -> None:
    """Have forked children close their copy."""
    if sys.platform == "win32":
        return
    there = weakref.ref(lock)

    def forget() -> None:
        held = there()
        if held is not None:
            held.forget()

    os.register_at_fork(after_in_child=forget)
