"""A torch DataLoader of the user's making, behind the interface of the loader."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from trainwright.core.batch import Batch, seed_of
from trainwright.core.errors import CheckpointError, DataError, UserError
from trainwright.data.foreign_batch import EVALUATION, Named, Randomness, Unpack, Weigh, cut_out, understood
from trainwright.data.foreign_workers import lost, watched
from trainwright.data.loader import shares
from trainwright.data.pool import TIMEOUT
from trainwright.data.reach import generators, kept, out_of_reach, states

_TRIES = 3  # further ones, of one batch
_PATIENCE = 60.0  # seconds to count the batches of a loader that does not know its length


class ForeignLoader:
    """A user's DataLoader (or any iterable of batches) as groups of micro-batches, one group for each of its batches.

    Each rank goes through the whole loader and takes its share of every batch along dim 0 (see `shares`). The loader's
    own order and workers draw from global randomness; they are given a stream of their own, which begins anew each
    epoch from (seed, epoch), so that ranks agree and training's randomness is not touched. Generators of the loader's
    own are a part of the state. To go on in mid-epoch, the epoch begins anew and what it has seen is skipped.

    Args:
        loader: what the user made.
        unpack: batch -> (inputs, targets); None understands (x, y), mappings with a target key, and bare tensors.
        micro: samples per micro-batch, at most; "all" is a rank's whole share.
        rank: this process.
        world: how many processes train together.
        device: where batches are wanted.
        weigh: targets -> weight of a batch, 0-d; counts samples when None.
        seed: of the stream of randomness.
        timeout: seconds without a word of the loader's workers; where they die or are silent, the epoch begins anew and
            is skipped up to the same batch, at most three times in a row.
    """

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
        timeout: float = TIMEOUT,
    ) -> None:
        _check_loader(loader, world)
        self.loader, self.unpack, self.weigh = loader, unpack, weigh
        self.micro, self.rank, self.world, self.seed = micro, rank, world, seed
        self.device = device or torch.device("cpu")
        self.timeout, self.epoch, self.index, self.waited = timeout, 0, 0, 0.0
        self.why = out_of_reach(loader)  # it may not resume exactly
        self.exact = not self.why
        self._generators = generators(loader)
        self._drawn: list[Tensor] | None = None  # from them, before the epoch that is under way
        self._steps: int | None = None
        self._stream: _Stream | None = None
        self._latest: tuple[Named, Named, Tensor] | None = None  # the last batch, whole

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the loader, counted by one pass when it does not say; UserError when that takes long."""
        if self._steps is None:
            self._steps = _length(self.loader, self.seed)
        return self._steps

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        """The next step's micro-batches, on the device."""
        began, self._latest = time.perf_counter(), None
        inputs, targets, ids, last = self._popped()
        self.waited += time.perf_counter() - began
        self.index += 1
        if last:
            self._stream, self._drawn, self.epoch, self.index = None, None, self.epoch + 1, 0
        self._latest = inputs, targets, ids
        return self.again()

    @property
    def largest(self) -> int:
        """Samples of the largest micro-batch of the last group, on any rank."""
        if self._latest is None:
            return 1 if self.micro == "all" else self.micro
        return max(stop - start for start, stop in shares(len(self._latest[2]), 0, self.world, self.micro))

    def limit(self, micro: int | Literal["all"]) -> None:
        """Samples per micro-batch from the next group on, or from the last one if it is asked for again."""
        self.micro = micro

    def again(self) -> list[Batch]:
        """The last group once more, also where it could not be handed out."""
        if self._latest is None:
            return next(self)
        inputs, targets, ids = self._latest
        cuts = shares(len(ids), self.rank, self.world, self.micro)
        return [cut_out(inputs, targets, ids, cut, self.device, self.weigh) for cut in cuts]

    def state_dict(self) -> dict[str, Any]:
        """The position: epoch, and batches handed out in it; and the loader's own generators as the epoch began."""
        drawn = states(self._generators) if self._drawn is None else self._drawn
        return {"epoch": self.epoch, "index": self.index, "generators": drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there, exactly where ``exact``. CheckpointError where the loader now has other generators."""
        self.close()
        drawn = list(state["generators"])
        if drawn and len(drawn) != len(self._generators):  # a checkpoint of an earlier format knows of none
            what = f"{len(drawn)} generators of its own, now it has {len(self._generators)}"
            raise CheckpointError(f"the DataLoader of the checkpoint had {what}")
        self.epoch, self.index, self._drawn = int(state["epoch"]), int(state["index"]), drawn or None

    def close(self) -> None:
        """Let the loader's workers go."""
        self._stream = None

    def _popped(self) -> tuple[Named, Named, Tensor, bool]:
        """The next batch, and whether it is the epoch's last, which is seen by reading one ahead."""
        for left in range(_TRIES, -1, -1):
            try:
                if self._stream is None:
                    self._stream = self._begun()
                inputs, targets, ids = self._stream.pop()
            except Exception as error:
                self._stream = None  # it may stand anywhere now
                if not lost(error):
                    raise
                self._must_begin_anew(error, left)
            else:
                return inputs, targets, ids, self._stream.empty
        raise AssertionError

    def _must_begin_anew(self, error: Exception, left: int) -> None:
        """UserError where workers were lost too often, or the epoch would not be the same again."""
        if self.exact and left:
            return
        often = f"{_TRIES + 1} times in a row" if self.exact else f"and the epoch cannot be repeated: {self.why}"
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
        what = f"lost its workers at batch {self.index} of an epoch, {often} ({why})"
        raise UserError("the DataLoader", what, "fetch in this process with num_workers = 0 to see why") from error

    def _begun(self) -> _Stream:
        """The epoch that is under way, at its place."""
        if self._drawn is None:
            self._drawn = states(self._generators)
        for generator, state in zip(self._generators, self._drawn, strict=False):
            generator.set_state(state)
        with watched(self.loader, self.timeout):
            stream = _Stream(self.loader, self.unpack, seed_of(self.seed, self.epoch, "foreign"))
        stream.skip(self.index)
        return stream


def loader_batches(
    loader: Iterable[Any],
    unpack: Unpack | None = None,
    *,
    rank: int = 0,
    world: int = 1,
    device: torch.device | None = None,
    weigh: Weigh | None = None,
    seed: int = 0,
    timeout: float = TIMEOUT,
    micro: int | Literal["all"] = "all",
) -> Iterator[Batch]:
    """One pass through a DataLoader for evaluation: each rank its share of every batch, fillers where none is left.

    It is the same pass each time, also where the loader has a generator of its own.
    """
    ranks = {"rank": rank, "world": world}
    whole = ForeignLoader(loader, unpack, micro=micro, device=device, weigh=weigh, seed=seed, timeout=timeout, **ranks)
    whole.epoch = EVALUATION
    with kept(loader):
        while whole.epoch == EVALUATION:
            yield from next(whole)


class _Stream:
    """One epoch of a foreign loader, read one batch ahead so that its end is known in time."""

    def __init__(self, loader: Iterable[Any], unpack: Unpack | None, seed: int) -> None:
        self._unpack, self._random = unpack, Randomness(seed)
        self._seen = 0
        with self._random.own():
            self._batches = iter(loader)
        self._next: Any = None
        self.empty = False
        self._read()
        if self.empty:
            raise DataError("data", "the DataLoader gave no batch", "see whether its dataset is empty or drop_last set")

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
    with Randomness(seed_of(seed, 0, "foreign")).own(), kept(loader):
        for _ in loader:
            count += 1
            if time.perf_counter() > until:
                what = f"this DataLoader has no length, and {_PATIENCE:.0f} s of counting saw no end ({count} batches)"
                raise UserError("data", what, "give its dataset a __len__")
    return count
