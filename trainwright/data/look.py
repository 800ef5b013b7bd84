"""Encoded samples compared by their bits: a hash of each one's inputs, and whether two of them are the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from math import prod
from typing import Protocol, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.rows import Column, Ragged, Rows
from trainwright.data.gather import flat

Ids: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
_CHUNK = 1 << 24  # bytes gathered at once
_WORDS = 1 << 16  # mixed at once: they and what is made of them fit a processor's cache
_RAGGED = 4096  # samples gathered at once where their size is not known beforehand

# Odd 64-bit constants with well-spread bits, as two's complement: the golden ratio, and the two of SplitMix64 (Steele,
# Lea & Flood 2014). Whatever collides is compared bit by bit, so the hash need only be good, not proof against attack.
_GOLDEN, _FIRST, _SECOND = (c - (1 << 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Kept(Protocol):
    """What is asked of a store; it is in the host's memory where it has columns of bytes."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """How each column is kept."""
        ...

    def gather(self, positions: Tensor) -> Rows:
        """The samples at ``positions`` (N,) int64."""
        ...

    def raw(self, name: str, record: int) -> NDArray[np.uint8]:
        """The bytes of one record's part of a column."""
        ...


class Look(ABC):
    """A way to look at the samples of one store. A target is no input."""

    def __init__(self, store: Kept) -> None:
        self.store = store
        self.inputs = sorted(n for n, c in store.columns.items() if not c.target)
        self.targets = sorted(n for n, c in store.columns.items() if c.target)

    @abstractmethod
    def hashes(self, ids: Ids) -> Ids:
        """(N,) sample ids -> (N,) 64-bit hashes of their inputs."""

    @abstractmethod
    def compare(self, ids: Ids, others: Ids) -> tuple[Bools, Bools]:
        """Two (N,) sample ids -> (N,) whether the inputs of both are the same bits, and whether the targets are."""


def look(store: Kept) -> Look:
    """Files are compared as they lie, since unpacking them takes long; all else is gathered and compared at once."""
    return _Files(store) if any(c.kind == "bytes" for c in store.columns.values()) else _Rows(store)


@final
class _Rows(Look):
    """Dense and ragged columns, many samples at once, on the store's device."""

    def hashes(self, ids: Ids) -> Ids:
        out = [np.zeros(0, np.int64)]
        for chunk in self._chunks(len(ids)):
            rows = self.store.gather(torch.from_numpy(ids[chunk]))
            total = torch.zeros(len(rows), dtype=torch.int64, device=rows.ids.device)
            for name in self.inputs:
                total = _mixed(total ^ _hash(rows.columns[name])) + _GOLDEN
            out.append(total.cpu().numpy())
        return np.concatenate(out)

    def compare(self, ids: Ids, others: Ids) -> tuple[Bools, Bools]:
        same, agree = np.ones(len(ids), np.bool_), np.ones(len(ids), np.bool_)
        for chunk in self._chunks(len(ids)):
            a, b = (self.store.gather(torch.from_numpy(i[chunk])) for i in (ids, others))
            for names, out in ((self.inputs, same), (self.targets, agree)):
                for name in names:
                    out[chunk] &= _equal(a.columns[name], b.columns[name]).cpu().numpy()
        return same, agree

    def _chunks(self, n: int) -> Iterator[slice]:
        columns = self.store.columns.values()
        size = sum(prod(c.shape) * c.dtype.itemsize for c in columns)
        step = _RAGGED if any(c.kind == "ragged" for c in columns) else max(1, _CHUNK // max(1, size))
        return (slice(start, start + step) for start in range(0, n, step))


@final
class _Files(Look):
    """Columns of bytes, and whatever is beside them, sample by sample."""

    def hashes(self, ids: Ids) -> Ids:
        digests = b"".join(self._digest(i) for i in ids.tolist())
        return np.frombuffer(digests, np.int64)

    def compare(self, ids: Ids, others: Ids) -> tuple[Bools, Bools]:
        pairs = list(zip(ids.tolist(), others.tolist(), strict=True))
        same = [self._same(self.inputs, a, b) for a, b in pairs]
        agree = [self._same(self.targets, a, b) for a, b in pairs]
        return np.array(same, np.bool_), np.array(agree, np.bool_)

    def _digest(self, record: int) -> bytes:
        state = blake2b(digest_size=8)
        for name in self.inputs:
            data = self.store.raw(name, record)
            state.update(len(data).to_bytes(8, "little"))
            state.update(np.ascontiguousarray(data).data)
        return state.digest()

    def _same(self, names: list[str], a: int, b: int) -> bool:
        return all(np.array_equal(self.store.raw(n, a), self.store.raw(n, b)) for n in names)


def _hash(values: Tensor | Ragged) -> Tensor:
    """(N,) int64: one hash per sample."""
    if isinstance(values, Tensor):
        return _hash_rows(_words(values))
    n, lengths = len(values.lengths), values.lengths
    starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    places = torch.arange(len(values.values), device=lengths.device) - starts
    each = _mixed(_hash_rows(_words(values.values)) ^ _mixed(places + 1))
    sample = torch.arange(n, device=lengths.device).repeat_interleave(lengths)
    return _mixed(lengths.to(torch.int64)).index_add(0, sample, each)


def _hash_rows(words: Tensor) -> Tensor:
    """(N, W) -> (N,): words are mixed with their places, then added."""
    places = torch.arange(1, words.shape[1] + 1, device=words.device) * _GOLDEN
    some = max(1, _WORDS // max(1, words.shape[1]))
    return torch.cat([_mixed(part ^ places).sum(dim=1) for part in words.split(some)])


def _mixed(x: Tensor) -> Tensor:
    """A one-to-one scrambling of 64 bits; wraps, as integer arithmetic of tensors does."""
    x = x * _FIRST
    x = (x ^ ((x >> 32) & 0xFFFFFFFF)).mul_(_SECOND)
    return x.bitwise_xor_((x >> 29) & 0x7FFFFFFFF)


def _bytes(values: Tensor) -> Tensor:
    """(N, *shape) -> (N, bytes of one) uint8."""
    return flat(values).contiguous().view(torch.uint8)


def _words(values: Tensor) -> Tensor:
    """(N, *shape) -> (N, W) int64, the last word filled with zeros."""
    data = _bytes(values)
    data = torch.nn.functional.pad(data, (0, -data.shape[1] % 8))
    return data.view(torch.int64)


def _equal(a: Tensor | Ragged, b: Tensor | Ragged) -> Tensor:
    """(N,) bool: whether the samples are the same bits (a NaN is itself, 0.0 is not -0.0)."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (_bytes(a) == _bytes(b)).all(dim=1)
    assert isinstance(a, Ragged) and isinstance(b, Ragged)  # noqa: PT018 - one fact, that both are of one column
    pieces = zip(_bytes(a.values).split(a.lengths.tolist()), _bytes(b.values).split(b.lengths.tolist()), strict=True)
    return torch.tensor([torch.equal(x, y) for x, y in pieces], dtype=torch.bool)
