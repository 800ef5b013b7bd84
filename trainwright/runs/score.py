"""The final scores of a run with their intervals, beside those of simple models on the same encoded data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.events import Difference, Interval
from trainwright.core.task import Metric, Progress
from trainwright.data.encode import encode
from trainwright.data.loader import batches
from trainwright.data.part import Part
from trainwright.engine.evaluate import Judged, judge
from trainwright.engine.guard import broken_weights
from trainwright.engine.runtime import Runtime
from trainwright.metrics.bootstrap import LOSS, interval, resampled
from trainwright.runs.assemble import Pieces
from trainwright.runs.baselines import allowed, baselines
from trainwright.runs.begin import served, served_weights
from trainwright.runs.confusion import Confusion, taken, with_pairs
from trainwright.runs.edited import must_be_as_written
from trainwright.runs.elsewhere import source_elsewhere
from trainwright.runs.gathered import gather_data, same_data, skipping, sound
from trainwright.runs.measures import by_name
from trainwright.runs.predict import reopened
from trainwright.runs.recipe import read
from trainwright.runs.run import Run
from trainwright.runs.sound import broken_scores


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model reached, how sure that is, and how it stands beside simple ones; as `RunEnded` tells it."""

    scores: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    baseline_intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    differences: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""  # what is broken about the model
    confusion: Confusion | None = None  # of the last part


def judged(pieces: Pieces, parts: Iterable[str]) -> tuple[dict[str, Judged], Confusion | None]:
    """The state's present weights on the named parts, and the confusion of the last; every rank gets the same."""
    counters = pieces.state.counters
    progress = Progress(counters.step, max(counters.step, 1), counters.epoch)
    metrics = with_pairs(pieces.metrics, pieces.task)
    out, confusion = {}, None
    with pieces.state.aside():
        for part in parts:
            data = pieces.evaluations[part]()
            found = judge(pieces.state.model, pieces.task, data, pieces.runtime, progress, metrics=metrics)
            out[part], confusion = taken(found, pieces.task)
    return out, confusion


def scored(
    found: Mapping[str, Judged], metrics: Mapping[str, Metric], others: Mapping[str, Judged], seed: int
) -> Scores:
    """Scores and their intervals; ``others`` are judged on the last part, and compared with there.

    Args:
        found: the model on each part.
        metrics: that were measured.
        others: baselines.
        seed: of the resamples.
    """
    known = {"loss": LOSS, **metrics}
    intervals: dict[str, Interval] = {}
    for part, one in found.items():
        models = {"": one, **(others if part == list(found)[-1] else {})}
        rows = {(n, m): (known[m], r) for n, j in models.items() for m, r in j.rows.items() if m in j.values}
        drawn = resampled(rows, seed=seed)
        spans = {key: span for key, values in drawn.items() if (span := interval(values)) is not None}
        intervals |= {f"{part}/{m}": span for (name, m), span in spans.items() if not name}
    return Scores(  # of the last part, which the others were judged on as well
        {f"{part}/{m}": v for part, one in found.items() for m, v in one.values.items()},
        intervals,
        {name: dict(j.values) for name, j in others.items()},
        {name: {m: span for (n, m), span in spans.items() if n == name} for name in others},
        {name: _apart(one, others[name], name, drawn) for name in others},
    )


def _apart(own: Judged, other: Judged, name: str, drawn: Mapping[tuple[str, str], Tensor]) -> dict[str, Difference]:
    """How far two models lie apart in each metric, resample by resample."""
    both = [m for n, m in drawn if n == name and ("", m) in drawn]
    spans = {m: interval(drawn["", m] - drawn[name, m]) for m in both}
    return {m: Difference(own.values[m] - other.values[m], *span) for m, span in spans.items() if span is not None}


def compared(pieces: Pieces, found: Mapping[str, Judged], training: float) -> Scores:
    """Scores, and the baselines' where the data is ours to read; on one rank, without the others.

    Args:
        pieces: of the run.
        found: the model on each part.
        training: seconds it took.
    """
    metrics, seed = pieces.metrics, pieces.config.seed
    train, test = pieces.encoded.get("train"), pieces.encoded.get(list(found)[-1] if found else "")
    if train is None or test is None:
        return scored(found, metrics, {}, seed)
    others, skipped = baselines(pieces.task, train, test, metrics, allowed(training))
    return replace(scored(found, metrics, others, seed), skipped=skipped)


def evaluate_run(
    run: Run, *, data: str | None = None, part: str | None = None, tell: Callable[[str], None] = lambda text: None
) -> Scores:
    """The scores of a finished run's model on one of its own parts, or on another file of the same kind.

    Args:
        run: the run.
        data: a file or folder read as the run's own data; all its records are evaluated.
        part: "train", "valid" or "test" of the run's data; "test" where there is one, unless given.
        tell: is told of each bad sample of another file that is skipped, where the run's recipe skips them.
    """
    if run.manifest["kind"] == "own":
        raise UserError(
            str(run.path),
            "this run trained a module of your own, which its files cannot name",
            f'in Python, write tw.open("{run.path}", model=net).predict(x)',
        )
    if data is not None and part is not None:
        raise UserError("evaluate", "either a file or a part of the run's data is evaluated", "give one of the two")
    task, model = reopened(run.path, None)
    model.load_state_dict(served_weights(served(run.path)))
    runtime = Runtime()
    over, name = _elsewhere(run, task, data, tell) if data else _own_part(run, task, part, runtime)
    metrics = {**task.metrics(), **by_name(read(run.path).metrics, task)}
    one, confusion = taken(judge(model, task, over(), runtime, metrics=with_pairs(metrics, task)), task)
    found = {name: one}
    trouble = broken_weights(model, runtime.ranks) or broken_scores(found)
    return replace(scored(found, metrics, {}, run.config["seed"]), trouble=trouble, confusion=confusion)


def _own_part(run: Run, task: Any, part: str | None, runtime: Runtime) -> tuple[Callable[[], Iterable[Batch]], str]:
    must_be_as_written(run.manifest, run.path, ("seed",))
    recipe = read(run.path)
    learned = task.processor.state_dict()
    known = run.manifest["data"].get("bad_samples", {}).get("records", [])
    data = gather_data(recipe, task, runtime, lambda what, done, total: None, learned, known)
    same_data(run.manifest["data"], data.facts(), run.path)  # else other records would be in the part
    parts = data.parts
    name = part or ("test" if "test" in parts else "valid")
    if name not in parts:
        raise UserError("part", f"the run has no part '{name}'", f"it has: {', '.join(parts)}")
    return lambda: batches(parts[name], task.processor, batch_size=256, rank=0, world=1, device=runtime.device), name


def _elsewhere(
    run: Run, task: Any, data: str, tell: Callable[[str], None]
) -> tuple[Callable[[], Iterable[Batch]], str]:
    import torch

    recipe = read(run.path)
    name, options = recipe.reader()
    if "path" not in options:
        raise UserError("data", f"the source '{name}' of this run reads no files", "leave --data out")
    source = source_elsewhere(run.path, name, {**options, "path": data})
    if not len(source):
        raise UserError(data, "there are no records")
    device = torch.device("cpu")
    skipped = skipping(recipe.config, len(source))
    store = encode(source, task.processor, workers=0, where="memory", device=device, cache=None, skipped=skipped)
    ids = sound(torch.arange(len(source)), skipped)
    for bad in () if skipped is None else skipped.found.values():
        tell(f"skipped {bad.where}: {bad.what}")
    rows = store.gather(ids[:0])
    lacking = [n for n, c in task.processor.columns().items() if c.target and n not in rows.columns]
    if lacking:
        raise UserError(data, "has no targets to compare with", "give a file that has them, or use predict")
    everything = Part(store, ids, task.processor.windows, task.processor, name=data)
    return lambda: batches(everything, task.processor, batch_size=256, rank=0, world=1, device=device), "data"
