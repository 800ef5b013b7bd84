"""Training one recipe with several seeds: a folder of runs, and what their scores are on average and how far apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainwright.core.errors import NumericsError, TrainwrightError, UserError
from trainwright.core.events import Difference, RunEnded
from trainwright.core.redaction import redacted
from trainwright.engine import checkpoint
from trainwright.engine.ranks import launched
from trainwright.runs.directory import CHECKPOINTS, MANIFEST, SEEDS, new_folder, write_json
from trainwright.runs.figures import number
from trainwright.runs.private import safe
from trainwright.runs.quiet import each_once
from trainwright.runs.recipe import plain, read, write
from trainwright.runs.run import Run
from trainwright.runs.stored import damaged, stored_json
from trainwright.runs.train import resume, train
from trainwright.runs.verdict import table, verdicts

RECIPE = "recipe.toml"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Spread:
    """A number over several seeds."""

    mean: float
    deviation: float  # of single runs, with n - 1; 0 of one run
    n: int  # runs that have it


@dataclass(frozen=True, slots=True)
class Summary:
    """What the finished runs say together. Differences are paired by seed, with Student's 95 % interval."""

    scores: Mapping[str, Spread]  # "test/accuracy"
    baselines: Mapping[str, Mapping[str, Spread]]  # "linear": {"accuracy"}
    differences: Mapping[str, Mapping[str, Difference]]  # the runs' scores minus the baselines', on the last part


class Repeats:
    """Runs of one recipe with several seeds, in the folders ``seed-0``, ``seed-1``, … of one folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<Repeats {self.path} {len(self.finished)} of {len(self.seeds)} finished>"

    @property
    def seeds(self) -> list[int]:
        """Those that are asked for."""
        return [int(s) for s in _noted(self.path)["seeds"]]

    @property
    def failed(self) -> dict[int, str]:
        """Seeds whose training ended with a broken model, and what was wrong."""
        return {int(seed): why for seed, why in _noted(self.path)["failed"].items()}

    @property
    def runs(self) -> dict[int, Run]:
        """By seed, as far as they have begun."""
        places = {seed: self.folder(seed) for seed in self.seeds}
        return {seed: Run(place) for seed, place in places.items() if (place / MANIFEST).is_file()}

    @property
    def finished(self) -> dict[int, Run]:
        """Those that came to their end."""
        return {seed: run for seed, run in self.runs.items() if run.state in ("finished", "stopped")}

    @property
    def summary(self) -> Summary:
        """Of the finished runs."""
        return summarized([e for run in self.finished.values() if (e := run.view.ended) is not None])

    def folder(self, seed: int) -> Path:
        """Of one run."""
        return self.path / f"seed-{seed}"

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``seeds.json`` holds it."""
        done = self.finished
        runs = {
            str(seed): {"run": str(run.path), "state": run.state, "scores": run.metrics if seed in done else {}}
            for seed, run in self.runs.items()
        }
        return {**_noted(self.path), "runs": runs, **asdict(self.summary)}

    def lines(self, width: int = 100) -> list[str]:
        """Mean and deviation of every score beside the baselines', and how the runs stand beside them."""
        found, done = self.summary, self.finished
        if not done:
            return []
        monitor = next(iter(done.values())).manifest["monitor"]
        scores = {name: s.mean for name, s in found.scores.items()}
        simple = {b: {m: s.mean for m, s in reached.items()} for b, reached in found.baselines.items()}
        sentences = verdicts(scores, simple, found.differences, monitor["name"], monitor["better"])
        said = "mean ± deviation of single runs" if len(done) > 1 else "one run tells no deviation"
        head = f"{len(done)} of {len(self.seeds)} seeds: {said}"
        rows = table(found.scores, found.baselines, monitor["name"], _written, width)
        return [head, *rows, *(f"{text}, over seeds" for text, _ in sentences if len(done) > 1)]


def repeat(
    recipe: str | Path | Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    *,
    seeds: int = 5,
    out: str | Path | None = None,
    quiet: bool = False,
    to_stderr: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Repeats:
    """Train what a recipe says with several seeds, one after the other: the recipe's own seed and those that follow it.

    Each run is what `train` makes with that seed. The seed draws the weights, the order and the augmentation, and also
    the split, where the data do not come with parts of their own: so the runs tell how much all of these matter.
    A seed whose model ends up broken is noted, and the others go on.

    Args:
        recipe: as `train` takes it; or the folder of repeats that were interrupted, which then go on.
        changes: dotted keys to set.
        seeds: how many.
        out: the folder of all runs, empty or not there yet; ``runs/DATE-NAME-xxxx`` unless given.
        quiet: say nothing but warnings and errors.
        to_stderr: speak on standard error.
        say: is told before each run which it is.
    """
    if seeds < 1:
        raise UserError("seeds", f"{seeds} runs are none", "write how many there shall be, such as 5")
    if launched() is not None:
        raise UserError("seeds", "cannot be repeated under torchrun", "write ranks = 2 into the recipe instead")
    if isinstance(recipe, str | Path) and (Path(recipe).expanduser() / SEEDS).is_file():
        if changes or out is not None:
            raise UserError(str(recipe), "holds runs that can only go on as they are", "name a recipe for new ones")
        return go_on(Path(recipe).expanduser(), quiet=quiet, to_stderr=to_stderr, say=say)
    checked = read(recipe, changes)
    folder = new_folder(out, checked.config.name or checked.config.task["name"])
    values = plain(checked.config.model_dump())
    write(safe(values), folder / RECIPE)
    first = checked.config.seed
    write_json({"format": FORMAT, "seeds": list(range(first, first + seeds)), "failed": {}}, folder / SEEDS)
    return _trained(folder, values, quiet, to_stderr, say)


def go_on(
    folder: str | Path, *, quiet: bool = False, to_stderr: bool = False, say: Callable[[str], None] = lambda text: None
) -> Repeats:
    """Take repeats up again: finished runs are kept, an interrupted one is resumed, the others are trained.

    Args:
        folder: of all runs.
        quiet: say nothing but warnings and errors.
        to_stderr: speak on standard error.
        say: is told before each run which it is.
    """
    return _trained(Path(folder), Path(folder) / RECIPE, quiet, to_stderr, say)


@each_once()
def _trained(
    folder: Path, recipe: Path | Mapping[str, Any], quiet: bool, to_stderr: bool, say: Callable[[str], None]
) -> Repeats:
    """Every seed that is not finished; the recipe as it was given holds secrets that its file lacks."""
    repeats = Repeats(folder)
    told: dict[str, Any] = {"quiet": quiet, "to_stderr": to_stderr}
    for i, seed in enumerate(repeats.seeds, 1):
        if seed in repeats.finished:
            continue
        say(f"seed {seed}, {i} of {len(repeats.seeds)}")
        try:
            run = _run(repeats, recipe, seed, told)
        except TrainwrightError as error:
            if error.exit_code != NumericsError.exit_code:
                raise
            _note(repeats, {**repeats.failed, seed: redacted(str(error))})
            continue
        _note(repeats, {s: why for s, why in repeats.failed.items() if s != seed})
        if run.state == "interrupted":
            break
    return repeats


def summarized(ends: Sequence[RunEnded]) -> Summary:
    """What the last events of several runs say together."""
    names = list(dict.fromkeys(name for e in ends for name in e.scores))
    simple = list(dict.fromkeys((b, m) for e in ends for b, found in e.baselines.items() for m in found))
    baselines: dict[str, dict[str, Spread]] = {}
    differences: dict[str, dict[str, Difference]] = {}
    for name, metric in simple:
        having = [e for e in ends if metric in e.baselines.get(name, {})]
        values = [e.baselines[name][metric] for e in having]
        baselines.setdefault(name, {})[metric] = _spread(values)
        own = [e.scores.get(f"{_last(e)}/{metric}") for e in having]
        apart = [a - b for a, b in zip(own, values, strict=True) if a is not None]
        if len(apart) > 1:
            differences.setdefault(name, {})[metric] = paired(apart)
    scores = {name: _spread([e.scores[name] for e in ends if name in e.scores]) for name in names}
    return Summary(scores, baselines, differences)


def paired(apart: Sequence[float]) -> Difference:
    """The mean of paired differences, and its 95 % interval by Student's t with n - 1 degrees of freedom."""
    from scipy.stats import t

    spread = _spread(apart)
    half = float(t.ppf(0.975, spread.n - 1)) * spread.deviation / spread.n**0.5
    return Difference(spread.mean, spread.mean - half, spread.mean + half)


def _run(repeats: Repeats, recipe: Path | Mapping[str, Any], seed: int, told: Mapping[str, Any]) -> Run:
    """One seed, to its end or to an interruption."""
    folder = repeats.folder(seed)
    if (folder / MANIFEST).is_file() and checkpoint.steps(folder / CHECKPOINTS):
        return resume(folder, **told)
    return train(recipe, {"seed": seed}, out=folder, exist_ok=True, **told)


def _noted(folder: Path) -> dict[str, Any]:
    if not (folder / SEEDS).is_file():
        raise UserError(str(folder), f"holds no runs of several seeds (no {SEEDS})", "train with --seeds 5 first")
    content: dict[str, Any] = stored_json(folder / SEEDS)
    if not (isinstance(content.get("seeds"), list) and isinstance(content.get("failed"), dict) and "format" in content):
        raise damaged(folder / SEEDS, ValueError("it does not say which seeds were asked for"))
    return {key: content[key] for key in ("format", "seeds", "failed")}


def _note(repeats: Repeats, failed: Mapping[int, str]) -> None:
    """What is known now, for whoever reads the folder."""
    write_json({**_noted(repeats.path), "failed": {str(s): why for s, why in failed.items()}}, repeats.path / SEEDS)
    write_json(repeats.as_json(), repeats.path / SEEDS)


def _spread(values: Sequence[float]) -> Spread:
    with np.errstate(invalid="ignore"):  # a score may be infinite, or NaN where it is undefined
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return Spread(float(np.mean(values)), deviation, len(values))


def _written(spread: Spread) -> str:
    return f"{number(spread.mean)} ± {number(spread.deviation)}" if spread.n > 1 else number(spread.mean)


def _last(ended: RunEnded) -> str:
    """The part that baselines were judged on."""
    return list(ended.scores)[-1].partition("/")[0] if ended.scores else ""
