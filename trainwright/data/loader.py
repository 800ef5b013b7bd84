"""The loader: batches in an order that is a pure function of (seed, epoch), gathered one step ahead."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw, seed_of
from trainwright.core.errors import CheckpointError
from trainwright.core.rows import Rows
from trainwright.core.task import Processor
from trainwright.data.part import Part

_STRETCH = 50  # batches that are sorted by length together: enough that few rows are padding, and few that luck stays
_AT_ONCE = 2**18  # bytes of groups that are picked at once: they stay in the cache until they are needed
K = TypeVar("K")
V = TypeVar("V")


class Loader:
    """Endless groups of micro-batches, one group for each optimizer step, for one rank.

    Batch b of an epoch is ``order[b * batch_size : (b + 1) * batch_size]``; the last one may be smaller. Its samples
    are shared out over ranks, then over micro-batches, as evenly as possible (see `shares`), so which samples a step
    sees depends on neither. Every rank gets as many micro-batches; where one has no sample left it gets a filler. Where
    the processor names a `bucketed` column, the samples of a batch are about as long as each other.

    Where that takes long, a thread gathers the next group's rows while the caller trains (see `Store.patience`);
    `Processor.batch` runs on the device, in the caller's thread. Reading ahead changes neither results nor
    `state_dict`, which counts groups handed out.

    Args:
        part: the training samples.
        processor: makes batches of rows.
        batch_size: samples per step over all ranks; "all" is the whole part.
        micro: samples per micro-batch, at most; "all" is a rank's whole share.
        seed: of the order, the window shift, the companions and the augmentation.
        shuffle: a new order each epoch; otherwise the part's order.
        rank: this process.
        world: how many processes train together.
        device: where batches are wanted.
    """

    exact = True  # resumes at the very sample
    why = ""

    def __init__(
        self,
        part: Part,
        processor: Processor,
        *,
        batch_size: int | Literal["all"],
        micro: int | Literal["all"] = "all",
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.part, self.processor = part, processor
        self.seed, self.shuffle, self.rank, self.world = seed, shuffle, rank, world
        self.device = device or torch.device("cpu")
        self.samples = len(part.positions(seed, 0))
        self.batch_size = self.samples if batch_size == "all" else min(batch_size, self.samples)
        self.micro = micro
        self.steps_per_epoch = -(-self.samples // self.batch_size)
        self.epoch = 0  # of the next group; as many are complete
        self.index = 0  # of the next group in its epoch
        self.waited = 0.0  # seconds that __next__ stood waiting for rows
        self._latest = (0, 0)  # epoch and index of the last group
        self._near: dict[tuple[int, int], Rows] = {}  # groups that were picked and not handed out yet
        self._plan: tuple[int, Tensor, Sequence[Tensor]] | None = None
        self._whole = world == 1 and self.device.type == "cpu" and not processor.companions  # nothing to be shared out
        self._ahead = _Ahead(self._gathered, patience=part.store.patience(self.device))

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        """The next step's micro-batches, on the device. Raises what gathering or `Processor.batch` raised."""
        epoch, began = self.epoch, time.perf_counter()
        key = self._latest = (epoch, self.index)
        following = (epoch, self.index + 1) if self.index + 1 < self.steps_per_epoch else (epoch + 1, 0)
        if self._ahead.never:
            gathered = self._gathered(key)
            self.waited += time.perf_counter() - began
        else:
            gathered = self._ahead.take(key)
            self.waited += time.perf_counter() - began
            self._ahead.begin(following)
        group = []
        for rows, real in gathered:
            there = rows if rows.ids.device == self.device else rows.to(self.device)
            batch = self.processor.batch(there, Draw(self.seed, epoch, there.ids))
            group.append(batch if real else batch.filler())
        self.epoch, self.index = following
        return group

    @property
    def largest(self) -> int:
        """Samples of the largest micro-batch of the last group, on any rank."""
        count = min(self.batch_size, self.samples - self._latest[1] * self.batch_size)
        return max(stop - start for start, stop in shares(count, 0, self.world, self.micro))

    def limit(self, micro: int | Literal["all"]) -> None:
        """Samples per micro-batch from the next group on, or from the last one if it is asked for again."""
        self.micro = micro
        self._ahead.forget()

    def again(self) -> list[Batch]:
        """The last group once more, also where it could not be handed out."""
        self.epoch, self.index = self._latest
        return next(self)

    def state_dict(self) -> dict[str, int]:
        """The position: epoch, and groups handed out in it."""
        return {"epoch": self.epoch, "index": self.index}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly there. CheckpointError when this part and batch size have no such position."""
        epoch, index = int(state["epoch"]), int(state["index"])
        if epoch < 0 or not 0 <= index < self.steps_per_epoch:
            raise CheckpointError(
                f"the checkpoint stands at step {index} of an epoch, but the data now gives {self.steps_per_epoch} "
                "steps: resume with the data and batch_size it was trained with"
            )
        self.epoch, self.index, self._near = epoch, index, {}

    def close(self) -> None:
        """End the thread; the store stays open."""
        self._ahead.close()

    def _gathered(self, key: tuple[int, int], thread: bool = False) -> list[tuple[Rows, bool]]:
        """This rank's micro-batches of group (epoch, index), and whether each is real or the rows of a filler."""
        if self._whole and self.micro == "all" and not thread and (rows := self._picked(key)) is not None:
            return [(rows, True)]
        epoch, index = key
        base, cut = self._order(epoch)
        picked = cut[index]
        cuts = [(0, len(picked))]
        if self.world > 1 or self.micro != "all":
            cuts = shares(len(picked), self.rank, self.world, self.micro)
        out = []
        for start, stop in cuts:
            positions = picked[start:stop] if stop > start else filling(picked)
            rows = None if thread or self.device.type != "cpu" else self.part.store.picked(positions)
            if rows is None:
                rows = self.part.gather(positions, pin=self.device.type == "cuda")
            if self.processor.companions:
                rows = self._accompanied(rows, positions, base, epoch)
            out.append((rows, stop > start))
        return out

    def _picked(self, key: tuple[int, int]) -> Rows | None:
        """The rows of a group, where all there is to do is to pick them: of small groups some at once.

        Where a batch lies in memory may decide in which order its numbers are added up, so only groups that fill whole
        cache lines are picked together: they lie alike, wherever a run was resumed.
        """
        if (near := self._near.pop(key, None)) is not None:
            return near
        epoch, index = key
        _, cut = self._order(epoch)
        store, size = self.part.store, self.batch_size
        many = _AT_ONCE // max(1, size * store.row_bytes) if store.in_lines(size) else 1
        several = [rows for rows in cut[index : index + many] if len(rows) == size]
        if len(several) < 2 or (stretch := store.picked(torch.cat(several))) is None:
            return store.picked(cut[index])
        columns = {name: stretch.dense(name).split(size) for name in stretch.columns}
        self._near = {
            (epoch, index + k): Rows({name: column[k] for name, column in columns.items()}, rows)
            for k, rows in enumerate(several)
        }
        return self._near.pop(key)

    def _accompanied(self, rows: Rows, positions: Tensor, base: Tensor, epoch: int) -> Rows:
        """With `Processor.companions` further samples beside each, drawn from the part by (seed, epoch, id)."""
        count = self.processor.companions
        drawn = Draw(self.seed, epoch, positions).integers("companions", len(base), count)
        pin = self.device.type == "cuda"
        return replace(rows, companions=tuple(self.part.gather(base[drawn[:, c]], pin=pin) for c in range(count)))

    def _order(self, epoch: int) -> tuple[Tensor, Sequence[Tensor]]:
        """The part's positions in an epoch: (S,) as they lie, and in the order of training, batch by batch."""
        if self._plan is None or self._plan[0] != epoch:
            base = self.part.positions(self.seed, epoch)
            order = base
            if self.shuffle:
                dice = torch.Generator().manual_seed(seed_of(self.seed, epoch, "order"))
                order = base[torch.randperm(len(base), generator=dice)]
                if self.processor.bucketed is not None:
                    lengths = self.part.store.lengths(self.processor.bucketed)[order]
                    order = order[bucketed(lengths, self.batch_size, dice)]
            self._plan = (epoch, base, order.split(self.batch_size))
        return self._plan[1:]


def bucketed(lengths: Tensor, batch_size: int, dice: torch.Generator) -> Tensor:
    """(S,) where in a random order the samples of the epoch are: those of a batch are about as long as each other.

    Stretches of the order are sorted by length and cut into batches, which are shuffled. What is left over for a last,
    smaller batch is the end of the random order, so no length is seen in it more often than in others.

    Args:
        lengths: (S,) of the samples in the random order.
        batch_size: samples per batch.
        dice: shuffles the batches.
    """
    whole = len(lengths) // batch_size * batch_size
    stretches = torch.arange(whole).split(_STRETCH * batch_size)
    within = [s[lengths[s].argsort(stable=True)] for s in stretches]
    cut = torch.cat(within).view(-1, batch_size) if within else torch.zeros(0, batch_size, dtype=torch.int64)
    shuffled = cut[torch.randperm(len(cut), generator=dice)].flatten()
    return torch.cat([shuffled, torch.arange(whole, len(lengths))])


def batches(
    part: Part,
    processor: Processor,
    *,
    batch_size: int | Literal["all"],
    rank: int = 0,
    world: int = 1,
    device: torch.device | None = None,
) -> Iterator[Batch]:
    """Every sample of a part exactly once over all ranks, in order, without augmentation, for evaluation.

    Rank r gets one stretch of the part, cut into batches of at most ``batch_size``. All ranks get as many batches:
    where one has no sample left (a part may be smaller than the number of ranks) it gets fillers.
    """
    device = device or torch.device("cpu")
    order, pin = part.positions(), device.type == "cuda"
    cuts = shares(len(order), rank, world, batch_size)

    def gathered(k: int, thread: bool) -> Rows:
        start, stop = cuts[k]
        return part.gather(order[start:stop] if stop > start else filling(order), pin=pin)

    ahead = _Ahead(gathered, patience=part.store.patience(device) if len(cuts) > 1 else math.inf)
    try:
        for k, (start, stop) in enumerate(cuts):
            rows = ahead.take(k)
            if k + 1 < len(cuts):
                ahead.begin(k + 1)
            batch = processor.batch(rows.to(device), None)
            yield batch if stop > start else batch.filler()
    finally:
        ahead.close()


def shares(count: int, rank: int, world: int, micro: int | Literal["all"]) -> list[tuple[int, int]]:
    """(start, stop) of a rank's micro-batches out of ``count`` samples; empty ones (start = stop) need a filler.

    Ranks get neighbouring shares that differ by at most one sample, the first ones the larger; each share is cut
    likewise into as many micro-batches as the largest share needs.
    """
    largest = -(-count // world)
    pieces = 1 if micro == "all" or not count else -(-largest // micro)
    start, stop = _share(count, rank, world)
    cuts = [_share(stop - start, k, pieces) for k in range(pieces)]
    return [(start + a, start + b) for a, b in cuts]


def filling(real: Tensor) -> Tensor:
    """The samples a filler is made of: real ones, and two where there are, since batch norm refuses a single one."""
    return real[:2]


def _share(count: int, k: int, n: int) -> tuple[int, int]:
    least, more = divmod(count, n)
    start = k * least + min(k, more)
    return start, start + least + (k < more)


class _Ahead(Generic[K, V]):
    """Work done one key ahead, in one thread, as long as it takes some time; else when it is asked for.

    Args:
        work: is done for a key, and told whether that is in the thread.
        patience: seconds that the work must take to be done ahead.
        clock: seconds.
    """

    def __init__(
        self, work: Callable[[K, bool], V], *, patience: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._wanted, self._patience, self._clock = work, patience, clock
        self._took = (0.0, 0.0)  # seconds, the last two times: one alone may have waited for another process
        self._thread = ThreadPoolExecutor(1, "ahead") if patience < math.inf else None
        self._pending: tuple[K, Future[V]] | None = None
        self.never = self._thread is None  # whatever it takes

    def take(self, key: K) -> V:
        """The work's result; what was begun for another key is thrown away."""
        pending, self._pending = self._pending, None
        if pending is not None:
            if pending[0] == key:
                return pending[1].result()
            self._drop(pending)
        return self._work(key, False)

    def begin(self, key: K) -> None:
        """Start on a key without waiting; where the system gives no thread, nothing is done ahead from here on."""
        if self._thread is not None and self._pending is None and min(self._took) >= self._patience:
            try:
                self._pending = (key, self._thread.submit(self._work, key, True))
            except RuntimeError:  # "can't start new thread": it needs memory of its own
                self._thread = None

    def forget(self) -> None:
        """Throw away what was begun."""
        pending, self._pending = self._pending, None
        self._drop(pending)

    def close(self) -> None:
        """Wait for the thread and end it."""
        self.forget()
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = None

    def _work(self, key: K, thread: bool) -> V:
        began = self._clock()
        try:
            return self._wanted(key, thread)
        finally:
            self._took = (self._clock() - began, self._took[0])

    def _drop(self, pending: tuple[K, Future[V]] | None) -> None:
        if pending is not None and not pending[1].cancel():
            pending[1].exception()  # waits; nobody asked for this result
