"""The final scores of a run, beside those of simple models on the same encoded data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.task import Progress
from trainwright.data.encode import encode
from trainwright.data.loader import batches
from trainwright.data.part import Part
from trainwright.data.source import source_of
from trainwright.engine.evaluate import evaluate
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import Pieces
from trainwright.runs.begin import served, served_weights
from trainwright.runs.gathered import gather_data, skipping, sound
from trainwright.runs.predict import reopened
from trainwright.runs.recipe import read
from trainwright.runs.run import Run


def scores(pieces: Pieces, parts: Iterable[str]) -> dict[str, float]:
    """``{"test/accuracy": …}`` of the state's present weights, over the named parts."""
    out: dict[str, float] = {}
    counters = pieces.state.counters
    progress = Progress(counters.step, max(counters.step, 1), counters.epoch)
    with pieces.state.aside():
        for part in parts:
            data = pieces.evaluations[part]()
            found = evaluate(pieces.state.model, pieces.task, data, pieces.runtime, progress, final=True)
            out.update({f"{part}/{name}": value for name, value in found.items()})
    return out


def baselines(pieces: Pieces, part: str) -> tuple[dict[str, dict[str, float]], float]:
    """What simple models reach on ``part``, and the seconds that took; nothing where the data is not ours to read."""
    began = time.perf_counter()
    train, test = pieces.encoded.get("train"), pieces.encoded.get(part)
    if train is None or test is None:
        return {}, 0.0
    try:
        found = pieces.task.baselines(train, test)
    except Exception as error:  # a comparison that fails must not spoil a training that ended well
        pieces.facts["baselines"] = f"skipped: {type(error).__name__}: {error}"
        found = {}
    return found, time.perf_counter() - began


def evaluate_run(
    run: Run, *, data: str | None = None, part: str | None = None, tell: Callable[[str], None] = lambda text: None
) -> dict[str, float]:
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
    found = evaluate(model, task, over(), runtime, final=True)
    return {f"{name}/{key}": value for key, value in found.items()}


def _own_part(run: Run, task: Any, part: str | None, runtime: Runtime) -> tuple[Callable[[], Iterable[Batch]], str]:
    recipe = read(run.path)
    learned = task.processor.state_dict()
    known = run.manifest["data"].get("bad_samples", {}).get("records", [])
    parts = gather_data(recipe, task, runtime, lambda what, done, total: None, learned, known).parts
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
    source = source_of(name, {**options, "path": data})
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
