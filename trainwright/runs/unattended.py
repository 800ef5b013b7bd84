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
from trainwright.engine.runtime import Runtime
from trainwright.runs.changed import changed, told
from trainwright.runs.directory import CHECKPOINTS, CONFIG, MANIFEST
from trainwright.runs.private import safe
from trainwright.runs.recipe import read
from trainwright.runs.run import Run, open_run
from trainwright.runs.together import agreed, together
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
    folder = Path(out).expanduser()
    speech: dict[str, Any] = {"quiet": quiet, "to_stderr": to_stderr}

    def decided() -> str:
        what, told = _found(recipe, changes, folder)
        say(told)
        return what

    match _agreed(recipe, changes, decided):
        case "done":
            return open_run(folder)
        case "resume":
            run = open_run(folder)
            again = {**_secrets_again(recipe, changes, run), **_as_many(recipe, changes, run)}
            return resume(folder, again, **speech)
        case _:
            return train(recipe, changes, out=out, exist_ok=True, **speech)


def _found(recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None, folder: Path) -> tuple[str, str]:
    """What is to be done, by what lies in the folder, and how that is said."""
    if not (folder / MANIFEST).is_file():
        return "train", f"{folder} holds no run yet: it begins"
    run = open_run(folder)
    _must_be_of(recipe, changes, run)
    if run.state in _DONE:
        ended = run.view.ended
        why = ended.reason if ended else ""
        return "done", f"{folder} is {run.state} after step {run.view.step:,} ({why}): nothing to do"
    if not checkpoint.steps(folder / CHECKPOINTS) and run.state != "running":
        return "train", f"{folder} holds a run of this recipe that has no checkpoint yet: it begins anew"
    return "resume", f"{folder} holds an unfinished run of this recipe: it goes on"


def _agreed(
    recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None, decide: Callable[[], str]
) -> str:
    """What is to be done, on all ranks the same where there are several."""
    if launched() is None:
        return decide()
    config = read(recipe, changes).config
    ranks = Runtime.of(config).ranks
    with together(ranks):
        return agreed(ranks, decide)


def _as_many(recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None, run: Run) -> dict[str, Any]:
    """The number of processes, where it is another one now."""
    now, before = read(recipe, changes).config.ranks, run.config.get("ranks", 1)
    return {} if now == before else {"ranks": now}


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
    return {k: v for k, v in values.items() if k not in ("name", "ranks", "workers", "worker_timeout")}


def _secrets_again(
    recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None, run: Run
) -> dict[str, Any]:
    """The values that no file of the run holds, out of the recipe."""
    found = changed(read(run.path).written(), read(recipe, changes).written())
    return {key: now for key, (was, now) in found.items() if isinstance(was, str) and HIDDEN in was}
