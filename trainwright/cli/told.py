"""What the command line says: answers, JSON objects, and failures."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from trainwright.core.errors import TrainwrightError, UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CANNOT_WRITE = 74  # EX_IOERR of sysexits.h
_ROWS = 50  # answers shown on a terminal


def write_answers(answers: Sequence[Mapping[str, Any]], target: Path) -> None:
    """One answer a line, whole or not at all; nested values of a .csv get dotted names."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with draft.open("w", newline="", encoding="utf-8") as file:
        if target.suffix == ".jsonl":
            file.writelines(json.dumps(_plain(a), ensure_ascii=False, allow_nan=False) + "\n" for a in answers)
        else:
            rows = [{k: _cell(v) for k, v in _flat(a).items()} for a in answers]
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rows)
    draft.replace(target)


def show_answers(answers: Sequence[Mapping[str, Any]]) -> None:
    """Answers as a table: the first of them on a terminal, all of them elsewhere."""
    from trainwright.runs.figures import aligned

    shown = answers[:_ROWS] if sys.stdout.isatty() else answers
    rows = [{k: _shown(v) for k, v in _flat(a).items()} for a in shown]
    titles = list(dict.fromkeys(key for row in rows for key in row))
    for line in aligned([["", *titles], *([str(i), *(r.get(t, "") for t in titles)] for i, r in enumerate(rows))]):
        click.echo(line)
    if len(shown) < len(answers):
        click.echo(f"… and {len(answers) - len(shown):,} more; --out FILE.csv keeps all")


def _flat(answer: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in answer.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _cell(value: Any) -> Any:
    """For a table that a machine reads: lists as JSON."""
    return json.dumps(_plain(value)) if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    """For a person's eyes: rounded, and a list of pairs or tables as ``7 0.98, 1 0.01``."""
    from trainwright.runs.figures import number

    if isinstance(value, list | tuple):
        value = [list(v.values()) if isinstance(v, Mapping) else v for v in value]
        return ", ".join(" ".join(map(_shown, v)) if isinstance(v, list | tuple) else _shown(v) for v in value)
    return number(value) if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line; what is not finite as text."""
    click.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))


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
        click.echo(f"error: {error}", err=True)
        code, told = error.exit_code, {"where": error.where, "what": error.what, "instead": error.instead}
    elif isinstance(error, TrainwrightError):
        click.echo(f"error: {error}", err=True)
        code, told = error.exit_code, {}
    elif (machine := _of_the_machine(error)) is not None:
        code, message = machine
        click.echo(f"error: {message}", err=True)
        told = {"message": message}
    else:
        code, told = 70, _unexpected(error, folder)
    if as_json:
        whole = {"kind": type(error).__name__, "message": str(error), **told, "exit_code": code}
        with contextlib.suppress(OSError):
            print_json({"error": whole})
    return code


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
    try:
        os.getcwd()
    except OSError:
        return 2, "the working folder no longer exists; change to another one (cd)"
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
    story = "".join(traceback.format_exception(error))
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    folders = [folder] if folder and folder.is_dir() else []
    written = ""
    for place in [*folders, Path(tempfile.gettempdir())]:
        with contextlib.suppress(OSError):
            (place / name).write_text(story, encoding="utf-8")
            written = str(place / name)
            break
    said = " ".join(str(error).split())
    what = f"{type(error).__name__}: {said[:300]}{'…' if len(said) > 300 else ''}"
    click.echo(f"error: {what}", err=True)
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        click.echo("the memory did not suffice; try a smaller micro_batch, such as micro_batch=16", err=True)
    click.echo(f"this was not expected; the full traceback is in {written}" if written else story, err=True)
    return {"traceback": written}
