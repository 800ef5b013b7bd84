"""What a cross-validation found: scores of each fold, their mean and interval, and a prediction for every record."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainwright.core.errors import UserError
from trainwright.core.events import Difference, RunEnded
from trainwright.core.kinds import tasks
from trainwright.data.encoder import read_record
from trainwright.data.folds import Fold
from trainwright.engine import disk
from trainwright.runs.directory import FOLDS, MANIFEST, write_json
from trainwright.runs.figures import aligned, number
from trainwright.runs.gathered import divided, open_source, skipping
from trainwright.runs.recipe import read
from trainwright.runs.recorded import silent
from trainwright.runs.run import Run
from trainwright.runs.stored import damaged, stored_json
from trainwright.runs.train import passed_over
from trainwright.runs.verdict import verdicts
from trainwright.tools.pictures import draw_folds

FORMAT = 1
RECIPE, RESULT, TABLE, PREDICTIONS = "recipe.toml", "result.json", "folds.csv", "predictions.csv"
_CHUNK = 256  # records that are answered at once


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked, as ``folds.json`` holds it."""

    folds: int
    repeats: int
    seed: int
    space: tuple[str, ...] = ()  # that is searched within each fold
    trials: int = 20  # of that search

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "space": list(self.space), "format": FORMAT}


@dataclass(frozen=True, slots=True)
class Mean:
    """A score over folds, with the 95 % interval of its mean.

    Folds share their training records, so their scores lie closer together than those of independent experiments; the
    interval is widened for that.

    Source: Nadeau & Bengio 2003, "Inference for the generalization error".
    """

    mean: float
    deviation: float  # of single folds, with n - 1
    low: float
    high: float
    n: int


class Folds:
    """The runs of a cross-validation, one for each fold, in one folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.interrupted = ""  # by which signal; empty where it was not

    def __repr__(self) -> str:
        return f"<Folds {self.path} {len(self.finished)} of {len(self.all)} finished>"

    @property
    def plan(self) -> Plan:
        """What was asked."""
        return read_plan(self.path)

    @property
    def all(self) -> list[Fold]:
        """Every fold of every repetition."""
        plan = self.plan
        return [Fold(plan.folds, i, r, plan.seed) for r in range(plan.repeats) for i in range(plan.folds)]

    @property
    def runs(self) -> dict[Fold, Run]:
        """By fold, as far as they have begun; of a search within a fold, the best one trained again."""
        places = {fold: self.run_folder(fold) for fold in self.all}
        return {fold: Run(place) for fold, place in places.items() if (place / MANIFEST).is_file()}

    @property
    def finished(self) -> dict[Fold, Run]:
        """Those that came to their end."""
        return {fold: run for fold, run in self.runs.items() if run.state in ("finished", "stopped")}

    @property
    def failed(self) -> dict[str, str]:
        """Folds whose training ended with a broken model, by name, and what was wrong."""
        return {str(k): str(v) for k, v in stored_json(self.path / FOLDS).get("failed", {}).items()}

    def folder(self, fold: Fold) -> Path:
        """Of one fold."""
        repeated = f"repeat-{fold.repeat + 1}-" if self.plan.repeats > 1 else ""
        return self.path / f"{repeated}fold-{fold.number + 1}"

    def run_folder(self, fold: Fold) -> Path:
        """Of the run of a fold."""
        folder = self.folder(fold)
        return folder / "best" if self.plan.space else folder

    def done(self, fold: Fold) -> bool:
        """Whether a fold has been judged, or cannot be."""
        return fold in self.finished or self.folder(fold).name in self.failed

    def note(self, fold: Fold, why: str) -> None:
        """That a fold is broken, or no more."""
        failed = {k: v for k, v in self.failed.items() if k != self.folder(fold).name}
        failed |= {self.folder(fold).name: why} if why else {}
        write_json({**self.plan.as_json(), "failed": failed}, self.path / FOLDS)

    @property
    def scores(self) -> dict[str, Mean]:
        """Mean, deviation and interval of every score: ``{"test/accuracy": …}``, where test is the fold itself."""
        ends, share = self._ends, self._share
        names = dict.fromkeys(n for e in ends for n in e.scores)
        return {n: mean_of([e.scores[n] for e in ends if n in e.scores], share) for n in names}

    @property
    def baselines(self) -> dict[str, dict[str, Mean]]:
        """The same of simple models on the same folds."""
        ends, share = self._ends, self._share
        out: dict[str, dict[str, Mean]] = {}
        for name, metric in dict.fromkeys((b, m) for e in ends for b, reached in e.baselines.items() for m in reached):
            values = [e.baselines[name][metric] for e in ends if metric in e.baselines.get(name, {})]
            out.setdefault(name, {})[metric] = mean_of(values, share)
        return out

    @property
    def differences(self) -> dict[str, dict[str, Difference]]:
        """The runs' scores minus the baselines', paired by fold."""
        out: dict[str, dict[str, Difference]] = {}
        for name, reached in self.baselines.items():
            for metric in reached:
                both = [e for e in self._ends if metric in e.baselines.get(name, {}) and f"test/{metric}" in e.scores]
                if len(both) > 1:
                    found = mean_of([e.scores[f"test/{metric}"] - e.baselines[name][metric] for e in both], self._share)
                    out.setdefault(name, {})[metric] = Difference(found.mean, found.low, found.high)
        return out

    @property
    def predictions(self) -> Path:
        """A prediction for every record by the model that had not seen it."""
        return self.path / PREDICTIONS

    @property
    def _ends(self) -> list[RunEnded]:
        return [e for run in self.finished.values() if (e := run.view.ended) is not None]

    @property
    def _share(self) -> float:
        """Records that a fold is judged on, for each that it is trained on."""
        sizes = [run.manifest["data"]["samples"] for run in self.finished.values()]
        shares = [s["test"] / (s["train"] + s.get("valid", 0)) for s in sizes]
        return float(np.mean(shares)) if shares else 0.0

    @property
    def monitor(self) -> tuple[str, str]:
        """Its name, and whether "higher" or "lower" is better."""
        told = next(iter(self.finished.values())).manifest["monitor"]
        return str(told["name"]), str(told["better"])

    def lines(self) -> list[str]:
        """Mean and interval of every score beside the baselines'."""
        if not self.finished:
            return []
        name, better = self.monitor
        scores, simple = self.scores, self.baselines
        means = {k: v.mean for k, v in scores.items()}
        others = {b: {m: v.mean for m, v in reached.items()} for b, reached in simple.items()}
        said = "mean ± deviation of single folds [95 % interval of the mean]"
        head = f"{len(self.finished)} of {len(self.all)} folds: {said}"
        sentences = verdicts(means, others, self.differences, name, better)
        return [
            head,
            *aligned(_rows(scores, simple, name), right=True),
            *(f"{text}, over folds" for text, _ in sentences),
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``result.json`` holds it."""
        runs = {
            self.folder(f).name: {
                "run": str(r.path),
                "state": r.state,
                "scores": r.metrics if f in self.finished else {},
            }
            for f, r in self.runs.items()
        }
        return {
            **self.plan.as_json(),
            "failed": self.failed,
            "runs": runs,
            "scores": {k: asdict(v) for k, v in self.scores.items()},
            "baselines": {b: {m: asdict(v) for m, v in r.items()} for b, r in self.baselines.items()},
            "differences": {b: {m: asdict(v) for m, v in r.items()} for b, r in self.differences.items()},
            "predictions": str(self.predictions) if self.predictions.is_file() else None,
        }


def mean_of(values: Sequence[float], share: float) -> Mean:
    """Over folds; ``share`` is how many records a fold is judged on, for each that it is trained on."""
    from scipy.stats import t

    count = len(values)
    with np.errstate(invalid="ignore"):  # a score may be infinite, or NaN where it is undefined
        mean = float(np.mean(values))
        deviation = float(np.std(values, ddof=1)) if count > 1 else 0.0
    if count < 2:
        return Mean(mean, 0.0, mean, mean, count)
    half = float(t.ppf(0.975, count - 1)) * deviation * (1 / count + share) ** 0.5
    return Mean(mean, deviation, mean - half, mean + half, count)


def finish(found: Folds, say: Callable[[str], None]) -> None:
    """Write down what the folds say together; nothing while some are not judged."""
    open_ = [f for f in found.all if not found.done(f)]
    if open_:
        say(f"{len(open_)} folds are trained by other processes")
        return
    if not found.finished:
        raise UserError(
            "crossval", f"no fold came to its end: {next(iter(found.failed.values()))}", "train the recipe first"
        )
    _write_table(found)
    _write_predictions(found, say)
    draw_folds(found)
    write_json(found.as_json(), found.path / RESULT)


def _write_table(found: Folds) -> None:
    names = list(found.scores)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["repeat", "fold", "train", "valid", "test", *names])
    for fold, run in found.finished.items():
        sizes, reached = run.manifest["data"]["samples"], run.metrics
        parts = [sizes.get(p, 0) for p in ("train", "valid", "test")]
        rows.writerow([fold.repeat + 1, fold.number + 1, *parts, *(reached.get(n, "") for n in names)])
    disk.put(found.path / TABLE, text.getvalue().encode())


def _write_predictions(found: Folds, say: Callable[[str], None]) -> None:
    """One row per record and repetition, in the order of the records."""
    first = next(iter(found.finished.values()))
    if first.predictor.task.processor.windows is not None:
        say("samples are windows over a stream, so there is no prediction for each record")
        return
    rows = sorted(
        (row for f, r in found.finished.items() for row in _answers(f, r)), key=lambda r: (r["repeat"], r["record"])
    )
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    disk.put(found.predictions, text.getvalue().encode())


def _answers(fold: Fold, run: Run) -> Iterator[dict[str, Any]]:
    """What the model of a fold says of the fold's records."""
    recipe = read(run.path)
    source, task = open_source(recipe, silent), tasks.make(recipe.config.task["name"], recipe.task)
    bad = set(passed_over(run.manifest))
    skipped = skipping(recipe.config, len(source), sorted(bad))
    ids = divided(source, task, recipe.split, recipe.config.seed, skipped).parts["test"].tolist()
    told = run.predictor.task.processor.state_dict().get("target")
    for start in range(0, len(ids), _CHUNK):
        chunk = [i for i in ids[start : start + _CHUNK] if i not in bad]
        records = [read_record(source, i) for i in chunk]
        for i, record, answer in zip(chunk, records, run.predictor.stream(records), strict=True):
            target = told if isinstance(told, str) else task.strata(record)
            known = {"target": _cell(record[target])} if target is not None and target in record else {}
            yield {"record": i, "repeat": fold.repeat + 1, "fold": fold.number + 1, **known, **_flat(answer)}


def _flat(answer: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names; lists as JSON."""
    out: dict[str, Any] = {}
    for key, value in answer.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": _cell(value)}
    return out


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _rows(scores: Mapping[str, Mean], simple: Mapping[str, Mapping[str, Mean]], monitor: str) -> list[list[str]]:
    """A row for each metric, the monitor first: the folds' own scores, and what simple models reach there."""
    names = sorted((n.partition("/")[2] for n in scores if n.startswith("test/")), key=lambda n: n != monitor)
    rows = [["", "folds", "interval", *simple]]
    for name in names:
        own = scores[f"test/{name}"]
        span = f"[{number(own.low)}, {number(own.high)}]" if own.n > 1 else ""
        others = [number(reached[name].mean) if name in reached else "" for reached in simple.values()]
        rows.append([name, f"{number(own.mean)} ± {number(own.deviation)}", span, *others])
    return rows


def write_plan(plan: Plan, folder: Path) -> None:
    """Into ``folds.json``."""
    write_json({**plan.as_json(), "failed": {}}, folder / FOLDS)


def read_plan(folder: Path) -> Plan:
    """Of ``folds.json``; UserError where there is none."""
    if not (folder / FOLDS).is_file():
        what = f"is not the folder of a cross-validation (no {FOLDS})"
        raise UserError(str(folder), what, "name a recipe, or such a folder")
    told: dict[str, Any] = dict(stored_json(folder / FOLDS))
    try:
        if told.pop("format") > FORMAT:
            raise UserError(str(folder), "was written by a newer version of Trainwright", "install that one")
        told.pop("failed")
        return Plan(**{**told, "space": tuple(told["space"])})
    except (KeyError, TypeError) as error:
        raise damaged(folder / FOLDS, error) from None
