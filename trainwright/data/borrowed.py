"""Columns that lie in the caller's memory already as they would be encoded: they are used there, and not copied."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.rows import Column
from trainwright.data.columns import Growing, shaped
from trainwright.data.encoder import Chunk, Encoder
from trainwright.data.gather import raw
from trainwright.data.joint import Joint
from trainwright.data.store import Kept, Store

_CHUNK = 8 << 20  # bytes that are encoded at once, to see that they stay as they are


def borrowed(encoder: Encoder, room: Callable[[], float], on_progress: Callable[[int, int], None]) -> Store | None:
    """A store over the arrays of the source itself; None where they are not kept as they lie.

    Every record is encoded all the same, some at a time: so it is known that not a bit of a borrowed column would
    change, and what is wrong with a record is told as ever. Columns of another type than the one they are kept in are
    turned into that and held beside the others, as long as these are the smaller part.

    The batches are copies, so no network can write into the caller's arrays. What the caller writes into them while
    the store is in use is seen by the batches that follow.

    Args:
        encoder: of the source.
        room: bytes that may be taken for what has to be turned into another type.
        on_progress: called with (records done, records in all).
    """
    total, room_left = len(encoder), 0.0
    arrays = [] if encoder.skipped is not None else encoder.arrays()
    lying = _all_lying(encoder.columns, arrays)
    if not lying:
        return None
    step = max(1, _CHUNK // max(1, sum(pieces[0][:1].nbytes for pieces in lying.values())))
    turned: dict[str, Growing] = {}
    done = 0
    for k, length in enumerate(map(len, next(iter(lying.values())))):
        for start in range(0, length, step):
            mine = slice(start, min(start + step, length))
            chunk = encoder.at_once(done, done + mine.stop - start)
            if chunk is None or not all(n in chunk and _same(chunk, n, x[k][mine]) for n, x in lying.items()):
                return None
            others = {n: p for n, p in chunk.items() if n not in lying}
            if not done:
                room_left = min(room(), sum(x.nbytes for pieces in lying.values() for x in pieces))
                turned = {n: Growing(encoder.columns[n], total, p, None) for n, p in others.items()}
            room_left -= sum(p.data.nbytes for p in others.values())
            if others.keys() != turned.keys() or room_left < 0:
                return None
            for name, packed in others.items():
                turned[name].add(packed)
            done += mine.stop - start
            on_progress(done, total)
    kept = {n: Kept(encoder.columns[n], x[0] if len(x) == 1 else Joint(x)) for n, x in lying.items()}
    kept |= {n: Kept(g.column, shaped(g.data(), g.column, g.rows())) for n, g in turned.items()}
    in_order = {n: kept[n] for n in encoder.columns if n in kept}
    mapped = any(_mapped(some[n]) for some in arrays for n in lying)
    return Store(in_order, total, unpack=encoder.processor.unpack, mapped=mapped, borrowed=tuple(lying))


def _all_lying(columns: Mapping[str, Column], arrays: Sequence[Mapping[str, Any]]) -> dict[str, list[Tensor]]:
    """The columns that can be used as they lie, each in as many pieces as there are mappings."""
    sizes = [len(next(iter(some.values()))) for some in arrays]
    found: dict[str, list[Tensor]] = {}
    for name, column in columns.items():
        pieces = [_lying(some.get(name), column, n) for some, n in zip(arrays, sizes, strict=True)]
        there = [x for x in pieces if x is not None]
        if there and len(there) == len(pieces):
            found[name] = there
    return found


def _lying(rows: Any, column: Column, records: int) -> Tensor | None:
    """(records, *shape) in the same memory, where that holds the column's type, end to end."""
    if not isinstance(rows, np.ndarray) or column.kind != "dense" or not rows.dtype.isnative:
        return None
    whole = rows.flags.c_contiguous and rows.flags.aligned and min(rows.strides, default=0) >= 0
    if not whole or not rows.size or rows.size != records * math.prod(column.shape):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an array may only be read: nobody writes into the store
        tensor = torch.from_numpy(rows)
    return tensor.view(records, *column.shape) if tensor.dtype == column.dtype else None


def _same(chunk: Chunk, name: str, lying: Tensor) -> bool:
    return np.array_equal(chunk[name].data, raw(lying).reshape(-1))


def _mapped(rows: NDArray[Any]) -> bool:
    """Whether an array, or what it is a view of, is a file that is read when it is asked for."""
    at: Any = rows
    while isinstance(at, np.ndarray):
        if isinstance(at, np.memmap):
            return True
        at = at.base
    return False
