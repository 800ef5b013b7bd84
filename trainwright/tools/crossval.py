"""Cross-validation: one recipe trained once for each fold, and what the runs say together."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainwright.core.errors import NumericsError, TrainwrightError, UserError
from trainwright.core.events import Event, StepDone, Stop
from trainwright.core.redaction import redacted
from trainwright.data.folds import Fold
from trainwright.engine import checkpoint
from trainwright.engine.ranks import launched
from trainwright.runs.changed import changed, told
from trainwright.runs.directory import CHECKPOINTS, FOLDS, MANIFEST, new_folder
from trainwright.runs.lock import Lock, LockedError
from trainwright.runs.planning import shared
from trainwright.runs.private import safe
from trainwright.runs.quiet import each_once
from trainwright.runs.recipe import plain, read, write
from trainwright.runs.run import Run
from trainwright.runs.train import resume, train
from trainwright.tools.crew import crewed, orphaned, run_crew
from trainwright.tools.folded import RECIPE, Folds, Plan, finish, read_plan, write_plan
from trainwright.tools.study import mutex

WORKERS = "workers"
_MANNERS = ("auto", "random", "stratified", "grouped", "chronological")

Say = Callable[[str], None]


def crossval(
    recipe: str | Path | Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    *,
    folds: int | None = None,
    repeats: int | None = None,
    split: str | None = None,
    group: str | None = None,
    time: str | None = None,
    space: Sequence[str] | Mapping[str, Any] | None = None,
    trials: int | None = None,
    workers: int = 1,
    out: str | Path | None = None,
    join: bool = False,
    quiet: bool = False,
    to_stderr: bool = False,
    say: Say = lambda text: None,
) -> Folds:
    """Train a recipe once for each fold, each time judged on that fold, and tell mean, deviation and interval.

    Folds are scikit-learn's for the recipe's seed. Each is a run in the folder, ``fold-1`` and so on, whose test part
    is the fold; what its processor knows of the data comes from its own training part. The same call goes on where it
    was interrupted. A test part that the data come with is left out, and chooses and scores nothing.

    Args:
        recipe: as `train` takes it; or the folder of a cross-validation, which then goes on.
        changes: dotted keys to set.
        folds: how many; 5 unless told.
        repeats: how often all is divided anew; 1 unless told.
        split: "random", "stratified", "grouped" or "chronological" (each fold lies behind all that is trained on);
            as the recipe says unless told, stratified for classes.
        group: a field; records with the same value are in one fold.
        time: a field of numbers or dates, by which records are in order.
        space: search within each fold for the best of these values, as `tune` does, before the fold is judged: the
            score is then that of the whole procedure (nested).
        trials: of the search within each fold; 20 unless told.
        workers: processes of this machine that train at once.
        out: the folder of all runs; ``runs/NAME-crossval`` unless given.
        join: only train folds of a cross-validation that is there, and leave its end to others.
        quiet: say nothing but warnings and errors.
        to_stderr: speak on standard error.
        say: is told before each fold which it is.
    """
    if launched() is not None:
        raise UserError("crossval", "cannot run under torchrun", "write ranks = 2 into the recipe instead")
    if workers < 1:
        raise UserError("workers", f"{workers} processes are none", "write how many there shall be, such as 2")
    asked = {"folds": folds, "repeats": repeats, "split": split, "group": group, "time": time, "trials": trials}
    given = {k: v for k, v in asked.items() if v is not None} | ({"space": space} if space else {})
    folder = Path(recipe).expanduser() if isinstance(recipe, str | Path) else None
    if folder is not None and (folder / FOLDS).is_file():
        if given or changes or out is not None:
            name = next(iter([*given, *(changes or {}), "out"]))
            what = f"holds a cross-validation that can only go on as it is; {name} would change it"
            raise UserError(str(recipe), what, "name a recipe for a new one")
        source: Mapping[str, Any] = plain(read(folder / RECIPE).config.model_dump())
    else:
        folder, source = _begun(recipe, changes or {}, given, out, join)
    found = Folds(folder)
    fresh = not found.runs and not found.failed
    if workers > 1:
        code = run_crew(workers, ["crossval", str(folder), "--join", "--quiet"], lambda: None)
        found.interrupted = "" if code == 0 else "SIGINT"
    else:
        try:
            with each_once():
                _trained(found, source, {"quiet": quiet, "to_stderr": to_stderr}, say)
        except UserError:
            if fresh and not found.runs and not any(found.folder(fold).exists() for fold in found.all):
                shutil.rmtree(folder)  # so that the mistake can be mended under the same name
            raise
    if not found.interrupted and not join:
        finish(found, say)
    return found


def _begun(
    recipe: str | Path | Mapping[str, Any],
    changes: Mapping[str, Any],
    given: Mapping[str, Any],
    out: str | Path | None,
    join: bool,
) -> tuple[Path, Mapping[str, Any]]:
    """A new folder, or the one of the same cross-validation that is there."""
    checked = read(recipe, changes)
    source = plain(checked.config.model_dump())
    data = {k: v for k, v in source["data"].items() if k != "fold" and (k != "test" or isinstance(v, str))}
    for key in ("split", "group", "time"):
        if key in given:
            data = {k: v for k, v in data.items() if k not in ("split", "group", "time") or k in given}
            data[key] = given[key]
    if data.get("split") == "auto":
        data.pop("split")
    if (how := data.get("split", "auto")) not in _MANNERS:
        known = ", ".join(_MANNERS[1:])
        raise UserError("split", f"'{how}' makes no folds", f"choose one of: {known}")
    source = plain(read({**source, "data": data}).config.model_dump())
    plan = Plan(
        folds=given.get("folds", 5), repeats=given.get("repeats", 1), seed=int(checked.config.seed),
        space=_spaces(given.get("space")), trials=given.get("trials", 20),
    )  # fmt: skip
    _possible(plan, given)
    if plan.repeats > 1 and (how == "chronological" or "time" in data):
        raise UserError("repeats", "stretches of time have one order, and cannot be drawn again", "leave it out")
    label = checked.config.name or checked.config.task["name"]
    folder = Path(out).expanduser() if out is not None else Path("runs") / f"{label}-crossval"
    if (folder / FOLDS).is_file():
        return _same(folder, plan, source), source
    if join:
        raise UserError(str(folder), "holds no cross-validation to join", "begin one without --join")
    made = new_folder(folder, "")
    write(safe(source), made / RECIPE)
    write_plan(plan, made)
    return made, source


def _possible(plan: Plan, given: Mapping[str, Any]) -> None:
    if plan.folds < 2:
        raise UserError("folds", f"{plan.folds} divide nothing", "write how many there shall be, such as 5")
    if plan.repeats < 1:
        raise UserError("repeats", f"{plan.repeats} repetitions are none", "write how many there shall be, such as 3")
    if "trials" in given and not plan.space:
        raise UserError("trials", "belongs to a search within each fold", "name what is searched with --space")
    if plan.trials < 1:
        raise UserError("trials", f"{plan.trials} trials are none", "write how many there shall be, such as 20")


def _same(folder: Path, plan: Plan, source: Mapping[str, Any]) -> Path:
    """The folder, unless it is of another recipe or of other folds."""
    there, instead = (
        read_plan(folder),
        f"choose another folder with --out, or go on with it: trainwright crossval {folder}",
    )
    if found := changed(plain(safe(read(folder / RECIPE).config.model_dump())), safe(dict(source))):
        raise UserError(str(folder), f"holds a cross-validation of another recipe ({told(found)})", instead)
    if found := changed(there.as_json(), plan.as_json()):
        raise UserError(str(folder), f"holds another cross-validation ({told(found)})", instead)
    return folder


def _spaces(space: Any) -> tuple[str, ...]:
    """A space as the command line writes it."""
    if isinstance(space, Mapping):
        listed = {k: ",".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in space.items()}
        if odd := next((k for k, v in listed.items() if not isinstance(v, str)), None):
            raise UserError(odd, "is no text", f"write {odd}=LOW..HIGH or {odd}=A,B")
        return tuple(k if v == "auto" else f"{k}={v}" for k, v in listed.items())
    return tuple(space or ())


def _trained(found: Folds, source: Mapping[str, Any], speech: Mapping[str, Any], say: Say) -> None:
    """Every fold that is not finished and that nobody else trains."""
    for fold in found.all:
        folder = found.folder(fold)
        if found.done(fold):
            continue
        place = found.path / WORKERS / folder.name
        place.mkdir(parents=True, exist_ok=True)
        try:
            lock = Lock(place)
        except LockedError:
            continue
        try:
            if found.done(fold):
                continue
            say(f"{folder.name}, {found.all.index(fold) + 1} of {len(found.all)}")
            run = _run(found, fold, source, speech)
            with mutex(found.path):
                found.note(fold, "")
        except TrainwrightError as error:
            if error.exit_code != NumericsError.exit_code:
                raise
            with mutex(found.path):
                found.note(fold, redacted(str(error)))
            continue
        finally:
            lock.release()
        if run is not None and run.state == "interrupted":
            found.interrupted = run.view.ended.reason if run.view.ended else "SIGINT"
            return


def _run(found: Folds, fold: Fold, source: Mapping[str, Any], speech: Mapping[str, Any]) -> Run | None:
    """One fold to its end or to an interruption; with a space, the best of a search within its training part."""
    folder, observers = found.folder(fold), [_orphan] if crewed() else []  # of several ranks, none can be told
    changes = {"data.fold": {"of": fold.of, "number": fold.number, "repeat": fold.repeat, "seed": fold.seed}}
    if found.plan.space:
        from trainwright.tools.tune import tune

        search = tune(source, changes, space=found.plan.space, trials=found.plan.trials, out=folder, **speech)
        if search.interrupted:
            found.interrupted = search.interrupted
        return search.run
    if (folder / MANIFEST).is_file() and checkpoint.steps(folder / CHECKPOINTS):
        return resume(folder, observers=observers, **speech)
    if source.get("pace", "auto") == "auto":
        changes |= shared(found.folder(other) for other in found.all if other != fold)
    return train(source, changes, out=folder, exist_ok=True, observers=observers, **speech)


def _orphan(event: Event) -> Stop | None:
    """Ends a fold whose cross-validation is gone."""
    return Stop("SIGTERM", "interrupted") if isinstance(event, StepDone) and orphaned() else None
