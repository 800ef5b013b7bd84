"""Encoded samples packed into columns: checked and stacked a chunk at a time, and told apart when one does not fit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.rows import Column
from trainwright.core.task import Sample
from trainwright.data.gather import Ints, Raw


@dataclass(frozen=True, slots=True)
class Packed:
    """One column of neighbouring records: the bytes of their rows, end to end (so that any dtype travels)."""

    data: Raw
    lengths: Ints | None  # (records,) rows of each; None for dense columns, where each has one


class MisfitError(Exception):
    """The sample at ``index`` of a chunk does not have the form its columns promise."""

    def __init__(self, index: int, what: str) -> None:
        super().__init__(what)
        self.index, self.what = index, what


def pack(samples: Sequence[Sample], columns: Mapping[str, Column], windowed: bool) -> dict[str, Packed]:
    """The columns of some samples; a target that none of them has is left out. Raises MisfitError.

    With ``windowed`` a sample holds rows of the stream, as many in each column, dense ones too.
    """
    packed: dict[str, Packed] = {}
    known = columns.keys()
    partial = bool(samples) and samples[0].keys() != known
    for i, sample in enumerate(samples):
        if partial or sample.keys() != known:
            _check_keys(i, sample, columns, samples[0])
    for name, column in columns.items():
        if samples and name in samples[0]:
            packed[name] = _packed([sample[name] for sample in samples], name, column, windowed)
    if windowed:
        _check_rows(packed)
    return packed


def stacked(samples: Mapping[str, Tensor], columns: Mapping[str, Column]) -> dict[str, Packed]:
    """Dense columns of many samples that are one tensor each already, (records, *shape) on the CPU."""
    packed: dict[str, Packed] = {}
    for name, column in columns.items():
        if name in samples:
            tensor = samples[name]
            assert tensor.dtype == column.dtype
            assert tuple(tensor.shape[1:]) == column.shape
            packed[name] = Packed(tensor.contiguous().reshape(-1).view(torch.uint8).numpy(), None)
    return packed


def spread(packed: Packed, column: Column, there: NDArray[np.bool_]) -> Packed:
    """A column of the records that are there (R,), with places for those that are not: no rows, or one of zeros."""
    if packed.lengths is not None:
        lengths = np.zeros(len(there), np.int64)
        lengths[there] = packed.lengths
        return Packed(packed.data, lengths)
    size = column.dtype.itemsize * prod(column.shape)
    data = np.zeros((len(there), size), np.uint8)
    data[there] = packed.data.reshape(-1, size)
    return Packed(data.reshape(-1), None)


def empty(column: Column, windowed: bool) -> Packed:
    """A column of no records."""
    ragged = column.kind != "dense" or windowed
    return Packed(np.empty(0, np.uint8), np.empty(0, np.int64) if ragged else None)


def unpacked(packed: Packed, column: Column, records: int) -> Tensor:
    """(R, *shape): the values of a packed column; bytes columns (R,) uint8."""
    rows = records if packed.lengths is None else int(packed.lengths.sum())
    return shaped(packed.data, column, rows)


def shaped(data: Raw, column: Column, rows: int) -> Tensor:
    """(rows, *shape) in the column's dtype, sharing the memory of ``data``."""
    if column.kind == "bytes":
        return torch.from_numpy(data)
    if not data.size:  # whose strides torch refuses to view as another dtype
        return torch.empty((rows, *column.shape), dtype=column.dtype)
    return torch.from_numpy(data).view(column.dtype).reshape(rows, *column.shape)


def _check_keys(index: int, sample: Sample, columns: Mapping[str, Column], first: Sample) -> None:
    for name in sample:
        if name not in columns:
            raise MisfitError(index, f"encoded to a column '{name}' that the processor does not announce")
    for name, column in columns.items():
        if name not in sample and not column.target:
            raise MisfitError(index, f"encoded without the column '{name}'")
        if (name in sample) != (name in first):
            raise MisfitError(index, absence(name, name in sample))


def absence(name: str, present: bool) -> str:
    """The sentence for a record with a target before which others had none, or the other way round."""
    if present:
        return f"has a target '{name}', which earlier records lack"
    return f"has no target '{name}', which earlier records have"


def _check_rows(packed: Mapping[str, Packed]) -> None:
    counts = {name: p.lengths for name, p in packed.items()}
    (first, reference), *others = counts.items()
    for name, lengths in others:
        if not np.array_equal(lengths, reference):  # type: ignore[arg-type]
            assert lengths is not None
            assert reference is not None
            index = int((lengths != reference).nonzero()[0][0])
            raise MisfitError(
                index,
                f"has {reference[index]} rows of '{first}' but {lengths[index]} of '{name}'; a stream needs as many",
            )


def _packed(values: list[Any], name: str, column: Column, windowed: bool) -> Packed:
    if column.kind == "bytes":
        return _packed_bytes(values, name)
    if column.kind == "dense" and not windowed:
        tensor, lengths = _stacked(values, name, column), None
    else:
        tensor, lengths = _joined(values, name, column)
    tensor = _in_dtype(tensor, lengths, name, column)
    data: Raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return Packed(data, lengths)


def _packed_bytes(values: list[Any], name: str) -> Packed:
    for i, value in enumerate(values):
        if not isinstance(value, bytes):
            raise MisfitError(i, f"'{name}' is {type(value).__name__}, not bytes")
    data = np.frombuffer(bytearray().join(values), dtype=np.uint8)  # writable, unlike bytes
    return Packed(data, np.fromiter(map(len, values), np.int64, len(values)))


def _stacked(values: list[Any], name: str, column: Column) -> Tensor:
    """(records, *shape)."""
    kinds = set(map(type, values))
    try:
        if kinds == {Tensor}:
            tensor = torch.stack(values).detach().cpu()
        elif kinds == {np.ndarray}:
            tensor = torch.from_numpy(np.stack(values))
        else:
            tensor = torch.stack([_tensor(v) for v in values])
        if tuple(tensor.shape[1:]) == column.shape:
            return tensor
    except (RuntimeError, TypeError, ValueError):  # the guilty one is named below
        pass
    for i, value in enumerate(values):
        shape = tuple(_checked(i, value, name).shape)
        if shape != column.shape:
            raise MisfitError(i, f"'{name}' has the shape {shape} instead of {column.shape}")
    return torch.stack([_tensor(v).to(column.dtype) for v in values])


def _joined(values: list[Any], name: str, column: Column) -> tuple[Tensor, Ints]:
    """(all rows, *shape) and the rows of each record."""
    tensors = [v if type(v) is Tensor else _checked(i, v, name) for i, v in enumerate(values)]
    empty = torch.empty((0, *column.shape), dtype=column.dtype)
    for i, tensor in enumerate(tensors):
        if tensor.shape[1:] != column.shape or tensor.dim() == 0:
            if tuple(tensor.shape) != (0,):  # torch.tensor([]) stands for no rows
                raise MisfitError(i, f"'{name}' has the shape {tuple(tensor.shape)} instead of (rows, *{column.shape})")
            tensors[i] = empty
    lengths = np.fromiter((t.shape[0] for t in tensors), np.int64, len(tensors))
    filled = [t for t in tensors if t.shape[0]]  # an empty float tensor must not turn integers into floats
    if not filled:
        return empty, lengths
    if len({t.dtype for t in filled}) > 1:
        filled = [_in_dtype(t, None, name, column, i) for i, t in enumerate(tensors) if t.shape[0]]
    return torch.cat(filled).detach().cpu(), lengths


def _in_dtype(tensor: Tensor, lengths: Ints | None, name: str, column: Column, index: int | None = None) -> Tensor:
    """``tensor`` in the column's dtype; only rounding between floating types may change a number.

    Dim 0 counts records, or rows of records with ``lengths``, or rows of the one record ``index``.
    """
    if tensor.dtype == column.dtype:
        return tensor
    turned = tensor.to(column.dtype)
    if column.dtype.is_floating_point and tensor.dtype.is_floating_point:
        wrong = turned.isinf() & ~tensor.isinf()
    else:
        wrong = (turned.to(tensor.dtype) != tensor) & ~((tensor != tensor) & (turned != turned))
    if not bool(wrong.any()):
        return turned
    row = int(wrong.reshape(len(tensor), -1).any(1).nonzero()[0])
    if index is None:
        index = row if lengths is None else int(np.searchsorted(np.cumsum(lengths), row, side="right"))
    value = tensor[wrong][0].item()
    raise MisfitError(index, f"'{name}' is {tensor.dtype} with {value!r}, which {column.dtype} cannot hold")


def _checked(index: int, value: Any, name: str) -> Tensor:
    try:
        return _tensor(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise MisfitError(index, f"'{name}' is {type(value).__name__}, not a tensor") from error


def _tensor(value: Any) -> Tensor:
    """A tensor on the CPU; arrays and numbers are copied."""
    return value.detach().cpu() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


class Growing:
    """One column while chunks of records are added to it, in memory, or in a file at ``path``."""

    def __init__(self, column: Column, records: int, first: Packed, path: Path | None) -> None:
        self.column, self.records, self.path = column, records, path
        self._lengths: list[Ints] | None = None if first.lengths is None else []
        self._chunks: list[Raw] = []
        self._room: Raw | None = None
        self._filled = 0
        self._file = path.open("wb") if path is not None else None
        if path is None and first.lengths is None:  # the size is known: no second copy at the end
            self._room = np.empty(records * column.dtype.itemsize * prod(column.shape), np.uint8)

    def add(self, packed: Packed) -> None:
        """The next records' rows. Raises OSError where the disk is full."""
        if self._lengths is not None:
            assert packed.lengths is not None
            self._lengths.append(packed.lengths)
        if self._file is not None:
            self._file.write(packed.data.data)
        elif self._room is not None:
            self._room[self._filled : self._filled + packed.data.size] = packed.data
        else:
            self._chunks.append(packed.data)
        self._filled += packed.data.size

    def rows(self) -> int:
        """Rows of the finished column: of bytes columns, bytes."""
        return self.records if self._lengths is None else sum(int(n.sum()) for n in self._lengths)

    def offsets(self) -> Ints | None:
        """(records + 1,) where each record's rows begin; None for dense columns."""
        if self._lengths is None:
            return None
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(self._lengths))])

    def data(self) -> Raw:
        """All bytes of a column in memory; the chunks are let go."""
        assert self._file is None
        if self._room is None:
            self._room, self._chunks = np.concatenate(self._chunks), []
        return self._room

    def close(self) -> None:
        """Make the file durable."""
        if self._file is not None and not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
