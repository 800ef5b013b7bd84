"""The ways to divide record ids into parts, as pure functions of (ids, counts, seed).

All take ``ids`` (n,) int64 ascending and ``counts``, how many records the held-out parts shall have, in the order they
are drawn; all give every part, "train" with what is left, as ascending ids.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from trainwright.core.batch import Draw, seed_of
from trainwright.core.errors import DataError

Ids: TypeAlias = NDArray[np.int64]
_FEW = 64  # groups among which the nearest sum is searched exactly; more are first taken in random order


def at_random(ids: Ids, counts: Mapping[str, int], seed: int) -> dict[str, Ids]:
    """Every record as likely as any other; sizes are exact."""
    order = ids[_order(ids, seed)]
    parts: dict[str, Ids] = {}
    start = 0
    for part, size in counts.items():
        parts[part] = np.sort(order[start : start + size])
        start += size
    return {"train": np.sort(order[start:]), **parts}


def stratified(ids: Ids, classes: Sequence[Hashable], counts: Mapping[str, int], seed: int) -> dict[str, Ids]:
    """Every class in its proportion, at random within it; sizes are exact, and one of each class stays in train.

    ``classes`` (n,) belong to ``ids``. A class' share of a part is off by less than one record, unless it is so small
    that its last record stays in train.
    """
    codes, _ = numbered(classes)
    order = _order(ids, seed)
    order = order[np.argsort(codes[order], kind="stable")]
    sizes = np.bincount(codes)
    rank = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    parts: dict[str, Ids] = {}
    done = np.zeros_like(sizes)
    for part, size in counts.items():
        take = _shares(size, sizes, sizes - done - 1, part, _order(np.arange(len(sizes)), seed))
        chosen = (rank >= done[codes[order]]) & (rank < (done + take)[codes[order]])
        parts[part] = np.sort(ids[order[chosen]])
        done += take
    return {"train": np.sort(ids[order[rank >= done[codes[order]]]]), **parts}


def grouped(ids: Ids, groups: Sequence[Hashable], counts: Mapping[str, int], seed: int) -> dict[str, Ids]:
    """Whole groups, in random order; ``groups`` (n,) belong to ``ids``.

    Sizes are as near as whole groups come: exactly so for up to 64 groups, else the nearest that the last 64 of a
    random order reach after the others.
    """
    codes, names = numbered(groups)
    if len(names) < len(counts) + 1:
        what = f"{len(names)} group{'s' if len(names) > 1 else ''} cannot fill {len(counts) + 1} parts"
        raise DataError("data.group", what, "name a field with more values, or ask for fewer parts")
    sizes = np.bincount(codes)
    order: list[int] = _order(np.arange(len(names)), seed).tolist()
    parts: dict[str, Ids] = {}
    for left, (part, size) in zip(count(len(counts), -1), counts.items(), strict=False):
        chosen = {order[i] for i in nearest([int(sizes[g]) for g in order], size, left)}
        parts[part] = ids[np.isin(codes, list(chosen))]
        order = [g for g in order if g not in chosen]
    return {"train": ids[np.isin(codes, order)], **parts}


def chronological(ids: Ids, times: NDArray[Any] | None, counts: Mapping[str, int]) -> dict[str, Ids]:
    """The last records in time are the first part of ``counts``, those before them the next, and so on.

    ``times`` (n,) belong to ``ids``; without them ids are in order of time. Records of one time lie in one part, since
    they may know of each other; the border then moves to the nearest change of time.
    """
    order = np.arange(len(ids)) if times is None else np.argsort(times, kind="stable")
    changes = np.arange(1, len(ids)) if times is None else 1 + np.flatnonzero(np.diff(times[order]))
    if len(changes) < len(counts):
        what = f"{len(changes) + 1} different time{'s' if len(changes) else ''} cannot fill {len(counts) + 1} parts"
        raise DataError("data.time", what, "name a field with more values, or ask for fewer parts")
    parts: dict[str, Ids] = {}
    stop, ideal = len(ids), len(ids)
    for left, (part, size) in zip(count(len(counts) - 1, -1), counts.items(), strict=False):
        ideal -= size
        borders = changes[left : np.searchsorted(changes, stop)]
        start = int(borders[np.argmin(np.abs(borders - ideal))])
        parts[part] = np.sort(ids[order[start:stop]])
        stop = start
    return {"train": np.sort(ids[order[:stop]]), **parts}


def nearest(sizes: Sequence[int], target: int, leave: int) -> list[int]:
    """Positions in ``sizes``, at least one, whose sum is as near to ``target`` as can be, leaving ``leave`` or more.

    Early positions are preferred, so that a random order makes a random choice. A sum whose choice leaves too few is
    passed over, though another choice of that sum might leave enough; with ``leave`` 1 there is none.
    """
    first: list[int] = []
    rest = target
    for i, size in enumerate(sizes[: max(0, len(sizes) - _FEW)]):
        if size <= rest:
            first.append(i)
            rest -= size
    start = max(0, len(sizes) - _FEW)
    last = list(sizes[start:])
    reach = _reachable(last, max(2 * rest, min(last)))
    for total in _by_distance(rest, reach[-1], 0 if first else 1):
        chosen = first + [start + i for i in _chosen(last, reach, total)]
        if len(sizes) - len(chosen) >= leave:
            return chosen
    raise AssertionError("one group alone always leaves enough")


def _reachable(sizes: Sequence[int], limit: int) -> list[int]:
    """After the first k sizes, the sums up to ``limit`` that some of them make, as bits of a whole number."""
    mask = (1 << (limit + 1)) - 1
    reach = [1]
    for size in sizes:
        reach.append((reach[-1] | reach[-1] << size) & mask)
    return reach


def _by_distance(target: int, sums: int, lowest: int) -> list[int]:
    """The sums that are set as bits, the nearest to ``target`` first, the smaller of two."""
    bits = np.frombuffer(sums.to_bytes(sums.bit_length() // 8 + 1, "little"), np.uint8)
    found = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
    found = found[found >= lowest]
    ordered: list[int] = found[np.lexsort((found, np.abs(found - target)))].tolist()
    return ordered


def _chosen(sizes: Sequence[int], reach: Sequence[int], total: int) -> list[int]:
    out = []
    for i in range(len(sizes) - 1, -1, -1):
        if not reach[i] >> total & 1:  # not without this one
            out.append(i)
            total -= sizes[i]
    return out[::-1]


def numbered(values: Sequence[Hashable]) -> tuple[Ids, list[Hashable]]:
    """Each value's number in the order of first appearance, and the values in that order."""
    known: dict[Hashable, int] = {}
    codes = np.array([known.setdefault(v, len(known)) for v in values], dtype=np.int64)
    return codes, list(known)


def _shares(total: int, sizes: Ids, room: Ids, part: str, order: NDArray[np.intp]) -> Ids:
    """``total`` records over classes of ``sizes``, in proportion, none beyond its ``room``.

    What rounding leaves goes to the largest remainders; of equal ones, to the first in ``order``.
    """
    n = int(sizes.sum())
    take = np.minimum(total * sizes // n, room)
    while (rest := total - int(take.sum())) > 0:
        open_ = order[take[order] < room[order]]
        if not len(open_):
            what = f"{total} records cannot be drawn: one record of each of the {len(sizes)} classes stays in train"
            raise DataError(f"data.{part}", what, f"write a smaller {part}, or give more records of each class")
        short = total * sizes[open_] - take[open_] * n
        take[open_[np.argsort(-short, kind="stable")[:rest]]] += 1
    return take


def _order(ids: Ids, seed: int) -> NDArray[np.intp]:
    """Positions of ``ids`` in random order: each id's place depends on it and the seed alone, on no generator."""
    words = Draw(seed_of(seed, "split"), 0, torch.from_numpy(ids)).integers("order", 2**31 - 1, 2).numpy()
    return np.lexsort((ids, words[:, 1], words[:, 0]))
