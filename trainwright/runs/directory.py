"""A run is a folder: its files, how one is made, and the lock of its one writer."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.events import View, fold, load

CONFIG, MANIFEST, EVENTS, PROCESSOR, LOCK = "config.toml", "manifest.json", "events.jsonl", "processor.json", "run.lock"
CHECKPOINTS = "checkpoints"
SEEDS = "seeds.json"  # of a folder of runs, one for each of several seeds
BAD = "bad_samples.csv"
_MINE = 0o700  # data, scores and weights are their owner's alone, who may open the folder to others


def read_manifest(folder: Path) -> dict[str, Any]:
    """Versions, hardware, plan, data and weights of the run."""
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


def read_view(folder: Path) -> View:
    """Everything that happened, folded."""
    return fold(load(line) for line in whole_lines(folder / EVENTS))


def new_folder(out: str | Path | None, label: str) -> Path:
    """Make the folder of a new run, which only its owner may open; UserError where it is taken or cannot be written.

    Args:
        out: the folder itself, empty or not there yet; ``runs/2026-11-20-label-a1b2`` unless given.
        label: the run's name.
    """
    if out is not None and not str(out).strip():
        raise UserError("out", "is empty", "name the run folder, or leave it out")
    tidy = re.sub(r"[^A-Za-z0-9_.-]+", "-", label).strip("-.")[:60] or "run"
    dated = Path("runs") / f"{datetime.now(UTC):%Y-%m-%d}-{tidy}-{secrets.token_hex(2)}"
    folder = Path(out).expanduser() if out is not None else dated
    if "\0" in str(folder):
        raise UserError("out", "holds a null character", "name another folder")
    if folder.is_dir() and any(folder.iterdir()):
        if out is None:
            return new_folder(out, label)
        what, other = "exists and is not empty", "choose another folder"
        if (folder / SEEDS).is_file():
            what, other = "holds runs of several seeds", f"go on with them: trainwright resume {folder}"
        elif (folder / MANIFEST).is_file():
            what, other = "holds a run already", "choose another folder, or move that run aside with --exist-ok"
        raise UserError(str(folder), what, f"{other}; nothing was overwritten")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=_MINE, exist_ok=True)
        with suppress(PermissionError):  # an empty folder of somebody else, where this person may write
            folder.chmod(_MINE)  # whatever the umask
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError):
        raise UserError(str(folder), "is in the way: a file has this name", "choose another folder") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(str(folder), f"cannot be written: {why}", "choose another folder with --out") from None
    return folder


def moved_aside(out: str | Path) -> str:
    """Rename the folder of a run to the next free ``OUT.1``, ``OUT.2``, …; says so, or nothing where there is no run.

    Raises LockedError where that run is being trained.
    """
    folder = Path(out).expanduser()
    if not (folder / MANIFEST).is_file() or folder.name in ("", ".."):
        return ""
    if locked(folder):
        raise LockedError(f"{folder}: is being trained by another process; wait for it, or choose another folder")
    names = (folder.with_name(f"{folder.name}.{n}") for n in count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    try:
        folder.rename(aside)
    except OSError as error:
        raise UserError(str(folder), f"cannot be moved aside: {error.strerror}", "choose another folder") from None
    return f"the run that was in {folder} is now in {aside}"


class Lock:
    """One writer per run: held while the process lives, gone with it."""

    def __init__(self, folder: Path) -> None:
        self.file = (folder / LOCK).open("a+")
        if not _take(self.file.fileno()):
            self.file.seek(0)
            owner = self.file.read().strip() or "another process"
            self.file.close()
            raise LockedError(f"{folder}: is being trained by {owner}; wait for it, or stop it first")
        self.file.seek(0)
        self.file.truncate()
        self.file.write(f"process {os.getpid()}")
        self.file.flush()

    def release(self) -> None:
        """Let others write."""
        self.file.close()


class LockedError(TrainwrightError):
    """Another process writes this run."""

    exit_code = 75


def locked(folder: Path) -> bool:
    """Whether a process is writing this run."""
    path = folder / LOCK
    if not path.is_file():
        return False
    with path.open("a+") as file:
        return not _take(file.fileno())


def _take(handle: int) -> bool:
    """Lock an open file until it is closed; False where another holds it."""
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks of this kind; one writer is then the user's care
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_json(value: Mapping[str, Any], path: Path) -> None:
    """JSON for people, put in place at once; NaN and infinity as text."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(_spelled(value), indent=1, ensure_ascii=False, allow_nan=False)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _spelled(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes text."""
    if isinstance(value, Mapping):
        return {k: _spelled(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def whole_lines(path: Path) -> Iterator[str]:
    """Lines that were written to their end; a torn one is what a crash left."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n") and line.startswith("{") and line.rstrip().endswith("}"):
                yield line
