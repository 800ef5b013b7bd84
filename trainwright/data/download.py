"""Downloads: a published file, checked by its sha256, whole or not there; taken up again where the line broke."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainwright.core.errors import DataError, DownloadError
from trainwright.data.cache import unwritable, write_durably
from trainwright.data.published import File

Report = Callable[[str, int, int], None]  # (what, done, of how many)

_PIECE = 1 << 16  # bytes received between two reports
_TIMEOUT = 30.0  # seconds without a byte
_PAUSES = (1.0, 4.0)  # seconds before an address is tried again; what was received is kept
_WORTH = 100  # an attempt that brings this share of a file does not count as a failed one
_MOST = 50  # attempts at one address
_LOOK = 0.2  # seconds between two looks at another process
_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers that may be others a moment later; RFC 9110, section 15
_KILO = 1000


class _TroubleError(Exception):
    """Why an address did not give the file."""

    def __init__(self, why: str, again: bool = False) -> None:
        super().__init__(why)
        self.why, self.again = why, again


def download(
    files: Sequence[File],
    folder: Path,
    report: Report,
    *,
    timeout: float = _TIMEOUT,
    pauses: Sequence[float] = _PAUSES,
) -> None:
    """Put published files into ``folder``, each under its name only once its size and sha256 are right.

    One process downloads at a time: others wait, and then find the files. A transfer that breaks off is taken up again
    where it stopped, also by a later process. Raises `DownloadError` (exit code 69) naming every address that was
    tried, `UserError` for a folder that cannot be written or a full disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, report):
            for file in files:
                if not is_sound(folder / file.name, file.size, file.sha256):
                    _fetched(file, folder, report, timeout, pauses)
    except OSError as error:
        raise unwritable(folder, error) from error


def is_sound(path: Path, size: int, sha256: str) -> bool:
    """Whether a file is there with this size and checksum."""
    try:
        return path.stat().st_size == size and digest(path) == sha256
    except OSError:
        return False


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetched(file: File, folder: Path, report: Report, timeout: float, pauses: Sequence[float]) -> None:
    size, sha256 = (file.original.size, file.original.sha256) if file.original else (file.size, file.sha256)
    part = folder / f".{file.name}.part"
    there = part.stat().st_size if part.exists() else 0
    if (free := shutil.disk_usage(folder).free) < size - there:
        what = f"{file.name} takes {size:,} bytes, and {free:,} are free"
        raise DataError(str(folder), what, "free space there, or set XDG_CACHE_HOME to a folder elsewhere")
    reasons = []
    for address in file.addresses:
        try:
            _from(address, part, size, sha256, report, timeout, pauses)
            break
        except _TroubleError as trouble:
            reasons.append(f"{address}: {trouble.why}")
        except OSError:  # a full disk: what was received would only keep it full
            part.unlink(missing_ok=True)
            raise
    else:
        instead = f"check the connection, or put the file there by hand: {folder / file.name}"
        raise DownloadError(file.name, f"cannot be downloaded ({'; '.join(reasons)})", instead)
    if file.original is not None:
        _turned(file, part)
    os.replace(part, folder / file.name)


def _turned(file: File, part: Path) -> None:
    """The published file becomes the one that is read, in its place."""
    assert file.original is not None
    content = file.original.turned(part.read_bytes())
    assert hashlib.sha256(content).hexdigest() == file.sha256, f"{file.name}: the conversion has changed"
    draft = part.with_suffix(".turned")
    write_durably(draft, content)
    draft.replace(part)


def _from(
    address: str, part: Path, size: int, sha256: str, report: Report, timeout: float, pauses: Sequence[float]
) -> None:
    """The whole file from one address; `_TroubleError` where it cannot be had there."""
    waits = list(pauses)
    for _ in range(_MOST):
        before = part.stat().st_size if part.exists() else 0
        try:
            if before < size:
                _received(address, part, size, report, timeout)
            if part.stat().st_size == size and digest(part) == sha256:
                report(_what(part), size // _KILO, size // _KILO)
                return
            part.unlink()
            if not before:
                raise _TroubleError("the file there has another checksum than the catalogue knows")
        except _TroubleError as trouble:
            gained = part.exists() and part.stat().st_size - before >= size // _WORTH
            if not trouble.again or not (waits or gained):
                raise
            waits = list(pauses) if gained else waits
            if waits:
                time.sleep(waits.pop(0))
    raise _TroubleError("the connection broke off again and again")


def _received(address: str, part: Path, size: int, report: Report, timeout: float) -> None:
    """What is still missing, appended to ``part``."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "trainwright", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if not address.startswith(("http://", "https://")):
        raise _TroubleError("is no address on the web")
    with (
        _reasons(timeout),
        urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=timeout) as answer,
    ):
        resumed = answer.status == http.client.PARTIAL_CONTENT and answer.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"
        )
        start = start if resumed else 0
        told = answer.headers.get("Content-Length", "")
        if told.isdigit() and start + int(told) != size:
            raise _TroubleError(f"the file there has {start + int(told):,} bytes, not {size:,}")
        with _on_disk():
            file = part.open("ab" if resumed else "wb")
        with file:
            _copied(answer, file, start, size, _what(part), report)


def _copied(answer: http.client.HTTPResponse, file: BinaryIO, done: int, size: int, what: str, report: Report) -> None:
    while piece := answer.read1(_PIECE):
        with _on_disk():
            file.write(piece)
            file.flush()
        done += len(piece)
        if done > size:
            raise _TroubleError(f"the file there has more than {size:,} bytes")
        report(what, done // _KILO, size // _KILO)
    if done < size:
        raise _TroubleError(f"the connection broke off after {done:,} of {size:,} bytes", again=True)
    with _on_disk():
        os.fsync(file.fileno())


class _DiskError(Exception):
    """Writing failed, not the network."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _DiskError(error) from error


@contextmanager
def _reasons(timeout: float) -> Iterator[None]:
    """What the network raises, in words."""
    try:
        yield
    except _DiskError as failed:
        raise failed.error from failed
    except urllib.error.HTTPError as error:
        error.close()
        raise _TroubleError(f"the server answered {error.code} ({error.reason})", error.code in _AGAIN) from None
    except TimeoutError:
        raise _TroubleError(f"nothing came for {timeout:g} seconds", again=True) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _TroubleError(f"no connection within {timeout:g} seconds", again=True) from None
        raise _TroubleError(f"no connection ({_words(error.reason)})") from None
    except (http.client.HTTPException, OSError) as error:
        raise _TroubleError(f"the connection broke off ({_words(error)})", again=True) from None


def _words(reason: object) -> str:
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__


def _what(part: Path) -> str:
    return f"downloading {part.name.removeprefix('.').removesuffix('.part')} (kB)"


@contextmanager
def _alone(folder: Path, report: Report) -> Iterator[None]:
    """Hold the folder; a process that finds it held waits, however long that takes."""
    with (folder / ".lock").open("a+b") as file:
        while not _taken(file.fileno()):
            parts = sum(p.stat().st_size for p in folder.glob(".*.part"))
            report("waiting for another process that downloads (kB)", parts // _KILO, parts // _KILO + 1)
            time.sleep(_LOOK)
        yield


def _taken(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: two processes may then both download; each renames a whole file
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
