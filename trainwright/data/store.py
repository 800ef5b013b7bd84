"""The store: every encoded sample of a data set, column by column, in memory, on a device, or in mapped files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Ragged, Rows, Windows
from trainwright.data.gather import Ints, Raw, raw, take, take_ragged, take_windows
from trainwright.data.joint import Joint

_THREADS = 8  # that unpack bytes, at most
_LINE = 64  # bytes of the cache
_SLOW = 2e-3  # seconds: of a batch that was not in memory yet
_LOOKS, _STRETCH = 64, 1024  # bytes that `changed` compares: so many stretches, evenly spaced, of so many each
Unpack = Callable[[str, bytes], Tensor]


@dataclass(frozen=True, slots=True)
class Kept:
    """One column as it lies.

    ``values`` is (R, *shape) in the column's dtype: R is the number of records for dense columns, of rows for ragged
    and window columns, and of bytes (uint8, no shape) for columns of bytes. ``offsets`` (records + 1,) say where each
    record's rows begin; None for dense columns, whose values may lie in several pieces.
    """

    column: Column
    values: Tensor | Joint
    offsets: Ints | None = None

    @property
    def tensor(self) -> Tensor:
        """The values in one piece."""
        return self.values if isinstance(self.values, Tensor) else self.values.whole()

    @property
    def nbytes(self) -> int:
        """Of values and offsets."""
        return self.values.nbytes + (0 if self.offsets is None else int(self.offsets.nbytes))


class Store:
    """Columns of encoded samples by record number; read-only.

    In a store with ``windows`` all records form one stream: record i has the rows ``row_offsets[i]`` to
    ``row_offsets[i + 1]`` of it, and samples are addressed by stream rows. Columns of bytes stay in the memory of the
    host whatever the device. A target that no record has is no column of the store.

    Args:
        kept: the columns; with windows, all of them with the offsets of the stream.
        records: how many there are.
        windows: set when the records are one stream.
        unpack: `Processor.unpack`, for columns of bytes.
        release: called once by `close`, to remove temporary files.
        gaps: records without a sample, because they were bad; nobody may ask for them.
        mapped: the columns lie in files.
        borrowed: the columns that lie in memory of somebody else, who may write there.
    """

    def __init__(
        self,
        kept: Mapping[str, Kept],
        records: int,
        *,
        windows: Windows | None = None,
        unpack: Unpack | None = None,
        release: Callable[[], None] | None = None,
        gaps: Sequence[int] = (),
        mapped: bool = False,
        borrowed: Sequence[str] = (),
    ) -> None:
        self._kept = dict(kept)
        self._marks = {name: _mark(self._kept[name].values) for name in borrowed}
        self.gaps, self.mapped = tuple(gaps), mapped
        self._records = records
        self.windows = windows
        self._unpack, self.release = unpack, release
        dense = all(k.column.kind == "dense" and k.values.is_cpu for k in self._kept.values())
        self._plain = {n: k.values for n, k in self._kept.items()} if dense else None
        self._widths = [v[:1].nbytes for v in (self._plain or {}).values()]  # bytes of a row
        self.row_bytes = sum(self._widths)  # of a row of all columns that `picked` gives; 0 where it gives none
        self._pool: ThreadPoolExecutor | None = None
        devices = [k.values.device for k in self._kept.values() if k.column.kind != "bytes"]
        self.device = devices[0] if devices else torch.device("cpu")  # where gathered rows are
        self.row_offsets: Tensor | None = None
        if windows is not None:
            offsets = next(k.offsets for k in self._kept.values())
            assert offsets is not None
            self.row_offsets = torch.from_numpy(offsets)

    def __len__(self) -> int:
        """The number of records."""
        return self._records

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns that are there."""
        return {name: kept.column for name, kept in self._kept.items()}

    @property
    def rows(self) -> int:
        """How many positions there are: stream rows with windows, records without."""
        return self._records if self.row_offsets is None else int(self.row_offsets[-1])

    @property
    def nbytes(self) -> int:
        """Memory or file space of all columns."""
        return sum(kept.nbytes for kept in self._kept.values())

    @property
    def borrowed(self) -> tuple[str, ...]:
        """The columns that lie in somebody else's memory."""
        return tuple(self._marks)

    def changed(self) -> list[str]:
        """The borrowed columns that somebody has written into since, by some of their bytes: a few rows may escape."""
        return [name for name, mark in self._marks.items() if mark != _mark(self._kept[name].values)]

    def patience(self, device: torch.device) -> float:
        """Seconds that gathering a batch for a training on ``device`` must take for a thread to pay that does it ahead.

        Beside a training on the same CPU a thread takes the interpreter and a core from it: 0.02 ms of copying became
        1.1 ms of waiting for each other (measured, 128 rows of 784 numbers). So it pays only where files are unpacked,
        or read from a disk that is slow, and where the host has nothing else to do than to feed an accelerator.
        """
        if any(c.kind == "bytes" for c in self.columns.values()):
            return 0.0
        if device.type == "cpu":
            return _SLOW if self.mapped else math.inf
        return 0.0 if self.device.type == "cpu" else math.inf

    def in_lines(self, rows: int) -> bool:
        """Whether so many rows fill whole cache lines in each column that `picked` gives."""
        return self._plain is not None and all(rows * w % _LINE == 0 for w in self._widths)

    def picked(self, positions: Tensor) -> Rows | None:
        """As `gather`, where all there is to do is to pick rows out of memory; None elsewhere.

        By torch, so not in a thread beside a training; a small step is over before `gather` has looked at everything.
        """
        if self._plain is None:
            return None
        return Rows({name: values.index_select(0, positions) for name, values in self._plain.items()}, positions)

    def gather(
        self,
        positions: Tensor,
        device: torch.device | None = None,
        *,
        stops: Tensor | None = None,
        pin: bool = False,
    ) -> Rows:
        """The samples at ``positions`` (N,), int64 on the CPU, in that order, on ``device`` or where the store is.

        Positions are record numbers; with windows, stream rows of the first target, and ``stops`` (N,) are the rows
        before which each window must end (the stream's end when left out). ``pin`` gives page-locked CPU tensors.
        Raises DataError when a record's bytes cannot be unpacked.
        """
        at = positions.numpy()
        assert at.dtype == np.int64
        if self.windows is not None and len(at):
            assert self.windows.lead <= at.min() <= at.max() < self.rows, "position outside of the store"
        there = positions if positions.device == self.device else positions.to(self.device, non_blocking=True)
        columns: dict[str, Tensor | Ragged] = {}
        lengths: dict[str, Tensor] = {}
        for name, kept in self._kept.items():
            if kept.column.kind == "bytes":
                columns[name] = self._unpacked(name, kept, at, pin).to(self.device, non_blocking=True)
            elif kept.column.kind == "ragged":
                assert kept.offsets is not None
                columns[name] = take_ragged(kept.tensor, kept.offsets, at, pin)
            elif kept.column.kind == "window":
                assert self.windows is not None
                ends = np.full_like(at, self.rows) if stops is None else stops.numpy()
                columns[name], lengths[name] = take_windows(
                    kept.tensor, at, ends, self.windows, kept.column.padding, pin
                )
            else:
                values = kept.values
                columns[name] = values.take(at, pin) if isinstance(values, Joint) else take(values, at, pin)
        rows = Rows(columns, there, lengths)
        return rows if device is None or device == self.device else rows.to(device)

    def lengths(self, name: str) -> Tensor:
        """(records,) int64 how many rows each record has in a ragged column."""
        offsets = self._kept[name].offsets
        assert offsets is not None
        return torch.from_numpy(np.diff(offsets).astype(np.int64))

    def raw(self, name: str, record: int) -> Raw:
        """The bytes of one record's part of a column, as they lie; the column must be in the host's memory."""
        kept = self._kept[name]
        start, stop = (record, record + 1) if kept.offsets is None else kept.offsets[record : record + 2].tolist()
        return raw(kept.values[start:stop]).reshape(-1)

    def on(self, device: torch.device) -> Store:
        """This store with its columns on ``device`` (a copy in RAM for the CPU); this one is closed."""

        def moved(kept: Kept) -> Kept:
            if kept.column.kind == "bytes" or device.type == "cpu":
                return replace(kept, values=kept.tensor.clone())
            return replace(kept, values=kept.tensor.to(device))

        there = {name: moved(kept) for name, kept in self._kept.items()}
        store = Store(there, self._records, windows=self.windows, unpack=self._unpack, gaps=self.gaps)
        self.close()
        return store

    def close(self) -> None:
        """End the threads, unmap and remove temporary files. The store is empty afterwards."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self._kept, self._plain, self._marks = {}, None, {}
        if self.release is not None:
            self.release()
            self.release = None

    def _unpacked(self, name: str, kept: Kept, records: Ints, pin: bool) -> Tensor:
        """(N, *shape): each record's bytes through ``unpack``, in threads, order kept."""
        assert kept.offsets is not None
        assert self._unpack is not None
        column, unpack, offsets = kept.column, self._unpack, kept.offsets
        source = kept.tensor.numpy()
        out = torch.empty((len(records), *column.shape), dtype=column.dtype, pin_memory=pin)
        target = raw(out)

        def one(k: int) -> None:
            record = int(records[k])
            data = source[offsets[record] : offsets[record + 1]].tobytes()
            try:
                tensor = unpack(name, data)
                if tensor.dtype != column.dtype or tuple(tensor.shape) != column.shape:
                    raise ValueError(
                        f"unpacked to {tensor.dtype} {tuple(tensor.shape)} instead of {column.dtype} {column.shape}"
                    )
            except Exception as error:
                raise DataError(f"record {record}, {name}", f"cannot be unpacked: {error}") from error
            target[k] = raw(tensor.detach().unsqueeze(0).contiguous())[0]

        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "unpack")
        for _ in self._pool.map(one, range(len(records))):
            pass
        return out


def _mark(values: Tensor | Joint) -> bytes:
    """A digest of some bytes of a column, of a small one of all."""
    digest = blake2b(digest_size=16)
    for piece in values.pieces if isinstance(values, Joint) else (values,):
        data = raw(piece).reshape(-1)
        for start in np.linspace(0, max(0, data.size - _STRETCH), _LOOKS).astype(np.int64).tolist():
            digest.update(data[start : start + _STRETCH].data)
    return digest.digest()
