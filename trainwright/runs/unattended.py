"""Training that nobody watches: the same command begins a run, goes on with it, or finds that it is finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainwright.core.config import Budget
from trainwright.core.errors import UserError
from trainwright.core.redaction import HIDDEN
from trainwright.engine import checkpoint
from trainwright.engine.ranks import launched
from trainwright.runs.changed import changed, told
from trainwright.runs.directory import CHECKPOINTS, CONFIG, MANIFEST
from trainwright.runs.private import safe
from trainwright.runs.recipe import read
from trainwright.runs.run import Run, open_run
from trainwright.runs.train import resume, train

_DONE = ("finished", "stopped")


def train_or_resume(
    recipe: str | Path | Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    *,
    out: str | Path,
    quiet: bool = False,
    to_stderr: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Run:
    """Go on with the run of this recipe in ``out`` where it is unfinished, begin it where there is none.

    A run that was killed before its first checkpoint is moved aside, whole, and begins anew. A finished one is returned
    as it is. Raises UserError where ``out`` holds a run of another recipe.

    Args:
        recipe: as `train` takes it.
        changes: dotted keys to set.
        out: the run folder.
        quiet: say nothing but warnings and errors.
        to_stderr: speak on standard error.
        say: is told which it is.
    """
    if (place := launched()) is not None and place[1] > 1:
        what = "cannot be agreed on by processes that were started together"
        raise UserError("--resume auto", what, "write ranks = … in the recipe and start one process")
    folder = Path(out).expanduser()
    speech: dict[str, Any] = {"quiet": quiet, "to_stderr": to_stderr}
    if not (folder / MANIFEST).is_file():
        say(f"{folder} holds no run yet: it begins")
        return train(recipe, changes, out=out, exist_ok=True, **speech)
    run = open_run(folder)
    _must_be_of(recipe, changes, run)
    if run.state in _DONE:
        ended = run.view.ended
        say(f"{folder} is {run.state} after step {run.view.step:,} ({ended.reason if ended else ''}): nothing to do")
        return run
    if not checkpoint.steps(folder / CHECKPOINTS) and run.state != "running":
        say(f"{folder} holds a run of this recipe that has no checkpoint yet: it begins anew")
        return train(recipe, changes, out=out, exist_ok=True, **speech)
    say(f"{folder} holds an unfinished run of this recipe: it goes on")
    return resume(folder, _secrets_again(recipe, changes, run), **speech)


def _must_be_of(recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None, run: Run) -> None:
    """UserError unless the run's latest or first configuration is this recipe's."""
    if run.manifest["kind"] == "own":
        raise UserError(str(run.path), "holds a run of a module of your own, not of a recipe", "choose another folder")
    asked = _compared(safe(read(recipe, changes).written()))
    files = [run.path / CONFIG, *sorted(run.path.glob("config-*.toml"))]
    recorded = [_compared(_recorded(file, run)) for file in files]
    found = [changed(before, _decided(asked, before)) for before in recorded]
    if all(found):
        instead = f"choose another folder with --out, or change that run: trainwright resume {run.path} key=value"
        raise UserError(str(run.path), f"holds a run of another recipe ({told(found[0])})", instead)


def _recorded(file: Path, run: Run) -> dict[str, Any]:
    """The recipe of a file of the run, a budget in time as it was written."""
    values = read(file).written()
    before = run.manifest["plan"]["budget"]
    timed = Budget.read(before).unit == "seconds" and values["budget"] == f"{run.manifest['plan']['steps']} steps"
    return {**values, "budget": before} if timed else values


def _decided(asked: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe leaves open as the run decided it."""
    return {k: before.get(k) if k in ("pace", "precision") and v == "auto" else v for k, v in asked.items()}


def _compared(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what plays no role in what is learned."""
    return {k: v for k, v in values.items() if k not in ("name", "workers", "worker_timeout")}


def _secrets_again(
    recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None, run: Run
) -> dict[str, Any]:
    """The values that no file of the run holds, out of the recipe."""
    found = changed(read(run.path).written(), read(recipe, changes).written())
    return {key: now for key, (was, now) in found.items() if isinstance(was, str) and HIDDEN in was}
