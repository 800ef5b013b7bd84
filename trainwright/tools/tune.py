"""Searching for the values of a recipe that are best on its validation part: a study is a folder of trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainwright.core.config import Budget
from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.schema import check
from trainwright.engine.ranks import launched
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import assemble, in_steps, try_first
from trainwright.runs.changed import changed, told
from trainwright.runs.directory import STUDY, new_folder
from trainwright.runs.options import tune as options
from trainwright.runs.private import safe
from trainwright.runs.quiet import each_once
from trainwright.runs.recipe import Recipe, plain, read, write
from trainwright.runs.recorded import silent
from trainwright.tools.crew import run_crew
from trainwright.tools.searched import Search, end, write_table
from trainwright.tools.space import asked_space, own_values, read_space, text_of
from trainwright.tools.study import (
    RECIPE,
    Plan,
    known_address,
    mutex,
    new_id,
    read_plan,
    with_address,
    write_plan,
)
from trainwright.tools.trial import Told, Worker

_TRIALS = 40  # unless told, as in the trade
_COSTS = {"seconds": "seconds", "size": "parameters"}

Say = Callable[[str], None]


def tune(
    recipe: str | Path | Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    *,
    space: Sequence[str] | Mapping[str, Any] | None = None,
    trials: int | None = None,
    time: str | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    objectives: Sequence[str] | None = None,
    seed: int | None = None,
    workers: int = 1,
    storage: str | None = None,
    out: str | Path | None = None,
    join: bool = False,
    quiet: bool = False,
    to_stderr: bool = False,
    say: Say = lambda text: None,
) -> Search:
    """Search for the values of a recipe that are best on its validation part, and score the best once on its test part.

    Every trial is a run in the folder ``trials`` of the study; none of them sees the test part. The same call goes on
    with a study that was interrupted, and finds more where it asks for more trials. At the end the best recipe is
    written to ``best.toml`` and trained again, into ``best``: its test score is the honest one.

    Args:
        recipe: as `train` takes it; its table ``tune`` holds what is not said here. Or the folder of a study.
        changes: dotted keys to set for all trials.
        space: what is searched: ``["optimizer.lr=1e-5..1e-1:log", "model.depth=2..6", "optimizer.name=adamw,sgd"]``, or
            a dict of keys and ranges; a key that is only named has the range that its option suggests.
        trials: in all; 40 where neither this nor ``time`` is given.
        time: for all trials together, such as "2 hours"; with several workers, of each.
        sampler: "tpe", "gp", "cmaes", "nsga2", "random" or "grid"; tpe unless told.
        pruner: "none", "median", "hyperband" or "asha"; none unless told.
        objectives: "score" is the monitor; "seconds", "size" or the name of a metric may be sought as well.
        seed: of the search.
        workers: processes of this machine that train at once.
        storage: the address of a database, such as "sqlite:///search.db"; a file in the folder unless given.
        out: the folder of the study; ``runs/NAME-tune`` unless given.
        join: only run trials of a study that is there, and leave its end to others.
        quiet: say nothing but warnings and errors.
        to_stderr: speak on standard error.
        say: is told of every trial.
    """
    if launched() is not None:
        raise UserError(
            "tune", "cannot search under torchrun", "start it by itself; workers train several trials at once"
        )
    if workers < 1:
        raise UserError("workers", f"{workers} processes are none", "write how many there shall be, such as 2")
    more = {"trials": trials, "time": time, "sampler": sampler, "pruner": pruner, "seed": seed}
    asked: dict[str, Any] = {k: v for k, v in more.items() if v is not None}
    if objectives is not None:
        asked["objectives"] = list(objectives)
    folder = Path(recipe).expanduser() if isinstance(recipe, str | Path) else None
    if folder is not None and (folder / STUDY).is_file():
        others = [k for k in ("sampler", "pruner", "objectives", "seed") if k in asked]
        given = [*(changes or {}), *(["space"] if space else []), *others]
        if given or out is not None:
            what = f"holds a search that can only go on as it is; {given[0] if given else 'out'} would change it"
            raise UserError(str(recipe), what, "name a recipe for a new one")
        plan = _longer(with_address(read_plan(folder), storage), asked)
        source: Mapping[str, Any] = plain(read(folder / RECIPE).config.model_dump())
        say(f"{folder} holds a search: it goes on")
    else:
        folder, plan, source = _begun(recipe, changes or {}, space, asked, workers, storage, out, join, say)
    plan = replace(plan, workers=max(workers, 1))
    with mutex(folder):
        write_plan(plan, folder)
    search = Search(folder, plan)
    with each_once():
        reason = _crew(search, join, say) if workers > 1 else _alone(search, source, say)
        if reason == "done" and not join:
            end(search, source, {"quiet": quiet, "to_stderr": to_stderr}, say)
    search.interrupted = "" if reason == "done" else reason
    return search


def _alone(search: Search, source: Mapping[str, Any], say: Say) -> str:

    def seen(trial: Told) -> None:
        write_table(search)  # the studio reads it
        say(search.line(trial))

    worker = Worker(search.path, search.plan, source, seen)
    try:
        return worker.run()
    finally:
        worker.close()


def _crew(search: Search, join: bool, say: Say) -> str:
    """Several processes; what they finish is told as it is seen."""
    seen = {t.number for t in search.trials if t.state != "running"}

    def look() -> None:
        for trial in search.trials:
            if trial.state != "running" and trial.number not in seen:
                seen.add(trial.number)
                write_table(search)
                say(search.line(trial))

    extra = ["--storage", search.plan.storage] if search.plan.storage else []
    code = run_crew(search.plan.workers, ["tune", str(search.path), "--join", "--quiet", *extra], look)
    return "done" if code == 0 else "SIGINT"


def _begun(
    recipe: str | Path | Mapping[str, Any],
    changes: Mapping[str, Any],
    space: Sequence[str] | Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    workers: int,
    storage: str | None,
    out: str | Path | None,
    join: bool,
    say: Say,
) -> tuple[Path, Plan, Mapping[str, Any]]:
    """A new study, or the one of the same recipe that is there."""
    whole = read(recipe, changes)
    wanted = {**whole.config.tune, **asked}
    if isinstance(space, Mapping):
        wanted["space"], space = dict(space), None
    wanted = check(options, wanted, "tune")
    source = plain({**whole.config.model_dump(), "tune": {}})
    checked = read(source)
    if checked.config.ranks > 1:
        what = f"is {checked.config.ranks}, and each trial is trained by one process"
        raise UserError("ranks", what, "write ranks = 1; workers train several trials at once")
    known = asked_space(list(space or ()), wanted["space"], changes)
    plan = _plan(wanted, read_space(known, checked, source), storage)
    folder = Path(out).expanduser() if out is not None else Path("runs") / f"{_label(checked)}-tune"
    if (folder / STUDY).is_file():
        say(f"{folder} holds this search: it goes on")
        return folder, _same(folder, plan, source, storage), source
    if join:
        raise UserError(str(folder), "holds no search to join", "begin one without --join")
    plan = _probed(checked, plan)
    made = new_folder(folder, "")
    write(safe(source), made / RECIPE)
    write_plan(plan, made)
    return made, plan, source


def _plan(wanted: Mapping[str, Any], space: Any, storage: str | None) -> Plan:
    """What is asked, as far as it can be told without the data; UserError for what does not go together."""
    trials = wanted["trials"]
    seconds = None if wanted["time"] is None else _seconds(wanted["time"])
    objectives = tuple(wanted["objectives"])
    if doubled := next((o for o in objectives if objectives.count(o) > 1), None):
        raise UserError("objectives", f"'{doubled}' is named twice", "name every one once")
    sampler, pruner = wanted["sampler"], wanted["pruner"]
    if len(objectives) > 1 and pruner != "none":
        raise UserError("pruner", "ends trials by one score, and several are sought", 'write pruner = "none"')
    if objectives != ("score",) and pruner != "none":
        raise UserError("pruner", "ends trials by the monitor, and another is sought", 'write objectives = ["score"]')
    if len(objectives) > 1 and sampler == "cmaes":
        raise UserError("sampler", "cmaes seeks one score, and several are asked for", 'write sampler = "nsga2"')
    if sampler == "cmaes":
        words = [r.key for r in space.values() if r.choices is not None]
        if words:
            what = f"cmaes takes ranges of numbers, and {words[0]} is a choice"
            raise UserError("sampler", what, 'write sampler = "tpe" or "nsga2"')
        if len(space) < 2:
            raise UserError("sampler", "cmaes needs two keys or more", 'write sampler = "tpe" or "gp"')
    if sampler == "grid":
        for span in space.values():
            span.grid()
    elif pointed := next((r for r in space.values() if r.points is not None), None):
        raise UserError(pointed.key, f"points belong to a grid, and the sampler is {sampler}", 'write sampler = "grid"')
    if trials is None and seconds is None and sampler != "grid":
        trials = _TRIALS
    return Plan(
        space=space, sampler=sampler, pruner=pruner, objectives=objectives, trials=trials, seconds=seconds,
        seed=wanted["seed"], storage=known_address(storage) if storage else "",
    )  # fmt: skip


def _seconds(text: str) -> float:
    try:
        amount = Budget.read(text)
    except ValueError as error:
        raise UserError("time", str(error), "write '30 minutes' or '2 hours'") from None
    if amount.unit != "seconds":
        instead = "write '30 minutes' or '2 hours'; epochs belong to the budget of the recipe"
        raise UserError("time", f"'{text}' is no time", instead)
    return amount.amount


def _probed(recipe: Recipe, plan: Plan) -> Plan:
    """What only the data tell: which way each objective is better, how often a trial is judged, and that it can be."""
    config = recipe.config
    runtime = Runtime.start(config.device, config.precision, "ddp")
    pieces = assemble(recipe, runtime, silent)
    try:
        try_first(pieces)
        if "valid" not in pieces.evaluations:
            what = "a search chooses by the validation part, and there is none"
            raise UserError("data.valid", what, "hold one out: valid = 0.1")
        monitor, better = pieces.monitor()
        directions, names = [], []
        for objective in plan.objectives:
            if objective in _COSTS:
                directions.append("lower")
                names.append(_COSTS[objective])
                continue
            name = monitor if objective == "score" else objective
            known = {"loss": "lower", **{n: m.better for n, m in pieces.metrics.items()}}
            if name not in known:
                instead = did_you_mean(name, ["score", *_COSTS, *known])
                raise UserError("objectives", f"'{name}' is not measured", instead)
            if name == "loss" and (moved := next((k for k in plan.space if k.startswith("task.loss")), None)):
                what = "changes what the loss is, and the loss is what is sought"
                raise UserError(moved, what, 'seek a metric: monitor = "…", or leave it out')
            directions.append(better if objective == "score" else known[name])
            names.append(f"valid {name}")
        return replace(
            plan, directions=tuple(directions), names=tuple(names), evaluations=_evaluations(recipe, pieces.per_epoch),
            id=new_id(_label(recipe), plan.seed, plan.storage), first=own_values(plan.space, recipe),
        )  # fmt: skip
    finally:
        pieces.close()
        runtime.ranks.close()


def _evaluations(recipe: Recipe, per_epoch: int) -> int:
    """Of a whole trial; 0 where times are measured first."""
    texts = (recipe.config.budget, recipe.config.eval_every)
    if any(Budget.read(t).unit == "seconds" for t in texts):
        return 0
    steps, every = (in_steps(t, per_epoch, None) for t in texts)
    return -(-steps // every)


def _same(folder: Path, plan: Plan, source: Mapping[str, Any], storage: str | None) -> Plan:
    """The plan of the study that is there; UserError unless it is of this recipe and this space."""
    there = with_address(read_plan(folder), storage)
    instead = "choose another folder with --out, or go on with it: " + f"trainwright tune {folder}"
    found = changed(plain(safe(read(folder / RECIPE).config.model_dump())), safe(dict(source)))
    if found:
        raise UserError(str(folder), f"holds a search of another recipe ({told(found)})", instead)
    if list(map(text_of, there.space.values())) != list(map(text_of, plan.space.values())):
        raise UserError(str(folder), "holds a search of another space", instead)
    for name in ("sampler", "pruner", "objectives", "seed"):
        was, now = getattr(there, name), getattr(plan, name)
        if was != now:
            raise UserError(str(folder), f"holds a search with {name} {was}, not {now}", instead)
    return replace(there, trials=plan.trials, seconds=plan.seconds)


def _longer(plan: Plan, asked: Mapping[str, Any]) -> Plan:
    """With another number of trials, or more time."""
    trials, time = asked.get("trials"), asked.get("time")
    if trials is not None and trials < 1:
        raise UserError("trials", f"{trials} trials are none", "write how many there shall be, such as 40")
    plan = plan if trials is None else replace(plan, trials=trials)
    return plan if time is None else replace(plan, seconds=_seconds(time))


def _label(recipe: Recipe) -> str:
    return str(recipe.config.name or recipe.config.task["name"])
