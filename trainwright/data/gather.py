"""Rows picked out of a column: index arithmetic, in numpy on the CPU and in torch on a device.

The CPU side copies with numpy on purpose: it runs in the loader's thread, where torch would start a second team of
OpenMP threads that competes with the one that trains.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.rows import Ragged, Windows

Ints: TypeAlias = NDArray[np.int64]
Raw: TypeAlias = NDArray[np.uint8]

# Records of more rows than this are copied one by one: 64 records of 4,096 floats take 0.14 ms so and 0.73 ms by index
# arithmetic (measured on one core); at 256 floats both take the same.
_LONG = 512


def raw(values: Tensor) -> Raw:
    """(R, *shape) on the CPU -> the same memory as (R, bytes of one row)."""
    width = prod(values.shape[1:])
    if not values.numel():  # whose strides torch refuses to view as bytes
        return np.empty((values.shape[0], width * values.itemsize), np.uint8)
    array: Raw = flat(values).view(torch.uint8).numpy()
    return array


def flat(values: Tensor) -> Tensor:
    """(R, *shape) -> the same memory as (R, numbers of a row), to be viewed as bytes where a row has no gaps."""
    n, width = values.shape[0], prod(values.shape[1:])
    # the rows of a caller's y[:, None] may lie 0 apart along it, which torch calls contiguous and refuses to view
    return values.reshape(n).unsqueeze(1) if width == 1 else values.reshape(n, width)


def empty(n: int, like: Tensor, pin: bool) -> Tensor:
    """(n, *shape) uninitialised, with the dtype and row shape of ``like``, on the CPU."""
    return torch.empty((n, *like.shape[1:]), dtype=like.dtype, pin_memory=pin)


def take(values: Tensor, rows: Ints, pin: bool = False) -> Tensor:
    """(R, *shape) and row numbers (N,) -> (N, *shape) on the device of ``values``. Rows must be in range."""
    if not values.is_cpu:
        return values.index_select(0, _sent(rows, values.device))
    out = empty(len(rows), values, pin)
    np.take(raw(values), rows, axis=0, out=raw(out), mode="clip")
    return out


def take_ragged(values: Tensor, offsets: Ints, records: Ints, pin: bool = False) -> Ragged:
    """(R, *shape), offsets (records + 1,) and record numbers (N,) -> their rows, end to end."""
    starts = offsets[records]
    lengths = offsets[records + 1] - starts
    total = int(lengths.sum())
    if not values.is_cpu:
        return _ragged_on_device(values, starts, lengths, total)
    if total > _LONG * max(1, len(records)):
        out = empty(total, values, pin)
        source = raw(values)
        np.concatenate(
            [source[a : a + n] for a, n in zip(starts.tolist(), lengths.tolist(), strict=True)], out=raw(out)
        )
        return Ragged(out, torch.from_numpy(lengths))
    ends = np.cumsum(lengths)
    rows = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return Ragged(take(values, rows, pin), torch.from_numpy(lengths))


def take_windows(
    values: Tensor, first: Ints, stops: Ints, windows: Windows, padding: float, pin: bool = False
) -> tuple[Tensor, Tensor]:
    """Windows around first-target rows (N,) -> (N, lead + length, *shape) and the rows really there (N,).

    A window ends before its row of ``stops`` (N,); what is missing is ``padding``.
    """
    width = windows.lead + windows.length
    begin = first - windows.lead
    there = np.minimum(stops - begin, width)
    n, device = len(first), values.device
    if values.is_cpu:
        rows = np.minimum(begin[:, None] + np.arange(width), stops[:, None] - 1)
        out = take(values, rows.reshape(-1), pin)
    else:
        columns = torch.arange(width, device=device)
        picked = torch.minimum(_sent(begin, device)[:, None] + columns, _sent(stops - 1, device)[:, None])
        out = values.index_select(0, picked.reshape(-1))
    out = out.reshape(n, width, *values.shape[1:])
    lengths = _sent(there, device)
    if n and int(there.min()) < width:
        out[torch.arange(width, device=device) >= lengths[:, None]] = padding
    return out, lengths


def _ragged_on_device(values: Tensor, starts: Ints, lengths: Ints, total: int) -> Ragged:
    device = values.device
    count = _sent(lengths, device)
    shift = _sent(starts - (np.cumsum(lengths) - lengths), device)
    rows = torch.arange(total, device=device) + torch.repeat_interleave(shift, count, output_size=total)
    return Ragged(values.index_select(0, rows), count)


def _sent(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
