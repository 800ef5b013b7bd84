"""A run is a folder: its files, how one is made, and what happened as its events tell it."""

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

from trainwright.core.errors import CannotCreateError, CheckpointError, UserError
from trainwright.core.events import Event, RunStarted, View, advance, load
from trainwright.engine import disk
from trainwright.engine.owner import Owner
from trainwright.runs.lock import LOCK, LockedError, locked
from trainwright.runs.stored import stored_json, stored_manifest

CONFIG, MANIFEST, EVENTS, PROCESSOR = "config.toml", "manifest.json", "events.jsonl", "processor.json"
CHECKPOINTS = "checkpoints"
PLAYED, COMPOSED = "samples", "composed"  # music: after each evaluation, and when it was asked for
FORECASTS = "forecasts"  # series, when it was asked for
DETECTIONS = "detections"  # pictures with boxes, when it was asked for
PORTRAITS = "portraits"  # of the model, at the end
INCIDENTS = "incidents"
CAPTURES = "captures"  # of a module of the user's own, for the inside view
SEEDS = "seeds.json"  # of a folder of runs, one for each of several seeds
STUDY = "study.json"  # of a folder of runs that a search made
TRIALS = "trials"  # in such a folder, of the runs themselves: trials/0001
AGAIN = "best"  # the best of a search, trained again
FOLDS = "folds.json"  # of a folder of runs, one for each fold
BAD = "bad_samples.csv"
_MINE = 0o700  # data, scores and weights are their owner's alone, who may open the folder to others
METRICS = "metrics.csv"
REPORT = "report.html"  # of the whole run, when it was asked for
NOTES = "notes.json"  # what a person wrote in the studio
FORMAT = 1  # of the folder, as its manifest tells


def read_manifest(folder: Path) -> dict[str, Any]:
    """Versions, hardware, plan, data and weights of the run."""
    content = stored_json(folder / MANIFEST)
    version = content.get("format", FORMAT)
    if isinstance(version, int) and version > FORMAT:
        what = f"is of format {version}, which a newer version of Trainwright wrote; this one reads format {FORMAT}"
        raise CheckpointError(f"{folder} {what}: install that one")
    return stored_manifest(folder / MANIFEST)


def identity(before: Mapping[str, Any] | None, step: int) -> dict[str, Any]:
    """What tells a run from all others, as its manifest has it, whatever its folder is called.

    Args:
        before: the manifest of the attempt before, where there was one.
        step: at which this attempt begins; the checkpoints of a run of an older version carry no identity up to it.
    """
    if before and "id" in before:
        return {key: before[key] for key in ("id", "unsigned") if key in before}
    return {"id": secrets.token_hex(8), **({"unsigned": step} if before else {})}


def owner(folder: Path) -> Owner | None:
    """Whose checkpoints a run's folder must hold; None where that cannot be told: of an older version, or no run."""
    told = read_manifest(folder) if (folder / MANIFEST).is_file() else {}
    return Owner(told["id"], told.get("unsigned", -1)) if "id" in told else None


def read_view(folder: Path) -> View:
    """Everything that happened, folded."""
    view = View()
    for event in whole_events(folder / EVENTS):
        if event is None:
            view.unreadable += 1
        else:
            advance(view, event)
    return view


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
    if _taken(folder):
        if out is None:
            return new_folder(out, label)
        what, other = "exists and is not empty", "choose another folder"
        if (folder / STUDY).is_file():
            what, other = "holds a search", f"go on with it: trainwright tune {folder}"
        elif (folder / FOLDS).is_file():
            what, other = "holds a cross-validation", f"go on with it: trainwright crossval {folder}"
        elif (folder / SEEDS).is_file():
            what, other = "holds runs of several seeds", f"go on with them: trainwright resume {folder}"
        elif (folder / MANIFEST).is_file():
            what, other = "holds a run already", "choose another folder, or move that run aside with --exist-ok"
        raise UserError(str(folder), what, f"{other}; nothing was overwritten")
    try:
        made = [p for p in (folder, *folder.parents) if not p.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=_MINE, exist_ok=True)
        with suppress(PermissionError):  # an empty folder of somebody else, where this person may write
            folder.chmod(_MINE)  # whatever the umask
        disk.write(probe := folder / f".probe-{os.getpid()}", [b"a disk that is full takes a name and no bytes"])
        probe.unlink()
        for new in made:
            disk.settle(new.parent)
    except (FileExistsError, NotADirectoryError):
        raise CannotCreateError(str(folder), "is in the way: a file has this name", "choose another folder") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CannotCreateError(str(folder), f"cannot be written: {why}", "choose another folder with --out") from None
    return folder


def run_places(folder: Path) -> list[Path]:
    """Where runs of a folder may be: itself, or below it one for each seed or fold; of a search, the best's."""
    if (folder / SEEDS).is_file() or (folder / FOLDS).is_file():
        return list(folder.iterdir())
    return [folder / AGAIN] if (folder / STUDY).is_file() else [folder]


def _taken(folder: Path) -> bool:
    """Whether something is in it."""
    try:
        return folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotCreateError(str(folder), f"cannot be written: {why}", "choose another folder with --out") from None


def must_be_whole(folder: Path) -> None:
    """UserError where what a run writes into, or removes from, is a link: it would change files that are elsewhere."""
    for name in (LOCK, EVENTS, CHECKPOINTS, INCIDENTS, PLAYED, CAPTURES):
        if (folder / name).is_symlink():
            where = os.path.realpath(folder / name)
            instead = "put what it leads to in its place; the run folder itself may be a link"
            raise UserError(str(folder / name), f"is a link to {where}, where a run must not write", instead)


def moved_aside(out: str | Path) -> str:
    """Rename the folder of a run to the next free ``OUT.1``, ``OUT.2``, …; says so, or nothing where there is no run.

    What a run left that was killed before its manifest counts as one.

    Raises LockedError where that run is being trained.
    """
    folder = Path(out).expanduser()
    if not ((folder / MANIFEST).is_file() or _barely_begun(folder)) or folder.name in ("", ".."):
        return ""
    if locked(folder):
        raise LockedError(f"{folder}: is being trained by another process; wait for it, or choose another folder")
    names = (folder.with_name(f"{folder.name}.{n}") for n in count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    try:
        folder.rename(aside)
    except OSError as error:
        what = f"cannot be moved aside: {error.strerror}"
        raise CannotCreateError(str(folder), what, "choose another folder") from None
    return f"the run that was in {folder} is now in {aside}"


def _barely_begun(folder: Path) -> bool:
    """Whether a folder holds nothing but what a run writes before its manifest, drafts included."""
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return LOCK in names and all(name in (LOCK, EVENTS, CONFIG) or name.startswith(".") for name in names)


def write_json(value: Mapping[str, Any], path: Path) -> None:
    """JSON for people, put in place at once and for good; NaN and infinity as text."""
    text = json.dumps(spelled(value), indent=1, ensure_ascii=False, allow_nan=False)
    disk.put(path, text.encode())


def spelled(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes text."""
    if isinstance(value, Mapping):
        return {k: spelled(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [spelled(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def whole_events(path: Path) -> Iterator[Event | None]:
    """What was written to its end, in order; None for a line that says nothing any more.

    A line that a crash tore is passed over: it is the last one, or an attempt begins after it.
    """
    torn = False
    for line in _lines(path):
        try:
            event = load(line.decode()) if line.endswith(b"\n") else None
        except (ValueError, KeyError, TypeError, AttributeError):
            event = None
        if torn and not isinstance(event, RunStarted):
            yield None
        torn = event is None
        if event is not None:
            yield event


def _lines(path: Path) -> Iterator[bytes]:
    """Those of a log that may not be there yet; an empty one ends what was torn."""
    if path.is_file():
        with path.open("rb") as file:
            yield from (line for line in file if line.strip())
