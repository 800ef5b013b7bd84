"""A torch Dataset of the user's making, fetched in our order and under our randomness, so that it resumes exactly."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import closing
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset, default_collate

from trainwright.core.batch import Batch, seed_of
from trainwright.core.errors import CheckpointError, DataError, UserError
from trainwright.data.foreign_batch import EVALUATION, Unpack, Weigh, cut_out, restored, seed_all, understood
from trainwright.data.loader import filling, shares
from trainwright.data.pool import TIMEOUT, Workers

Collate: TypeAlias = Callable[[list[Any]], Any]  # items -> a batch


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
        timeout: seconds without a word of a worker, which is then replaced.
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
        timeout: float = TIMEOUT,
        weigh: Weigh | None = None,
        collate: Collate | None = None,
    ) -> None:
        self.samples = _samples(dataset)
        self.dataset, self.unpack, self.weigh, self.collate = dataset, unpack, weigh, collate
        self.micro, self.seed, self.shuffle = micro, seed, shuffle
        self.rank, self.world, self.workers, self.timeout = rank, world, workers, timeout
        self.device = device or torch.device("cpu")
        self.batch_size = self.samples if batch_size == "all" else min(batch_size, self.samples)
        self.steps_per_epoch = -(-self.samples // self.batch_size)
        self.epoch, self.index, self.waited = 0, 0, 0.0
        self._latest = (0, 0)  # epoch and index of the last group
        self._fetched: Iterator[tuple[Any, Tensor, bool]] | None = None

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        """The next step's micro-batches, on the device."""
        self._latest = (self.epoch, self.index)
        if self._fetched is None:
            pieces = self._pieces(self.epoch, self.index)
            items = _Items(self.dataset, self.seed, self.collate or default_collate)
            self._fetched = _fetched(items, pieces, self.workers, self.timeout, self.device.type == "cuda")
        count = min(self.batch_size, self.samples - self.index * self.batch_size)
        group = []
        for _ in shares(count, self.rank, self.world, self.micro):
            began = time.perf_counter()
            fetched, ids, real = self._next(self._fetched)
            self.waited += time.perf_counter() - began
            group.append(_whole(fetched, ids, real, self.unpack, self.device, self.weigh))
        self.index += 1
        if self.index == self.steps_per_epoch:
            self.epoch, self.index = self.epoch + 1, 0
        return group

    @property
    def largest(self) -> int:
        """Samples of the largest micro-batch of the last group, on any rank."""
        count = min(self.batch_size, self.samples - self._latest[1] * self.batch_size)
        return max(stop - start for start, stop in shares(count, 0, self.world, self.micro))

    def limit(self, micro: int | Literal["all"]) -> None:
        """Samples per micro-batch from the next group on, or from the last one if it is asked for again."""
        self.close()
        self.micro = micro

    def again(self) -> list[Batch]:
        """The last group once more, also where it could not be handed out."""
        self.close()
        self.epoch, self.index = self._latest
        return next(self)

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

    def _next(self, fetched: Iterator[tuple[Any, Tensor, bool]]) -> tuple[Any, Tensor, bool]:
        try:
            return next(fetched)
        except Exception:
            self._fetched = None  # a generator that raised would end silently when asked again
            raise

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


def dataset_batches(
    dataset: Dataset[Any],
    unpack: Unpack | None = None,
    *,
    batch_size: int | Literal["all"],
    rank: int = 0,
    world: int = 1,
    device: torch.device | None = None,
    workers: int = 0,
    timeout: float = TIMEOUT,
    weigh: Weigh | None = None,
    collate: Collate | None = None,
    seed: int = 0,
) -> Iterator[Batch]:
    """Every item of a Dataset once over all ranks, in order, for evaluation; its randomness is the same each time."""
    order = torch.arange(_samples(dataset))
    cuts = shares(len(order), rank, world, batch_size)
    pieces = ((EVALUATION, order[a:b] if b > a else filling(order), b > a) for a, b in cuts)
    device = device or torch.device("cpu")
    items = _Items(dataset, seed, collate or default_collate)
    for batch, ids, real in _fetched(items, pieces, workers, timeout, device.type == "cuda"):
        yield _whole(batch, ids, real, unpack, device, weigh)


def tensors_of(dataset: Dataset[Any]) -> tuple[Tensor, ...] | None:
    """The tensors of a TensorDataset, or of a Subset of one; None for any other, whose items must be fetched."""
    if type(dataset) is TensorDataset:
        return dataset.tensors
    if type(dataset) is Subset:
        whole = tensors_of(dataset.dataset)
        return None if whole is None else tuple(t[torch.as_tensor(dataset.indices)] for t in whole)
    return None


class _Items(Dataset[Any]):
    """Collated batches by (epoch, item numbers), each item fetched under randomness of its own."""

    def __init__(self, dataset: Dataset[Any], seed: int, collate: Collate) -> None:
        self.dataset, self.seed, self.collate = dataset, seed, collate

    def __getitem__(self, key: tuple[int, list[int]]) -> Any:
        epoch, numbers = key
        items = []
        with restored():
            for number in numbers:
                seed_all(seed_of(self.seed, epoch, number, "item"))
                items.append(self.dataset[number])
            seed_all(seed_of(self.seed, epoch, numbers[0], "collate"))
            return self.collate(items)


def _fetched(
    items: _Items, pieces: Iterator[tuple[int, Tensor, bool]], workers: int, timeout: float, pin: bool
) -> Iterator[tuple[Any, Tensor, bool]]:
    """For each (epoch, ids, real) the collated items, ids and real; workers read ahead."""
    asked: deque[tuple[Tensor, bool]] = deque()

    def keys() -> Iterator[tuple[int, list[int]]]:
        for epoch, ids, real in pieces:
            asked.append((ids, real))
            yield epoch, ids.tolist()

    if not workers:
        for key in keys():
            yield _pinned(items[key], pin), *asked.popleft()
        return
    pool = Workers(items.__getitem__, workers, timeout=timeout, told=_told)
    with closing(pool.results(keys())) as batches:
        for batch in batches:
            yield _pinned(batch, pin), *asked.popleft()


def _told(key: tuple[int, list[int]]) -> str:
    numbers = ", ".join(map(str, key[1][:8]))
    return f"the items {numbers}{', …' if len(key[1]) > 8 else ''} of the dataset"


def _pinned(batch: Any, pin: bool) -> Any:
    """With its tensors in page-locked memory, where asked for."""
    if not pin:
        return batch
    if isinstance(batch, Tensor):
        return batch.pin_memory()
    if isinstance(batch, Mapping):
        return {k: _pinned(v, pin) for k, v in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(_pinned(v, pin) for v in batch)
    return batch


def _whole(
    fetched: Any, ids: Tensor, real: bool, unpack: Unpack | None, device: torch.device, weigh: Weigh | None
) -> Batch:
    inputs, targets, n = understood(fetched, unpack)
    if n != len(ids):
        raise UserError("batch", f"{len(ids)} items of the dataset became {n} samples", "return one sample an item")
    batch = cut_out(inputs, targets, ids, (0, n), device, weigh)
    return batch if real else batch.filler()


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
