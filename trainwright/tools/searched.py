"""What a search found: its trials, the best recipe, what mattered, and the honest score of the best trained again."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

from trainwright.core.errors import UserError
from trainwright.engine import disk
from trainwright.runs.directory import AGAIN, MANIFEST, moved_aside, write_json
from trainwright.runs.figures import aligned, duration, number
from trainwright.runs.lock import Lock, LockedError, locked
from trainwright.runs.planning import shared
from trainwright.runs.private import safe
from trainwright.runs.recipe import plain, read, write
from trainwright.runs.run import Run
from trainwright.runs.stored import stored_json
from trainwright.runs.train import train
from trainwright.runs.unattended import train_or_resume
from trainwright.runs.verdict import score_lines, verdicts
from trainwright.tools.pictures import draw_search
from trainwright.tools.space import changes_of
from trainwright.tools.study import BEST, Plan, opened, quiet_optuna, said
from trainwright.tools.trial import WORKERS, Told, trials_of

RESULT, TABLE = "result.json", "trials.csv"
_FEW = 5  # finished trials, below which nothing is said of what mattered


class Search:
    """A study, finished or not, read from its folder.

    Args:
        path: the folder.
        plan: what was asked.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self.interrupted = ""  # by which signal; empty where it was not
        self._study: Any = None

    def __repr__(self) -> str:
        return f"<Search {self.path} {len(self.finished)} of {self.plan.largest or '?'} trials finished>"

    @property
    def study(self) -> Any:
        """Optuna's own study, for whatever else it can tell."""
        if self._study is None:
            self._study = opened(self.path, self.plan)
        return self._study

    @property
    def trials(self) -> list[Told]:
        """Those that have begun."""
        return trials_of(self.study, self.plan, self.path)

    @property
    def finished(self) -> list[Told]:
        """Those that have a score."""
        return [t for t in self.trials if t.state == "finished"]

    @property
    def front(self) -> list[Told]:
        """The finished trials than which none is better in everything that is sought; of one objective, the best."""
        done = self.finished
        signs = [1.0 if d == "higher" else -1.0 for d in self.plan.directions]
        points = [[s * v for s, v in zip(signs, t.objectives, strict=True)] for t in done]
        first = max((p[0] for p in points), default=0.0)
        if len(signs) == 1:
            return [t for t, p in zip(done, points, strict=True) if p[0] == first][:1]
        kept = [t for t, p in zip(done, points, strict=True) if not any(_beats(q, p) for q in points)]
        return sorted(kept, key=lambda t: -signs[0] * t.objectives[0])

    @property
    def best(self) -> Told | None:
        """The best trial by the first objective; None where none has finished."""
        return next(iter(self.front), None)

    @property
    def recipe(self) -> Path:
        """The best recipe, once the search came to its end."""
        return self.path / BEST

    @property
    def run(self) -> Run | None:
        """The best trial trained again, with its score on the test part; None before the search came to its end."""
        return Run(self.path / AGAIN) if (self.path / AGAIN / MANIFEST).is_file() else None

    @property
    def importance(self) -> dict[str, float]:
        """The share of the differences between scores that each key explains, the largest first; empty of few trials.

        Source: Hutter, Hoos & Leyton-Brown 2014, "An efficient approach for assessing hyperparameter importance".
        """
        done = self.finished
        if len(done) < _FEW or len({t.objectives[0] for t in done}) < 2:
            return {}
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        with quiet_optuna():
            found = get_param_importances(
                self.study, evaluator=FanovaImportanceEvaluator(seed=0), target=lambda t: t.values[0]
            )
        return {key: float(share) for key, share in found.items()}

    def line(self, trial: Told) -> str:
        """A trial and the best so far, on one line."""
        total = f"/{self.plan.largest}" if self.plan.largest else ""
        reached = _reached(self.plan, trial.objectives) or f"{trial.state}{f': {trial.why}' if trial.why else ''}"
        best = self.best
        held = f"  best {number(best.objectives[0])} (trial {best.number + 1})" if best else ""
        return f"trial {trial.number + 1}{total}  {reached}{held}  {said(trial.values)}  {duration(trial.seconds)}"

    def lines(self, width: int = 100) -> list[str]:
        """What was found, for a person."""
        best, told = self.best, self.trials
        states = [t.state for t in told]
        counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
        out = [f"{len(told)} trials: {counts}"] if told else ["no trial has begun"]
        if best is None:
            return out
        reached = _reached(self.plan, best.objectives)
        out += aligned([("best", f"trial {best.number + 1}: {reached}"), ("", said(best.values))])
        if len(self.front) > 1:
            out.append("none is better in everything than one of these")
            out += aligned([("  trial", *self.plan.names, ""), *(
                (f"  {t.number + 1}", *map(number, t.objectives), said(t.values)) for t in self.front
            )])  # fmt: skip
        if matters := self.importance:
            out.append("what mattered, of the differences between scores")
            out += aligned([(f"  {key}", f"{share:.0%}") for key, share in matters.items()])
        return out + self._again(width)

    def _again(self, width: int) -> list[str]:
        """The scores of the best recipe trained again."""
        run = self.run
        ended = run.view.ended if run else None
        if run is None or ended is None or not ended.scores:
            return []
        monitor = run.manifest["monitor"]
        chosen = f"the validation part chose it among {len(self.trials)} trials, so its score there is too good"
        tested = any(k.startswith("test/") for k in ended.scores)
        head = "the best recipe, trained again" + ("" if tested else "; there is no test part, and so no honest score")
        found = verdicts(ended.scores, ended.baselines, ended.differences, monitor["name"], monitor["better"])
        rows = score_lines(ended.scores, ended.baselines, monitor["name"], width, ended.intervals)
        return [head, f"({chosen})", *rows, *(text for text, _ in found)]

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``result.json`` holds it."""
        best, run = self.best, self.run
        return {
            "objectives": list(self.plan.names),
            "better": list(self.plan.directions),
            "trials": [_row(t, self.path) for t in self.trials],
            "best": _row(best, self.path) if best else None,
            "front": [t.number for t in self.front],
            "importance": self.importance,
            "recipe": str(self.recipe) if self.recipe.is_file() else None,
            "run": str(run.path) if run else None,
            "scores": run.metrics if run else {},
        }


def end(search: Search, recipe: Mapping[str, Any], told: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Write the best recipe, train it again, and draw; nothing where other processes still run trials.

    Args:
        search: whose trials are all taken.
        recipe: that they changed.
        told: how the training speaks.
        say: is told what is done.
    """
    if going := [t for t in search.trials if t.state == "running"]:
        say(f"{len(going)} trials are run by other processes; the last of them ends the search")
        return
    try:
        lock = Lock(search.path)
    except LockedError:
        say("another process ends the search")
        return
    try:
        _end(search, recipe, told, say)
        _tidy(search.path)
    finally:
        lock.release()


def _end(search: Search, recipe: Mapping[str, Any], told: Mapping[str, Any], say: Callable[[str], None]) -> None:
    write_table(search)
    best = search.best
    if best is None:
        reasons = list(dict.fromkeys(t.why for t in search.trials if t.why))
        what = f"none of {len(search.trials)} trials finished" + (f": {reasons[0]}" if reasons else "")
        raise UserError("tune", what, "search elsewhere, or train the recipe by itself first")
    checked = read(recipe, changes_of(search.plan.space, best.values, recipe))
    values = checked.written()
    values["model"] = {k: v for k, v in values["model"].items() if v is not None}
    write(safe(plain(values)), search.recipe)
    draw_search(search)
    folder = search.path / AGAIN
    whole = plain(checked.config.model_dump())
    say(f"the best recipe is in {search.recipe}; it is trained again, and scored on the test part")
    held = stored_json(search.path / RESULT).get("again") if (search.path / RESULT).is_file() else None
    if (folder / MANIFEST).is_file() and held == best.number:
        run = train_or_resume(whole, out=folder, **told)
    else:
        write_json({**search.as_json(), "again": best.number}, search.path / RESULT)
        if folder.is_dir():
            moved_aside(folder)
        run = train(whole, shared([best.run]) if whole["pace"] == "auto" else {}, out=folder, **told)
    if run.state == "interrupted":
        search.interrupted = run.view.ended.reason if run.view.ended else "interrupted"
    write_json({**search.as_json(), "again": best.number}, search.path / RESULT)


def _tidy(folder: Path) -> None:
    """Without the locks of workers that are gone."""
    for place in (folder / WORKERS).iterdir() if (folder / WORKERS).is_dir() else ():
        if not locked(place):
            rmtree(place, ignore_errors=True)


def write_table(search: Search) -> None:
    """All trials as ``trials.csv``."""
    keys = list(search.plan.space)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", "state", *search.plan.names, "seconds", "steps", *keys, "why"])
    for t in search.trials:
        reached = t.objectives or ("",) * len(search.plan.names)
        values = [t.values.get(k, "") for k in keys]
        rows.writerow([t.number + 1, t.state, *reached, round(t.seconds, 3), t.steps, *values, t.why])
    disk.put(search.path / TABLE, text.getvalue().encode())


def _row(trial: Told, folder: Path) -> dict[str, Any]:
    return {
        "trial": trial.number + 1,
        "state": trial.state,
        "objectives": list(trial.objectives),
        "values": dict(trial.values),
        "seconds": trial.seconds,
        "steps": trial.steps,
        "run": str(trial.run.relative_to(folder)),
        "why": trial.why,
    }


def _reached(plan: Plan, values: Sequence[float]) -> str:
    """``valid accuracy 0.9333, seconds 3.2``."""
    return ", ".join(f"{name} {number(v)}" for name, v in zip(plan.names, values, strict=False))


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one is as good in everything, and better in something."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))
