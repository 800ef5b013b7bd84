"""Training by several processes: started, started again where one was lost, and the run they made is opened."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from trainwright.core.errors import RanksError, UserError
from trainwright.core.events import Observer
from trainwright.engine import checkpoint
from trainwright.engine.ranks import AGAIN, Ended, Meeting, run_ranks
from trainwright.runs.console import Console
from trainwright.runs.directory import CHECKPOINTS, MANIFEST, moved_aside, new_folder
from trainwright.runs.home import Trail
from trainwright.runs.quiet import speaker
from trainwright.runs.recipe import Recipe, plain, write
from trainwright.runs.run import Run

_PYTHON = [sys.executable, "-m", "trainwright"]
_OF_A_MACHINE = ("data", "device", "name", "workers", "worker_timeout", "store", "plugins")  # may differ among them


def launch(
    recipe: Recipe,
    out: str | Path | None,
    observers: Sequence[Observer],
    quiet: bool,
    exist_ok: bool,
    meeting: Meeting,
) -> Run:
    """Start the ranks of this machine, wait for them, and open the run they made.

    With other machines it is the first rank that makes the folder: a machine that comes back finds the run in it.
    """
    only_here(observers)
    here = _share(recipe.config.ranks, meeting)
    if not meeting.alone and (out is None or exist_ok):
        what = "is needed where several machines train" if out is None else "cannot be moved aside by several machines"
        raise UserError("--out", what, "name a folder that all of them see, empty or not there yet, with --out")
    moved = moved_aside(out) if exist_ok and out is not None else ""
    tell([*recipe.said, *([moved] if moved else [])], quiet)
    label = recipe.config.name or recipe.config.task["name"]
    folder = new_folder(out, label) if meeting.alone or out is None else Path(out).expanduser()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "recipe.toml"
        write(plain(recipe.config.model_dump()), file)
        arguments = ["train", str(file), "--out", str(folder), "--resume", "auto"]
        return _carried_out(folder, arguments, here, quiet, meeting, _label(recipe), 0)


def relaunch(run: Run, recipe: Recipe, changes: Mapping[str, Any], quiet: bool, meeting: Meeting) -> Run:
    """The same for a run that goes on."""
    settings = [a for key, value in changes.items() for a in ("--set", f"{key}={_toml(value)}")]
    here = _share(recipe.config.ranks, meeting)
    before = len(run.view.attempts)
    return _carried_out(
        run.path, ["resume", str(run.path), *settings], here, quiet, meeting, run.manifest.get("id", ""), before
    )


def meeting_of(nodes: int, rendezvous: str) -> Meeting:
    """Where the machines meet; UserError where one of the two is missing."""
    if nodes < 1:
        raise UserError("--nodes", f"{nodes} machines are none", "write how many there are")
    if nodes == 1:
        if rendezvous:
            raise UserError("--rendezvous", "is where several machines meet", "say how many with --nodes")
        return Meeting()
    if not rendezvous:
        told = f"{nodes} machines must know where to meet"
        raise UserError("--nodes", told, "name one of them with --rendezvous HOST:PORT, the same on all")
    return Meeting.read(nodes, rendezvous)


def _share(ranks: int, meeting: Meeting) -> int:
    """The ranks of this machine."""
    if ranks % meeting.nodes:
        told = f"{ranks} processes cannot be shared by {meeting.nodes} machines"
        raise UserError("ranks", told, "each machine must start as many; --processes says how many that are")
    return ranks // meeting.nodes


def _label(recipe: Recipe) -> str:
    """What all machines of a training have in common, and others do not."""
    config = {k: v for k, v in recipe.config.model_dump().items() if k not in _OF_A_MACHINE}
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _carried_out(
    folder: Path, arguments: Sequence[str], ranks: int, quiet: bool, meeting: Meeting, label: str, attempts: int
) -> Run:
    """Run the command as so many ranks, and open what they made."""
    if not meeting.alone:
        where = f"{meeting.host}:{meeting.port}"
        what = f"{meeting.nodes} machines meet at {where} within ten minutes, and believe whoever comes there"
        Console(stderr=True).say(f"warning  {what}: only in a network that you trust", "warning")
    trail = Trail(folder) if folder.is_dir() else None

    def place() -> Path:
        return folder if trail is None or (folder / MANIFEST).is_file() else trail.here()

    ended = run_ranks(
        ranks,
        [*_PYTHON, *arguments, *(["--quiet"] if quiet else [])],
        meeting=meeting,
        label=label or "ranks",
        progress=lambda: _reached(place()),
        lost=_asked_again(place, attempts),
    )
    found = place()
    if trail is not None:
        trail.end()
    return opened(found, ended, attempts)


def _reached(folder: Path) -> int:
    return max(checkpoint.steps(folder / CHECKPOINTS), default=-1)


def _asked_again(place: Callable[[], Path], attempts: int) -> Callable[[Ended, int], bool]:
    """Starts the ranks again, unless they had done all there was to do; a person is told."""

    def lost(ended: Ended, times: int) -> bool:
        if _done(place(), attempts):
            return False
        step = _reached(place())
        whence = f"from the checkpoint of step {step:,}" if step >= 0 else "from the start, as nothing was saved yet"
        more = f" ({times} of {AGAIN} times without one in between)" if times > 1 else ""
        speaker(True).say(f"warning  {ended.message}; the training goes on {whence}{more}", "warning")
        return True

    return lost


def _done(folder: Path, attempts: int) -> bool:
    """Whether an attempt of these ranks has told its end."""
    if not (folder / MANIFEST).is_file():
        return False
    view = Run(folder).view
    return len(view.attempts) > attempts and view.ended is not None and view.ended.outcome in ("finished", "stopped")


def opened(folder: Path, ended: Ended, attempts: int = 0) -> Run:
    """The run that other processes made or took up; what ended them, where that was not its end.

    Args:
        folder: of the run.
        ended: the processes.
        attempts: that there were before.
    """
    if not folder.is_dir():
        gone = f"the run folder {folder} is gone; what was rescued is told above"
        raise ended.raised(gone) if ended.code else RanksError(gone)
    run = Run(folder) if (folder / MANIFEST).is_file() else None
    begun = run is not None and len(run.view.attempts) > attempts
    if run is None and not any(folder.iterdir()):
        folder.rmdir()
    if run is None or (ended.code and not begun):
        raise ended.raised("this was before the first step")
    told = run.view.ended
    if ended.code and told is not None and told.outcome in ("finished", "stopped"):
        speaker(True).say(f"warning  {ended.message}; by then the run was complete", "warning")
    elif ended.code and (told is None or told.outcome != "interrupted"):
        there = checkpoint.steps(folder / CHECKPOINTS)
        more = f"; go on from the last checkpoint: trainwright resume {folder}" if there else ""
        raise ended.raised(f"{folder} tells how far the training came{more}")
    return run


def only_here(observers: Sequence[Observer]) -> None:
    """UserError where functions would have to be sent to other processes."""
    if observers:
        raise UserError("observers", "functions cannot be sent to other processes", "start the script with torchrun")


def tell(said: Sequence[str], quiet: bool) -> None:
    """What was translated, before other processes speak."""
    console = Console()
    for line in () if quiet else said:
        console.say(f"note     {line}")


def _toml(value: Any) -> str:
    """On one line, as the command line takes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return tomli_w.dumps({"value": value}).partition("=")[2].strip()
