"""Data of the user's own making: torch DataLoaders and Datasets, behind the interface of the loader."""

from __future__ import annotations

import random
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from trainwright.core.batch import Batch, seed_of
from trainwright.core.errors import CheckpointError, DataError, UserError
from trainwright.data.loader import filling, shares

Unpack: TypeAlias = Callable[[Any], tuple[Any, Any]]  # a batch -> (inputs, targets); targets None when there are none
Weigh: TypeAlias = Callable[[Mapping[str, Tensor]], Tensor]  # targets -> 0-d weight
Collate: TypeAlias = Callable[[list[Any]], Any]  # items -> a batch
Named: TypeAlias = dict[str, Tensor]

_TARGETS = ("labels", "label", "targets", "target", "y")
_HOW = "say how with unpack=lambda batch: (inputs, targets)"
_PATIENCE = 60.0  # seconds to count the batches of a loader that does not know its length
EVALUATION = -1  # the epoch whose randomness evaluation has


class ForeignLoader:
    """A user's DataLoader (or any iterable of batches) as groups of micro-batches, one group for each of its batches.

    Each rank goes through the whole loader and takes its share of every batch along dim 0 (see `shares`). The loader's
    own order and workers draw from global randomness; they are given a stream of their own, which begins anew each
    epoch from (seed, epoch), so that ranks agree and training's randomness is not touched.

    Args:
        loader: what the user made.
        unpack: batch -> (inputs, targets); None understands (x, y), mappings with a target key, and bare tensors.
        micro: samples per micro-batch, at most; "all" is a rank's whole share.
        rank: this process.
        world: how many processes train together.
        device: where batches are wanted.
        weigh: targets -> weight of a batch, 0-d; counts samples when None.
        seed: of the stream of randomness.
    """

    exact = False
    why = (
        "a DataLoader is resumed by skipping what the epoch has already seen: its own shuffling and workers are not "
        "ours, so samples may repeat or be missed"
    )

    def __init__(
        self,
        loader: Iterable[Any],
        unpack: Unpack | None = None,
        *,
        micro: int | Literal["all"] = "all",
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
        weigh: Weigh | None = None,
        seed: int = 0,
    ) -> None:
        _check_loader(loader, world)
        self.loader, self.unpack, self.weigh = loader, unpack, weigh
        self.micro, self.rank, self.world, self.seed = micro, rank, world, seed
        self.device = device or torch.device("cpu")
        self.epoch, self.index, self.waited = 0, 0, 0.0
        self._steps: int | None = None
        self._stream: _Stream | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the loader; counted by one pass through it when it does not say. UserError when that takes long."""
        if self._steps is None:
            self._steps = _length(self.loader, self.seed)
        return self._steps

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        """The next step's micro-batches, on the device."""
        began = time.perf_counter()
        if self._stream is None:
            self._stream = _Stream(self.loader, self.unpack, seed_of(self.seed, self.epoch, "foreign"))
            self._stream.skip(self.index)
        inputs, targets, ids = self._stream.pop()
        self.waited += time.perf_counter() - began
        self.index += 1
        if self._stream.empty:  # seen by reading one batch ahead
            self._stream, self.epoch, self.index = None, self.epoch + 1, 0
        cuts = shares(len(ids), self.rank, self.world, self.micro)
        return [_cut(inputs, targets, ids, cut, self.device, self.weigh) for cut in cuts]

    def state_dict(self) -> dict[str, int]:
        """The position: epoch, and batches handed out in it."""
        return {"epoch": self.epoch, "index": self.index}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on near there: the epoch begins anew and its first batches are skipped."""
        self.close()
        self.epoch, self.index = int(state["epoch"]), int(state["index"])

    def close(self) -> None:
        """Let the loader's workers go."""
        self._stream = None


class DatasetLoader:
    """A user's map-style Dataset as groups of micro-batches, in our order, resumed exactly.

    The order is a function of (seed, epoch), and each item is fetched with Python's, NumPy's and torch's global
    randomness seeded from (seed, epoch, index) and restored after; so augmentation in ``__getitem__`` repeats whatever
    the number of workers, ranks or interruptions. (A generator the dataset keeps for itself is out of reach.)

    Args:
        dataset: with ``__len__`` and ``__getitem__``.
        unpack: as in `ForeignLoader`.
        batch_size: samples per step over all ranks; "all" is the whole dataset.
        micro: samples per micro-batch, at most; "all" is a rank's whole share.
        seed: of the order and of the items' randomness.
        shuffle: a new order each epoch.
        rank: this process.
        world: how many processes train together.
        device: where batches are wanted.
        workers: processes that fetch items; 0 is this one.
        weigh: targets -> weight of a batch, 0-d; counts samples when None.
        collate: items -> batch; torch's own when None.
    """

    exact = True
    why = ""

    def __init__(
        self,
        dataset: Dataset[Any],
        unpack: Unpack | None = None,
        *,
        batch_size: int | Literal["all"],
        micro: int | Literal["all"] = "all",
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
        workers: int = 0,
        weigh: Weigh | None = None,
        collate: Collate | None = None,
    ) -> None:
        self.samples = _samples(dataset)
        self.dataset, self.unpack, self.weigh, self.collate = dataset, unpack, weigh, collate
        self.micro, self.seed, self.shuffle = micro, seed, shuffle
        self.rank, self.world, self.workers = rank, world, workers
        self.device = device or torch.device("cpu")
        self.batch_size = self.samples if batch_size == "all" else min(batch_size, self.samples)
        self.steps_per_epoch = -(-self.samples // self.batch_size)
        self.epoch, self.index, self.waited = 0, 0, 0.0
        self._fetched: Iterator[tuple[Any, Tensor, bool]] | None = None

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        """The next step's micro-batches, on the device."""
        if self._fetched is None:
            pieces = self._pieces(self.epoch, self.index)
            self._fetched = _fetched(self.dataset, pieces, self.seed, self.workers, self.collate)
        count = min(self.batch_size, self.samples - self.index * self.batch_size)
        group = []
        for _ in shares(count, self.rank, self.world, self.micro):
            began = time.perf_counter()
            fetched, ids, real = next(self._fetched)
            self.waited += time.perf_counter() - began
            group.append(_whole(fetched, ids, real, self.unpack, self.device, self.weigh))
        self.index += 1
        if self.index == self.steps_per_epoch:
            self.epoch, self.index = self.epoch + 1, 0
        return group

    def state_dict(self) -> dict[str, int]:
        """The position: epoch, and groups handed out in it."""
        return {"epoch": self.epoch, "index": self.index}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly there."""
        epoch, index = int(state["epoch"]), int(state["index"])
        if epoch < 0 or not 0 <= index < self.steps_per_epoch:
            raise CheckpointError(
                f"the checkpoint stands at step {index} of an epoch, but the dataset now gives {self.steps_per_epoch} "
                "steps: resume with the data and batch_size it was trained with"
            )
        self.close()
        self.epoch, self.index = epoch, index

    def close(self) -> None:
        """End the workers."""
        self._fetched = None

    def _pieces(self, epoch: int, index: int) -> Iterator[tuple[int, Tensor, bool]]:
        """This rank's micro-batches from a position on, without end: (epoch, item numbers, real or a filler's)."""
        while True:
            order = torch.arange(self.samples)
            if self.shuffle:
                dice = torch.Generator().manual_seed(seed_of(self.seed, epoch, "order"))
                order = torch.randperm(self.samples, generator=dice)
            for batch in order.split(self.batch_size)[index:]:
                for start, stop in shares(len(batch), self.rank, self.world, self.micro):
                    yield epoch, batch[start:stop] if stop > start else filling(batch), stop > start
            epoch, index = epoch + 1, 0


def loader_batches(
    loader: Iterable[Any],
    unpack: Unpack | None = None,
    *,
    rank: int = 0,
    world: int = 1,
    device: torch.device | None = None,
    weigh: Weigh | None = None,
    seed: int = 0,
) -> Iterator[Batch]:
    """One pass through a DataLoader for evaluation: each rank its share of every batch, fillers where none is left."""
    _check_loader(loader, world)
    stream = _Stream(loader, unpack, seed_of(seed, EVALUATION, "foreign"))
    while not stream.empty:
        inputs, targets, ids = stream.pop()
        for cut in shares(len(ids), rank, world, "all"):
            yield _cut(inputs, targets, ids, cut, device or torch.device("cpu"), weigh)


def dataset_batches(
    dataset: Dataset[Any],
    unpack: Unpack | None = None,
    *,
    batch_size: int | Literal["all"],
    rank: int = 0,
    world: int = 1,
    device: torch.device | None = None,
    workers: int = 0,
    weigh: Weigh | None = None,
    collate: Collate | None = None,
    seed: int = 0,
) -> Iterator[Batch]:
    """Every item of a Dataset once over all ranks, in order, for evaluation; its randomness is the same each time."""
    order = torch.arange(_samples(dataset))
    cuts = shares(len(order), rank, world, batch_size)
    pieces = ((EVALUATION, order[a:b] if b > a else filling(order), b > a) for a, b in cuts)
    for batch, ids, real in _fetched(dataset, pieces, seed, workers, collate):
        yield _whole(batch, ids, real, unpack, device or torch.device("cpu"), weigh)


def tensors_of(dataset: Dataset[Any]) -> tuple[Tensor, ...] | None:
    """The tensors of a TensorDataset, or of a Subset of one; None for any other, whose items must be fetched."""
    if type(dataset) is TensorDataset:
        return dataset.tensors
    if type(dataset) is Subset:
        whole = tensors_of(dataset.dataset)
        return None if whole is None else tuple(t[torch.as_tensor(dataset.indices)] for t in whole)
    return None


def understood(batch: Any, unpack: Unpack | None) -> tuple[Named, Named, int]:
    """(inputs, targets, samples) of a user's batch: x or x0, x1, …, and y or y0, y1, …; keys of mappings are kept.

    Raises UserError for what cannot be understood without ``unpack``.
    """
    inputs, targets = _parts(batch) if unpack is None else _unpacked(batch, unpack)
    x, y = _named(inputs, "x"), {} if targets is None else _named(targets, "y")
    sizes = {name: t.shape[0] if t.dim() else None for name, t in [*x.items(), *y.items()]}
    if not x or None in sizes.values() or len(set(sizes.values())) != 1:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in [*x.items(), *y.items()])
        raise UserError(
            "batch", f"its tensors do not agree on the samples of dim 0: {shapes or 'there are none'}", _HOW
        )
    return x, y, next(n for n in sizes.values() if n is not None)


def _parts(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        found = [key for key in batch if key in _TARGETS]
        if len(found) != 1:
            keys = ", ".join(map(str, batch))
            raise UserError("batch", f"which of its keys ({keys}) is the target is not clear", _HOW)
        return {key: value for key, value in batch.items() if key != found[0]}, batch[found[0]]
    if not isinstance(batch, (tuple, list)):
        return batch, None
    if len(batch) not in (1, 2):
        raise UserError("batch", f"it has {len(batch)} parts, not (inputs, targets)", _HOW)
    return batch[0], batch[1] if len(batch) == 2 else None


def _unpacked(batch: Any, unpack: Unpack) -> tuple[Any, Any]:
    answer = unpack(batch)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise UserError("unpack", f"it returned {_said(answer)}", "return (inputs, targets); targets may be None")
    return answer


def _named(value: Any, name: str) -> Named:
    if isinstance(value, Mapping):
        return {str(key): _tensor(v, str(key)) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return {f"{name}{k}": _tensor(v, f"{name}{k}") for k, v in enumerate(value)}
    return {name: _tensor(value, name)}


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(np.array(value))
    raise UserError("batch", f"its part '{name}' is {_said(value)}, not a tensor", _HOW)


def _said(value: Any) -> str:
    inner = f" of {type(value[0]).__name__}" if isinstance(value, (tuple, list)) and value else ""
    return f"{type(value).__name__}{inner}"


def _cut(
    inputs: Named,
    targets: Named,
    ids: Tensor,
    cut: tuple[int, int],
    device: torch.device,
    weigh: Weigh | None,
) -> Batch:
    """Samples ``cut`` of a batch on the device, or a filler where there are none."""
    start, stop = cut
    rows = slice(start, stop) if stop > start else slice(0, len(filling(ids)))
    x = {k: v[rows].to(device, non_blocking=True) for k, v in inputs.items()}
    y = {k: v[rows].to(device, non_blocking=True) for k, v in targets.items()}
    n = len(ids[rows])
    weight = torch.tensor(float(n), device=device) if weigh is None else weigh(y)
    batch = Batch(x, y, weight, ids[rows].to(device, non_blocking=True), n)
    return batch if stop > start else batch.filler()


def _whole(
    fetched: Any, ids: Tensor, real: bool, unpack: Unpack | None, device: torch.device, weigh: Weigh | None
) -> Batch:
    inputs, targets, n = understood(fetched, unpack)
    if n != len(ids):
        raise UserError("batch", f"{len(ids)} items of the dataset became {n} samples", "return one sample an item")
    batch = _cut(inputs, targets, ids, (0, n), device, weigh)
    return batch if real else batch.filler()


def _check_loader(loader: Iterable[Any], world: int) -> None:
    if isinstance(loader, Iterator):
        raise UserError("data", "an iterator can be gone through only once", "give a DataLoader or a list of batches")
    if world > 1 and isinstance(loader, DataLoader) and isinstance(loader.sampler, DistributedSampler):
        raise UserError("data", "this DataLoader is already cut for ranks", "give one without a DistributedSampler")


def _length(loader: Iterable[Any], seed: int) -> int:
    """Batches of an epoch; counted, within `_PATIENCE`, when the loader does not say."""
    if isinstance(loader, Sized):
        with suppress(TypeError):  # a DataLoader over an IterableDataset without a length
            return len(loader)
    count, until = 0, time.perf_counter() + _PATIENCE
    with _Randomness(seed_of(seed, 0, "foreign")).own():
        for _ in loader:
            count += 1
            if time.perf_counter() > until:
                what = f"this DataLoader has no length, and {_PATIENCE:.0f} s of counting saw no end ({count} batches)"
                raise UserError("data", what, "give its dataset a __len__")
    return count


def _samples(dataset: Dataset[Any]) -> int:
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        raise UserError(
            "data",
            f"{type(dataset).__name__} has no items by number",
            "wrap it in a torch DataLoader, or give it a __len__",
        )
    if not len(dataset):
        raise DataError("data", f"{type(dataset).__name__} is empty", "give at least one item")
    return len(dataset)


class _Stream:
    """One epoch of a foreign loader, read one batch ahead so that its end is known in time."""

    def __init__(self, loader: Iterable[Any], unpack: Unpack | None, seed: int) -> None:
        self._unpack, self._random = unpack, _Randomness(seed)
        self._seen = 0
        with self._random.own():
            self._batches = iter(loader)
        self._next: Any = None
        self.empty = False
        self._read()
        if self.empty:
            raise DataError(
                "data", "the DataLoader gave no batch", "see whether its dataset is empty, or drop_last set"
            )

    def pop(self) -> tuple[Named, Named, Tensor]:
        """Inputs, targets, and ids: running numbers within the epoch."""
        inputs, targets, n = understood(self._next, self._unpack)
        ids = torch.arange(self._seen, self._seen + n)
        self._seen += n
        self._read()
        return inputs, targets, ids

    def skip(self, count: int) -> None:
        for k in range(count):
            if self.empty:
                raise CheckpointError(
                    f"the checkpoint stands after batch {count} of an epoch, but the DataLoader now ends after {k}"
                )
            self.pop()

    def _read(self) -> None:
        with self._random.own():
            try:
                self._next = next(self._batches)
            except StopIteration:
                self.empty = True


class _Items(Dataset[Any]):
    """Collated batches by (epoch, item numbers), each item fetched under randomness of its own."""

    def __init__(self, dataset: Dataset[Any], seed: int, collate: Collate) -> None:
        self.dataset, self.seed, self.collate = dataset, seed, collate

    def __getitem__(self, key: tuple[int, list[int]]) -> Any:
        epoch, numbers = key
        items = []
        with _Randomness(seed_of(self.seed, epoch, numbers[0], "collate")).own():
            outer = _states()
            for number in numbers:
                _seed_all(seed_of(self.seed, epoch, number, "item"))
                items.append(self.dataset[number])
            _restore(outer)
            return self.collate(items)


def _fetched(
    dataset: Dataset[Any],
    pieces: Iterator[tuple[int, Tensor, bool]],
    seed: int,
    workers: int,
    collate: Collate | None,
) -> Iterator[tuple[Any, Tensor, bool]]:
    """For each (epoch, ids, real) the collated items, ids and real; workers read ahead."""
    asked: deque[tuple[Tensor, bool]] = deque()

    def keys() -> Iterator[tuple[int, list[int]]]:
        for epoch, ids, real in pieces:
            asked.append((ids, real))
            yield epoch, ids.tolist()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: as the user wrote
        loader = DataLoader(
            _Items(dataset, seed, collate or default_collate),
            batch_size=None,
            sampler=keys(),  # type: ignore[arg-type]  # any iterable will do
            num_workers=workers,
            collate_fn=_same,
            generator=torch.Generator(),  # else it would draw from the run's randomness
        )
        batches = iter(loader)
    for batch in batches:
        yield batch, *asked.popleft()


def _same(batch: Any) -> Any:
    return batch


class _Randomness:
    """Python's, NumPy's and torch's global randomness on the CPU, as a stream of its own."""

    def __init__(self, seed: int) -> None:
        self._seed, self._state = seed, None

    @contextmanager
    def own(self) -> Iterator[None]:
        """Within, the globals follow this stream; after, they are as they were."""
        outer = _states()
        if self._state is None:
            _seed_all(self._seed)
        else:
            _restore(self._state)
        try:
            yield
        finally:
            self._state = _states()
            _restore(outer)


def _states() -> Any:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _restore(states: Any) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
