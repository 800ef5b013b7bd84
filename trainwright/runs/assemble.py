"""The composition root: the one place where names become objects and objects meet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.batch import Batch, seed_of
from trainwright.core.config import Budget, RunConfig
from trainwright.core.errors import DataError, TrainwrightError, UserError, did_you_mean
from trainwright.core.finding import Finding
from trainwright.core.kinds import Schedule, models, optimizers, schedules, sources, tasks
from trainwright.core.model import Noted
from trainwright.core.responsive import Responsive, Unchanging
from trainwright.core.rows import Encoded
from trainwright.core.schema import options, required
from trainwright.core.task import Progress, Record, Task
from trainwright.data import catalogue, paths
from trainwright.data.copies import copies, finding
from trainwright.data.encode import encode
from trainwright.data.joined import Joined
from trainwright.data.loader import Loader, batches
from trainwright.data.part import Part
from trainwright.data.source import Source
from trainwright.data.split import Split, split, split_options
from trainwright.engine.average import Average
from trainwright.engine.loop import Groups
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState, randomness_kept
from trainwright.runs.begin import freeze, moving, resting
from trainwright.runs.recipe import Recipe

PARTS = ("train", "valid", "test")
_TRIED = 8  # samples; more than one for batch norm's sake
Report = Callable[[str, int, int], None]  # (what, done, of how many)


@dataclass(slots=True)
class Pieces:
    """Everything one attempt needs, assembled."""

    config: RunConfig
    runtime: Runtime
    task: Task[Any]
    state: TrainState
    groups: Groups
    schedule: Schedule
    evaluations: Mapping[str, Callable[[], Iterable[Batch]]]  # by part
    first: Callable[[], Batch]  # a few training samples, to try the model on
    encoded: Mapping[str, Encoded] = field(default_factory=dict)  # by part, where baselines can be fitted
    facts: dict[str, Any] = field(default_factory=dict)  # of the data, for the manifest
    findings: list[Finding] = field(default_factory=list)
    close: Callable[[], None] = lambda: None

    @property
    def per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return self.groups.steps_per_epoch


@dataclass(frozen=True, slots=True)
class Data:
    """Records, split and encoded."""

    source: Source
    split: Split
    parts: Mapping[str, Part]
    findings: list[Finding]

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the data."""
        return {
            "fingerprint": self.source.fingerprint(),
            "records": len(self.source),
            "split": self.split.how,
            "samples": {name: len(part) for name, part in self.parts.items()},
        }


def open_source(recipe: Recipe, report: Report) -> Source:
    """The source a recipe names; files named as ``valid`` or ``test`` are further sources of the same kind."""
    name = recipe.config.data["source"]
    factory = sources[name]
    others = {part: recipe.split[part] for part in ("valid", "test") if isinstance(recipe.split[part], str)}
    if not others:
        first: Source = (
            catalogue.opened(recipe.source["set"], report) if name == catalogue.NAME else factory(**recipe.source)
        )
        return first
    if "path" not in recipe.source:
        key = next(iter(others))
        raise UserError(f"data.{key}", f"{others[key]!r} is text, but this source reads no files", "write a share: 0.1")
    places = {"train": recipe.source["path"], **others}
    return Joined({part: factory(**{**recipe.source, "path": path}) for part, path in places.items()})


def gather_data(
    recipe: Recipe, task: Task[Any], runtime: Runtime, report: Report, learned: Mapping[str, Any] | None = None
) -> Data:
    """Read, split, learn from the training part, encode once, and look for copies.

    Args:
        recipe: its data section and seed.
        task: its processor is fitted here.
        runtime: where a store "device" is.
        report: told about progress.
        learned: the processor's state of an earlier attempt, instead of fitting it.
    """
    source = open_source(recipe, report)
    if not len(source):
        raise DataError("data", "there are no records")
    division = divided(source, task, recipe.split, recipe.config.seed)
    return encoded(source, division, task, recipe.config, runtime, report, learned)


def encoded(
    source: Source,
    division: Split,
    task: Task[Any],
    config: RunConfig,
    runtime: Runtime,
    report: Report,
    learned: Mapping[str, Any] | None = None,
) -> Data:
    """Learn from the training part, encode every record once, and look for copies across the parts."""
    if learned is None:
        learn(task, source, division.parts["train"])
    else:
        task.processor.load_state_dict(learned)
    with runtime.ranks.first_then_others():  # who comes later finds the cache
        store = encode(
            source,
            task.processor,
            workers=config.workers,
            where=config.store,
            device=runtime.device,
            cache=cache_folder(),
            on_progress=lambda done, total: report("encoding", done, total),
            key=json.dumps(config.task, sort_keys=True, default=str),
        )
    windows = task.processor.windows
    parts = {n: Part(store, ids, windows, task.processor, name=n) for n, ids in division.parts.items() if len(ids)}
    found = finding(copies(store, division.parts)) if windows is None and len(parts) > 1 else None
    return Data(source, division, parts, [found] if found else [])


def learn(task: Task[Any], source: Source, ids: Tensor) -> None:
    """Fit the processor on the training records; a bad one is told by its place in the source."""
    reading: int | None = None

    def records() -> Iterator[Record]:
        nonlocal reading
        for reading in ids.tolist():
            yield source[reading]
        reading = None

    try:
        task.processor.fit(records())
    except DataError as error:
        if reading is None:
            raise
        field = re.sub(r"^training record \d+(, )?", "", error.where)
        place = ", ".join(p for p in (source.where(reading), field) if p)
        raise DataError(place, error.what, error.instead) from None


def divided(source: Source, task: Task[Any], how: Mapping[str, Any], seed: int) -> Split:
    """The split a recipe asks for; by itself stratified for classes, and in stretches for windows over a stream."""
    asked = split_options(**how)
    streams = task.processor.windows is not None
    if streams and asked["how"] == "auto" and asked["ranges"] is None:
        asked["how"] = "chronological"
    classes = task.strata(source[0])
    division = split(source, seed=seed, strata=None if classes is None else _strata(source, classes), **asked)
    if streams and not division.contiguous:
        raise UserError("data.split", "windows over a stream need parts in one piece", 'write split = "chronological"')
    return division


def _strata(source: Source, field: str) -> list[Any] | None:
    """The class of every record; None where a record has several at once."""
    values = [v.tolist() if isinstance(v, np.ndarray | Tensor) else v for v in source.values(field)]
    single = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in values]
    return None if any(isinstance(v, list) for v in single) else single


def assemble(recipe: Recipe, runtime: Runtime, report: Report, learned: Mapping[str, Any] | None = None) -> Pieces:
    """Names become objects: the whole of a recipe, ready for its first step."""
    config = recipe.config
    task = tasks[config.task["name"]](**recipe.task)
    data = gather_data(recipe, task, runtime, report, learned)
    built = build_model(recipe, task)
    freeze(built, config)
    model = runtime.place(built)
    make = partial(optimizers[config.optimizer["name"]], **recipe.optimizer)
    optimizer = moving(runtime.ranks.bare(model), config.rates, make)
    schedule = schedules[config.schedule["name"]](**recipe.schedule)
    pieces = joined(config, runtime, task, data, model, optimizer, schedule)
    if models.tags(config.model["name"]).get("speaks") is Noted:
        pieces.facts["notes"] += cast(Noted, built).notes
    return pieces


def joined(
    config: RunConfig,
    runtime: Runtime,
    task: Task[Any],
    data: Data,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: Schedule,
) -> Pieces:
    """A loader over the training part, evaluations over the others, and the state they all move."""
    rank, world, device = runtime.ranks.rank, runtime.ranks.world, runtime.device
    loader = Loader(
        data.parts["train"],
        task.processor,
        batch_size=config.batch_size,
        micro=config.micro_batch,
        seed=config.seed,
        shuffle=config.shuffle,
        rank=rank,
        world=world,
        device=device,
    )
    size = evaluation_size(config, len(data.parts["train"]), runtime)

    def over(name: str) -> Callable[[], Iterable[Batch]]:
        part = data.parts[name]
        return lambda: batches(part, task.processor, batch_size=size, rank=rank, world=world, device=device)

    return Pieces(
        config=config,
        runtime=runtime,
        task=task,
        state=state_of(config, runtime, model, optimizer, schedule, loader),
        groups=loader,
        schedule=schedule,
        evaluations={name: over(name) for name in data.parts if name != "train"},
        first=lambda: task.processor.batch(data.parts["train"].rows(0, _TRIED), None),
        encoded=data.parts,
        facts={**data.facts(), "resume": "exact", "notes": list(task.processor.notes())},
        findings=data.findings,
        close=loader.close,
    )


def state_of(
    config: RunConfig, runtime: Runtime, model: nn.Module, optimizer: Optimizer, schedule: Schedule, groups: Groups
) -> TrainState:
    """Everything that changes in a run of this configuration; the groups are a part of it."""
    state = TrainState.of(model, optimizer, runtime)
    state.parts["loader"] = groups
    state.parts["schedule"] = schedule if isinstance(schedule, Responsive) else Unchanging()
    if config.ema != "none":
        state.parts["ema"] = Average(model, config.ema, runtime.ranks)
    state.frozen = resting(runtime.ranks.bare(model), config, groups.steps_per_epoch)
    return state


def try_first(pieces: Pieces) -> None:
    """Compute the loss of a few samples before anything is written; UserError where model and data do not fit.

    Nothing is left of it: no gradient, no randomness, no buffer.
    """
    state, runtime = pieces.state, pieces.runtime
    with state.aside(), torch.no_grad(), runtime.autocast():
        state.model.train()
        batch = runtime.take(pieces.first())
        try:
            pieces.task.loss(state.model, batch, Progress())
        except TrainwrightError:
            raise
        except Exception as error:
            shapes = ", ".join(f"{name} {str(t.dtype)[6:]} {tuple(t.shape)}" for name, t in batch.inputs.items())
            what = f"cannot compute the first batch: {type(error).__name__}: {error}"
            raise UserError("model", what, f"it was given {shapes}") from error


def build_model(recipe: Recipe, task: Task[Any]) -> nn.Module:
    """The network, with what it must know of the data; its first weights depend on the seed alone."""
    name = recipe.config.model["name"]
    factory, sizes = models[name], task.sizes()
    if missing := [n for n in required(factory) if n not in sizes]:
        fitting = [m for m in models.names() if set(required(models[m])) <= set(sizes)]
        raise UserError(
            "model",
            f"'{name}' needs {', '.join(missing)}, which the task '{recipe.config.task['name']}' does not give",
            f"choose one of: {', '.join(fitting)}" if fitting else did_you_mean(name, models.names()),
        )
    known = options(factory)
    fitted = {k: v for k, v in sizes.items() if k in known}
    if given := [k for k in fitted if k in recipe.config.model]:
        raise UserError(f"model.{given[0]}", "follows from the data", "leave it out")
    with randomness_kept(torch.device("cpu")):  # alike on every rank, whatever was drawn before
        torch.manual_seed(seed_of(recipe.config.seed, "weights") % 2**63)
        try:
            return factory(**{**recipe.model, **fitted})
        except (RuntimeError, MemoryError) as error:
            if "allocate" not in str(error) and not isinstance(error, MemoryError):
                raise
            raise UserError("model", "does not fit into memory", "make it smaller") from error


def evaluation_size(config: RunConfig, samples: int, runtime: Runtime) -> int:
    """Samples of an evaluation batch per rank: as many as a training step computes at once, without gradients."""
    whole = samples if config.batch_size == "all" else config.batch_size
    micro = whole if config.micro_batch == "all" else min(config.micro_batch, whole)
    return max(1, min(2 * micro, 1024) if micro < 1024 else micro)


def in_steps(text: str, per_epoch: int, seconds_per_step: float | None) -> int:
    """An amount of training in optimizer steps."""
    amount = Budget.read(text)
    if amount.unit != "seconds":
        return amount.steps(per_epoch)
    assert seconds_per_step is not None
    return max(1, int(amount.amount / seconds_per_step))


def cache_folder() -> Path:
    """Where encoded data is kept between runs."""
    return paths.cache("encoded")
