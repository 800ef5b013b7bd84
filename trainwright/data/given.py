"""Parts that nobody draws: those the data come with, and those a recipe spells out; and the fields that splits read."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.data.divide import Ids
from trainwright.data.source import Source

PARTS = ("train", "valid", "test")
_WORDS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"}
_WORDS |= {"dev": "valid", "test": "test", "testing": "test"}  # what a column of parts may say


def own_parts(source: Source, part: str | None) -> dict[str, Ids]:
    """The parts that the data come with, or that the field ``part`` tells; empty when there are none.

    Ids are ascending, none is in two parts, train is among them, no part is empty; DataError otherwise.
    """
    given = {p: np.sort(np.asarray(ids, dtype=np.int64)) for p, ids in source.parts().items()}
    if part is not None and given:
        what = f"the data already come with parts: {', '.join(given)}"
        raise UserError("data.part", what, "leave it out, or name files without parts")
    if part is not None:
        given = _told(source, part)
    if given and "train" not in given:
        raise DataError(
            "data", f"the data come with parts {', '.join(given)}, but without train", "give records to train on"
        )
    for name, ids in given.items():
        if name not in PARTS:
            raise DataError("data", f"the data come with a part '{name}'", "name it train, valid or test")
        if not len(ids):
            raise DataError(f"data.{name}", "the part is empty", "give it records, or leave it out")
    everything = np.concatenate([*given.values(), np.zeros(0, np.int64)])
    if len(np.unique(everything)) < len(everything):
        raise DataError("data", "a record is in two parts", "put every record in one part")
    return given


def range_parts(ranges: Mapping[str, Sequence[int]], n: int) -> dict[str, Tensor]:
    """Ranges of record numbers, [first, end), as ids; UserError unless they lie apart and within the ``n`` records."""
    for name, span in ranges.items():
        where = f"data.ranges.{name}"
        if name not in PARTS:
            raise UserError(where, "no such part", did_you_mean(name, PARTS))
        if len(span) != 2 or not 0 <= span[0] < span[1] <= n:
            what = f"{list(span)} is no range of the {n} records"
            raise UserError(where, what, f"write [first, end] with 0 ≤ first < end ≤ {n}")
    if "train" not in ranges:
        raise UserError("data.ranges", "train is missing", "write train = [first, end]")
    ordered = sorted(ranges, key=lambda p: ranges[p][0])
    for a, b in pairwise(ordered):
        if ranges[a][1] > ranges[b][0]:
            what = f"overlaps with {a}: {list(ranges[a])} and {list(ranges[b])}"
            raise UserError(f"data.ranges.{b}", what, "give every record to one part")
    return {p: torch.arange(ranges[p][0], ranges[p][1]) for p in PARTS if p in ranges}


def check_apart(source: Source, group: str, parts: Mapping[str, Ids]) -> None:
    """No group in two parts, which parts that came with the data may violate."""
    values = group_values(source, group)
    seen: dict[Any, str] = {}
    for part, ids in parts.items():
        for i in ids.tolist():
            other = seen.setdefault(values[i], part)
            if other != part:
                what = f"'{group}' {values[i]!r} is in {other} and in {part}"
                raise DataError(source.where(i), what, "repair the parts, or leave data.group out")


def group_values(source: Source, group: str) -> Sequence[Hashable]:
    """The group of every record; DataError where one has none."""
    values = field_values(source, group, "group")
    for i, value in enumerate(values):
        if isinstance(value, Tensor | np.ndarray | list | dict):
            raise DataError(source.where(i), f"'{group}' is no single value", "group by a field of numbers or text")
        if value is None or value != value:
            what = f"'{group}' is missing, and the records are grouped by it"
            raise DataError(source.where(i), what, "fill it in, or leave the record out")
    return values


def field_values(source: Source, field: str, option: str) -> Sequence[Any]:
    """One field of every record; ``option`` is what named it."""
    if field not in source.fields():
        raise DataError(f"data.{option}", f"records have no field '{field}'", did_you_mean(field, source.fields()))
    values = source.values(field)
    return values.tolist() if isinstance(values, np.ndarray | Tensor) else values


def _told(source: Source, part: str) -> dict[str, Ids]:
    """The parts that a field tells."""
    values = field_values(source, part, "part")
    found: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        word = _WORDS.get(str(value).strip().lower())
        if word is None:
            raise DataError(
                source.where(i), f"'{part}' is {value!r}, which names no part", "write train, valid or test"
            )
        found.setdefault(word, []).append(i)
    return {p: np.array(found[p], dtype=np.int64) for p in PARTS if p in found}
