"""The pieces of a run on the user's own data: arrays in memory, or loaders and Datasets of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from trainwright.core.batch import Batch
from trainwright.core.config import RunConfig
from trainwright.core.errors import UserError
from trainwright.core.kinds import Schedule, tasks
from trainwright.data.arrays import Arrays
from trainwright.data.foreign import ForeignLoader, loader_batches
from trainwright.data.foreign_batch import restored, understood
from trainwright.data.foreign_dataset import DatasetLoader, dataset_batches, tensors_of
from trainwright.data.joined import Joined
from trainwright.data.reach import kept
from trainwright.data.source import Source
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import Pieces, evaluation_size, joined, state_of
from trainwright.runs.gathered import Report, divided, encoded
from trainwright.runs.learned import put_back

_SHARE = 0.1  # of arrays, held out for validation unless the caller says otherwise


@dataclass(frozen=True, slots=True)
class Asked:
    """What `tw.fit` was asked for, beside the data itself."""

    config: RunConfig
    runtime: Runtime
    model: nn.Module  # placed
    optimizer: Optimizer
    schedule: Schedule
    loss: Any
    valid: Any
    test: Any
    report: Report
    learned: Mapping[str, Any] | None  # the processor's state of an earlier attempt
    seed: int | None = None  # of the split, where it is not the configuration's
    like: Pieces | None = None  # whose task and encoded data these share


def array_pieces(data: Any, asked: Asked) -> Pieces:
    """Arrays: encoded once, split as in a recipe, with the whole of the loader's promises."""
    if asked.like is not None and asked.like.data is not None:
        task, held = asked.like.task, asked.like.data
        return joined(asked.config, asked.runtime, task, held, asked.model, asked.optimizer, asked.schedule)
    columns, inputs, targets = named(data, "data")
    task = tasks["supervised"](loss=asked.loss, inputs=inputs, targets=targets, call=_call(inputs))
    sizes: dict[str, float | None] = {"valid": _SHARE if asked.valid is None else 0, "test": 0}
    parts: dict[str, Source] = {"train": Arrays(columns)}
    for part, given in (("valid", asked.valid), ("test", asked.test)):
        if isinstance(given, int | float):
            if not math.isfinite(given):
                raise UserError(part, f"{given} is no share", "write a share such as 0.1")
            sizes[part] = given
        elif given is not None:
            other, *_ = named(given, part)
            if other.keys() != columns.keys():
                raise UserError(part, f"has {', '.join(other)}, data has {', '.join(columns)}", "give the same arrays")
            parts[part], sizes[part] = Arrays(other), None
    source = Joined(parts) if len(parts) > 1 else parts["train"]
    seed = asked.config.seed if asked.seed is None else asked.seed
    division = divided(source, task, {k: v for k, v in sizes.items() if v is not None}, seed)
    found = encoded(source, division, task, asked.config, asked.runtime, asked.report, asked.learned)
    return joined(asked.config, asked.runtime, task, found, asked.model, asked.optimizer, asked.schedule)


def foreign_pieces(data: Any, asked: Asked, *, unpack: Callable[[Any], tuple[Any, Any]] | None, workers: int) -> Pieces:
    """Batches that code of the user's makes; a TensorDataset is as good as arrays."""
    everything = (data, asked.valid, asked.test)
    if isinstance(data, Dataset) and unpack is None and all(d is None or _tensors(d) is not None for d in everything):
        x, valid, test = (_tensors(d) for d in everything)
        return array_pieces(x, replace(asked, valid=valid, test=test))
    config, runtime, given = asked.config, asked.runtime, {"valid": asked.valid, "test": asked.test}
    for part, other in given.items():
        if isinstance(other, int | float) and other:
            raise UserError(part, f"a share ({other:g}) of a loader or Dataset cannot be drawn", "give data of its own")
    inputs, targets = _peek(data, unpack)
    task = tasks["supervised"](loss=asked.loss, inputs=tuple(inputs), targets=tuple(targets), call=_call(tuple(inputs)))
    if asked.learned is None:
        task.processor.learn(inputs, targets)
    else:
        put_back(task.processor, asked.learned)
    weigh = task.processor.weigh if targets else None
    if isinstance(data, DataLoader) and data.batch_size:
        config = config.model_copy(update={"batch_size": data.batch_size})
    groups = _groups(data, config, runtime, unpack, workers, weigh)

    state = state_of(config, runtime, asked.model, asked.optimizer, asked.schedule, groups)

    def over(other: Any) -> Callable[[], Iterable[Batch]]:
        place: dict[str, Any] = {"rank": runtime.ranks.rank, "world": runtime.ranks.world, "device": runtime.device}
        more: dict[str, Any] = {"weigh": weigh, "seed": config.seed, "timeout": config.worker_timeout, **place}
        if not _is_map(other):
            return lambda: loader_batches(_loader(other), unpack, micro=state.counters.micro or "all", **more)

        def given() -> Iterable[Batch]:
            size = state.counters.micro or evaluation_size(config, 1024)
            return dataset_batches(other, unpack, batch_size=size, workers=workers, **more)

        return given

    others = {part: over(_batched(other, part)) for part, other in given.items() if _is_data(other)}
    facts: dict[str, Any] = {"fingerprint": "", "split": "given", "samples": {}}
    facts["resume"] = "exact" if groups.exact else f"approximate: {groups.why}"

    def some(count: int) -> Batch:
        n = min(count, len(next(iter(inputs.values()))))
        x, y = ({k: v[:n] for k, v in part.items()} for part in (inputs, targets))
        weight = weigh(y) if weigh else torch.tensor(float(n))
        return Batch(x, y, weight, torch.arange(n), n)

    return Pieces(
        config,
        runtime,
        task,
        state,
        groups,
        asked.schedule,
        others,
        lambda: some(8),
        some,
        facts=facts,
        close=groups.close,
    )


def named(data: Any, where: str) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """(columns, inputs, targets) of ``(x, y)``, where each may be a tuple or dict of arrays; or of inputs alone."""
    if isinstance(data, list) and len(data) == 2:
        data = tuple(data)
    x, y = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    inputs, targets = _columns(x, "x", where), {} if y is None else _columns(y, "y", where)
    if inputs.keys() & targets.keys():
        both = ", ".join(inputs.keys() & targets.keys())
        raise UserError(where, f"inputs and targets have the same names: {both}", "name them apart")
    return {**inputs, **targets}, tuple(inputs), tuple(targets)


def _columns(value: Any, name: str, where: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    if isinstance(value, tuple):
        return {name if len(value) == 1 else f"{name}{i}": v for i, v in enumerate(value)}
    if isinstance(value, Tensor | np.ndarray | list):
        return {name: value}
    found = getattr(value, "to_numpy", None)  # a frame or series of pandas or polars
    if callable(found):
        return {name: found()}
    raise UserError(where, f"is a {type(value).__name__}", "give (x, y) of arrays, a DataLoader, or a Dataset")


def _call(inputs: tuple[str, ...]) -> str:
    """Inputs that we named go by position, those that the caller named by keyword."""
    ours = inputs == ("x",) or all(n == f"x{i}" for i, n in enumerate(inputs))
    return "positional" if ours else "keyword"


def _groups(
    data: Any, config: RunConfig, runtime: Runtime, unpack: Any, workers: int, weigh: Any
) -> ForeignLoader | DatasetLoader:
    place: dict[str, Any] = {"rank": runtime.ranks.rank, "world": runtime.ranks.world, "device": runtime.device}
    micro, seed = config.micro_batch, config.seed
    if _is_map(data):
        size = config.batch_size
        return DatasetLoader(
            data,
            unpack,
            batch_size=size,
            micro=micro,
            seed=seed,
            workers=workers,
            timeout=config.worker_timeout,
            weigh=weigh,
            **place,
        )
    timeout = config.worker_timeout
    return ForeignLoader(_loader(data), unpack, micro=micro, seed=seed, weigh=weigh, timeout=timeout, **place)


def _peek(data: Any, unpack: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The first batch, looked at without touching anybody's randomness."""
    with restored():
        if _is_map(data):
            batch: Any = next(iter(DataLoader(data, batch_size=min(64, len(data)))))
        else:
            with kept(data):
                batch = next(iter(_loader(data)), None)
    if batch is None:
        raise UserError("data", "the loader has no batch", "give it data")
    inputs, targets, _ = understood(batch, unpack)
    return inputs, targets


def _loader(data: Any) -> Any:
    return DataLoader(data, batch_size=None) if isinstance(data, IterableDataset) else data


def _batched(given: Any, where: str) -> Any:
    """Arrays (x, y) beside a loader or Dataset, as a Dataset of their own."""
    if not isinstance(given, tuple | list | Mapping):
        return given
    columns, inputs, targets = named(given, where)
    if _call(inputs) != "positional":
        raise UserError(where, "is a dict of arrays beside a loader or Dataset", "give a loader or Dataset")
    tensors = [torch.as_tensor(np.asarray(c)) for c in columns.values()]
    floats = [t.float() if t.dtype == torch.float64 else t for t in tensors]
    if len(inputs) == 1:
        return TensorDataset(*floats)
    items = [(tuple(f[i] for f in floats[: len(inputs)]), floats[-1][i]) for i in range(len(floats[0]))]
    return _Listed(items) if targets else TensorDataset(*floats)


class _Listed(Dataset[Any]):
    """Items in a list."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def _is_map(data: Any) -> bool:
    return isinstance(data, Dataset) and not isinstance(data, IterableDataset)


def _is_data(given: Any) -> bool:
    return given is not None and not isinstance(given, int | float)


def _tensors(given: Any) -> Any:
    """(x, y) of a TensorDataset, or whatever arrays can be mixed with one; None where items must be fetched."""
    if not isinstance(given, Dataset):
        return given if given is None or isinstance(given, int | float | tuple) else None
    tensors = tensors_of(given)
    if tensors is None:
        return None
    if len(tensors) == 1:
        return tensors[0]
    return tensors[:-1] if len(tensors) > 2 else tensors[0], tensors[-1]
