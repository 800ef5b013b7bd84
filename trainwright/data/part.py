"""A part of the data (train, valid, test): which samples of the store belong to it, in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import seed_of
from trainwright.core.errors import DataError
from trainwright.core.rows import Rows, Windows
from trainwright.core.task import Processor
from trainwright.data.store import Store


class Part:
    """Samples of one part. It is a `core.rows.Encoded`.

    Without windows a sample is a record. With windows the records of the part are stretches of the stream, and a
    sample is a window whose targets lie in one stretch; its lead rows may lie before the stretch (context from the
    earlier part), and nothing of it lies behind. No window begins before stream row ``lead``.

    Raises DataError for a part without a sample.
    """

    def __init__(
        self, store: Store, ids: Tensor, windows: Windows | None, processor: Processor, *, name: str = "data"
    ) -> None:
        self.store, self.ids, self.windows, self.processor, self.name = store, ids, windows, processor, name
        if not len(ids):
            raise DataError(name, "this part is empty", "give it a larger share of the records")
        assert ids.dtype == torch.int64
        assert 0 <= ids.min() <= ids.max() < len(store)
        assert not set(store.gaps) & set(ids.tolist() if store.gaps else ()), "a record without a sample"
        kept = store.windows
        assert (windows and (windows.lead, windows.length)) == (kept and (kept.lead, kept.length)), "not of this store"
        self._stretches = [] if windows is None else _stretches(ids, store, windows.lead, name)
        self._positions = self._eval_positions()
        if not len(self._positions):
            assert windows is not None
            raise self._too_short(windows)

    def __len__(self) -> int:
        """The number of samples, each once, in evaluation."""
        return len(self._positions)

    def positions(self, seed: int | None = None, epoch: int = 0) -> Tensor:
        """(S,) int64, where in the store the samples are; S is the same in each epoch.

        With a seed (training) and `Windows.shift`, the windows start at another row each epoch, up to ``stride - 1``
        rows later; those that the largest shift would push over the end are left out, so S may then be smaller than
        ``len``.
        """
        if seed is None or self.windows is None or not self.windows.shift:
            return self._positions
        pieces = []
        for number, (start, stop) in enumerate(self._stretches):
            count, shifts = _shifted(stop - start, self.windows)
            shift = seed_of(seed, epoch, "window shift", number) % shifts if count else 0
            pieces.append(_steps(start + shift, count, self.windows.stride))
        return torch.cat(pieces)

    def gather(self, positions: Tensor, device: torch.device | None = None, *, pin: bool = False) -> Rows:
        """The samples at ``positions`` (N,) of this part, as `Store.gather` gives them."""
        if self.windows is None:
            return self.store.gather(positions, device, pin=pin)
        ends = np.array([stop for _, stop in self._stretches])
        stops = torch.from_numpy(ends[np.searchsorted(ends, positions.numpy(), side="right")])
        return self.store.gather(positions, device, stops=stops, pin=pin)

    def rows(self, start: int, stop: int) -> Rows:
        """Samples ``start`` to ``stop`` on the CPU."""
        return self.gather(self._positions[start:stop], torch.device("cpu"))

    def chosen(self, numbers: Tensor) -> Rows:
        """Samples of these numbers (N,), in this order, on the CPU."""
        return self.gather(self._positions[numbers], torch.device("cpu"))

    def records(self, positions: Tensor) -> Tensor:
        """(N,) positions -> (N,) the records in which they are."""
        offsets = self.store.row_offsets
        return positions if offsets is None else torch.searchsorted(offsets, positions, right=True) - 1

    def _eval_positions(self) -> Tensor:
        if self.windows is None:
            return self.ids
        stride = self.windows.stride
        pieces = [_steps(a, _count(b - a, self.windows), stride) for a, b in self._stretches]
        return torch.cat(pieces) if pieces else self.ids[:0]

    def _too_short(self, windows: Windows) -> DataError:
        rows = max((b - a for a, b in self._stretches), default=0)
        least = 1 if windows.partial else windows.length
        context = f" after the first {windows.lead} rows of the stream, which are context only" if windows.lead else ""
        return DataError(
            self.name,
            f"{rows} rows are too few for one window of {windows.length} rows",
            f"give it at least {least} row{'s' * (least > 1)} in a row{context}, or choose shorter windows",
        )


def _stretches(ids: Tensor, store: Store, lead: int, name: str) -> list[tuple[int, int]]:
    """Stream rows (first, after last) of each run of neighbouring records that may be targets."""
    offsets = store.row_offsets
    assert offsets is not None
    if bool((ids[1:] <= ids[:-1]).any()):
        raise DataError(name, "the records of a stream must stay in order", "split it by ranges or chronologically")
    breaks = (ids[1:] != ids[:-1] + 1).nonzero().reshape(-1) + 1
    runs = torch.tensor_split(ids, breaks)
    found = [(_first(int(r[0]), offsets, store.gaps, lead), int(offsets[r[-1] + 1])) for r in runs]
    return [(a, b) for a, b in found if a < b]


def _first(record: int, offsets: Tensor, gaps: Sequence[int], lead: int) -> int:
    """The first stream row that may be a target: context reaches neither before the stream nor over a gap in it."""
    breaks = [int(offsets[g]) for g in gaps if g < record]
    return max(int(offsets[record]), lead + max(breaks, default=0))


def _count(rows: int, windows: Windows) -> int:
    """How many windows ``rows`` rows of targets hold."""
    length, stride = windows.length, windows.stride
    if not windows.partial:
        return max(0, (rows - length) // stride + 1) if rows >= length else 0
    if rows <= length:
        return int(rows > 0)
    return min(-(-(rows - length) // stride) + 1, -(-rows // stride))  # the last begins before the end


def _shifted(rows: int, windows: Windows) -> tuple[int, int]:
    """How many windows fit whatever the shift, and the number of shifts to draw from."""
    count = max(_count(rows - windows.stride + 1, windows), min(1, _count(rows, windows)))
    last = (count - 1) * windows.stride + (1 if windows.partial else windows.length)
    return count, max(1, min(windows.stride, rows - last + 1))


def _steps(start: int, count: int, stride: int) -> Tensor:
    return start + torch.arange(count, dtype=torch.int64) * stride
