"""What the command line says: answers, JSON objects, and failures."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from trainwright.core.errors import CannotCreateError, StorageError, TrainwrightError, UserError
from trainwright.core.redaction import each_text, redacted

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
_CANNOT_WRITE = StorageError.exit_code


def plain(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line; what is not finite as text."""
    click.echo(json.dumps(plain(value), ensure_ascii=False, allow_nan=False))


@contextlib.contextmanager
def stdout_for_json(wanted: bool) -> Iterator[None]:
    """Send everything said meanwhile, by us, by plugins and by other processes, to standard error."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def forget_stdout() -> None:
    """Nobody reads it any more: what Python would flush at its end goes nowhere, without a complaint."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failed(error: Exception, as_json: bool, folder: Path | None) -> int:
    """One message on standard error, the same as JSON where asked, and the exit code."""
    if isinstance(error, click.ClickException):
        error.show(sys.stderr)
        code, told = error.exit_code, {"message": error.format_message()}
    elif isinstance(error, UserError):
        _say(redacted(str(error)), tuple(map(redacted, (error.where, error.what, error.instead))))
        code, told = error.exit_code, {"where": error.where, "what": error.what, "instead": error.instead}
    elif isinstance(error, TrainwrightError):
        _say(redacted(str(error)))
        code, told = error.exit_code, {}
    elif (machine := _of_the_machine(error)) is not None:
        code, message = machine
        _say(redacted(message))
        told = {"message": message}
    else:
        code, told = 70, _unexpected(error, folder)
    if as_json:
        whole = each_text({"kind": type(error).__name__, "message": str(error), **told, "exit_code": code}, redacted)
        with contextlib.suppress(OSError):
            print_json({"error": whole})
    return code


def _say(message: str, mistake: tuple[str, ...] | None = None) -> None:
    """To a person; one of several processes tells who started it, who then speaks for all of them."""
    if "RANK" in os.environ:
        from trainwright.engine.ranks import one_of_ours, tell

        if tell(message, mistake) and one_of_ours():
            return
    click.echo(f"error: {message}", err=True)


def _of_the_machine(error: Exception) -> tuple[int, str] | None:
    """The exit code and words for what no program can help: a full disk, a working folder that is gone."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _FULL:
        if not _stdout_works():
            forget_stdout()
            return _CANNOT_WRITE, f"standard output: cannot be written ({error.strerror}); send it elsewhere"
        place = error.filename or "the disk"
        return _CANNOT_WRITE, f"{place}: cannot be written ({error.strerror}); free space there, and begin again"
    if error.errno in _REFUSED and error.filename:
        what = f"{error.filename}: {error.strerror}; give this user access to it, or choose another place"
        return CannotCreateError.exit_code, what
    try:
        os.getcwd()
    except OSError:
        return CannotCreateError.exit_code, "the working folder no longer exists; change to another one (cd)"
    return None


def _stdout_works() -> bool:
    """Whether anything can be printed."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        return False
    return True


def _unexpected(error: Exception, folder: Path | None) -> dict[str, str]:
    """A fault of ours, or of the machine: a short message, and the whole story in a file."""
    story = redacted("".join(traceback.format_exception(error)))
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    folders = [folder] if folder and folder.is_dir() else []
    written = ""
    for place in [*folders, Path(tempfile.gettempdir())]:
        with contextlib.suppress(OSError):
            handle = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # others may read the folder
            with open(handle, "w", encoding="utf-8") as file:
                file.write(story)
            written = str(place / name)
            break
    said = redacted(" ".join(str(error).split()))
    what = f"{type(error).__name__}: {said[:300]}{'…' if len(said) > 300 else ''}"
    lines = [what]
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        lines.append("the memory did not suffice; try a smaller micro_batch, such as micro_batch=16")
    _say("\n".join([*lines, f"this was not expected; the full traceback is in {written}" if written else story]))
    return {"traceback": written}
