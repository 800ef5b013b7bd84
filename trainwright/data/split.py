"""Which records are trained on, which choose the best checkpoint, and which are kept for the final score."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from trainwright.core.errors import DataError, UserError
from trainwright.data.divide import Ids, at_random, chronological, grouped, stratified
from trainwright.data.folds import Fold, chronological_fold, grouped_fold, random_fold, stratified_fold
from trainwright.data.given import PARTS, check_apart, field_values, group_values, own_parts, range_parts
from trainwright.data.moments import moments
from trainwright.data.source import Source

Manner = Literal["random", "stratified", "grouped", "chronological", "ranges"]
How = Literal["auto", "random", "stratified", "grouped", "chronological", "ranges", "given"]
Size = Annotated[float, Field(ge=0)] | Annotated[int, Field(ge=0)] | str

_USUAL = 0.1  # share of valid and of test when the recipe names none


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of one data set: record ids, ascending, int64; no record is in two parts."""

    parts: Mapping[str, Tensor]  # "train", then "valid" and "test" where they were asked for
    how: str  # what was done, in words: "stratified", "given, valid drawn at random from train"
    seed: int

    @property
    def contiguous(self) -> bool:
        """Whether every part is one range of records, as windows over a stream need."""
        return all(int(ids[-1] - ids[0]) == len(ids) - 1 for ids in self.parts.values())


def split_options(
    *,
    valid: Size | None = None,
    test: Size | None = None,
    split: How = "auto",
    group: str | None = None,
    time: str | None = None,
    ranges: dict[str, list[int]] | None = None,
    part: str | None = None,
    fold: dict[str, int] | None = None,
) -> dict[str, Any]:
    """How records are divided into training, validation and test.

    Args:
        valid: the validation part: a share of the records (0.1), how many (500), 0 for none, or the path of a file of
            its own. Left out: the data's own part, else a tenth of the training records.
        test: the part for the final score, likewise. Left out: the data's own part; else a tenth of the records, or
            none where the data come with other parts of their own.
        split: how records are drawn. random; stratified (every class in its proportion); grouped (records that agree
            in the field named by group stay together); chronological (the last records in time are the test part,
            those before them the validation part; without the option time, records are in order of time already);
            ranges; given (only the parts that the data come with). auto keeps the data's own parts and draws the
            others in the manner the options ask for, stratified for classes.
        group: a field; records with the same value (one patient, one song) never lie in different parts.
        time: a field of numbers or ISO dates; the parts that are drawn are later than all that is trained on.
        ranges: record numbers of each part, from the first to before the last, counted from 0:
            { train = [0, 8000], valid = [8000, 9000], test = [9000, 10000] }; other records are not used.
        part: a field that says train, valid or test for every record.
        fold: of a cross-validation, { of = 5, number = 0, repeat = 0, seed = 0 }: this fold is the test part, and the
            other records are for training and validation; folds are scikit-learn's. A test part that the data come
            with is left out. `trainwright crossval` writes it.
    """
    return {
        "valid": valid,
        "test": test,
        "how": split,
        "group": group,
        "time": time,
        "ranges": ranges,
        "part": part,
        "fold": fold,
    }


def split(
    source: Source,
    *,
    valid: Size | None = None,
    test: Size | None = None,
    how: How = "auto",
    group: str | None = None,
    time: str | None = None,
    ranges: Mapping[str, Sequence[int]] | None = None,
    part: str | None = None,
    fold: dict[str, int] | None = None,
    strata: Sequence[Any] | None = None,
    seed: int = 0,
) -> Split:
    """Divide the records of ``source``; a pure function of its arguments, its length and the fields they name.

    ``valid`` and ``test`` are shares below 1 or whole numbers of records; sizes are rounded once, half up, and exact
    but for groups and equal times, which are never cut apart. A part that comes with the data is kept; a number for it
    is an error unless ``how`` says how all parts shall be drawn anew. ``test`` is drawn before ``valid``, so changing
    ``valid`` moves no test record. With ``strata`` (one class per record of ``source``) every class keeps at least one
    record in train. A file named for a part (text) must have been joined to ``source`` (`joined.Joined`).

    Raises `DataError` when a part would be empty, `UserError` when options contradict each other.
    """
    manner = _manner(how, group, time, ranges, part, strata)
    sizes = {"test": test, "valid": valid}  # in the order they are drawn
    if fold is not None:
        return _folded(source, manner, Fold.read(fold), sizes, how, group, time, part, strata, seed)
    if ranges is not None:
        _no_sizes(sizes)
        return Split(range_parts(ranges, len(source)), "ranges", seed)
    own = own_parts(source, part)
    if how == "given" and not own:
        what = "the data come without parts of their own"
        raise UserError("data.split", what, "name the field that tells them in data.part, or write another split")
    own = _kept(own, sizes, how, part)
    pool = own.get("train", np.arange(len(source), dtype=np.int64))
    counts = _counts(sizes, own, len(pool), how)
    drawn = _drawn(source, manner, group, time, strata, pool, counts, seed)
    together = {**own, **drawn}
    parts = {p: together[p] for p in PARTS if p in together}
    if group is not None:
        check_apart(source, group, parts)
    said = manner if not own else "given" + (f"; {' and '.join(counts)} drawn from train, {manner}" if counts else "")
    return Split({p: torch.from_numpy(ids) for p, ids in parts.items()}, said, seed)


def _folded(
    source: Source,
    manner: Manner,
    fold: Fold,
    sizes: Mapping[str, Size | None],
    how: How,
    group: str | None,
    time: str | None,
    part: str | None,
    strata: Sequence[Any] | None,
    seed: int,
) -> Split:
    """A fold as the test part; a validation part that the data come with stays, else one is drawn from the others."""
    if manner == "ranges":
        raise UserError("data.fold", "contradicts data.ranges", "leave one of them out")
    if sizes["test"] is not None and not isinstance(sizes["test"], str):
        raise UserError("data.test", "contradicts data.fold, which is the test part", "leave it out")
    own = own_parts(source, part)
    own.pop("test", None)
    own = _kept(own, {"valid": sizes["valid"]}, how, part)
    pool = own.get("train", np.arange(len(source), dtype=np.int64))
    rest, held = _fold(source, manner, fold, group, time, strata, pool)
    counts = _counts({"test": 0, "valid": sizes["valid"]}, own, len(pool), how)
    if counts and counts["valid"] >= len(rest):
        what = f"nothing would be left of {len(rest)} records to train on, with {counts['valid']} for valid"
        raise DataError("data.valid", what, "write a smaller part")
    drawn = _drawn(source, manner, group, time, strata, rest, counts, seed)
    together = {**own, **drawn, "test": held}
    parts = {p: together[p] for p in PARTS if p in together}
    if group is not None:
        check_apart(source, group, parts)
    repeated = f", repetition {fold.repeat + 1}" if fold.repeat else ""
    said = f"fold {fold.number + 1} of {fold.of}{repeated}, {manner}"
    return Split({p: torch.from_numpy(ids) for p, ids in parts.items()}, said, seed)


def _fold(
    source: Source,
    manner: Manner,
    fold: Fold,
    group: str | None,
    time: str | None,
    strata: Sequence[Any] | None,
    pool: Ids,
) -> tuple[Ids, Ids]:
    match manner:
        case "stratified":
            assert strata is not None
            return stratified_fold(pool, _picked(strata, pool), fold)
        case "grouped":
            assert group is not None
            return grouped_fold(pool, _picked(group_values(source, group), pool), fold)
        case "chronological":
            return chronological_fold(pool, _moments(source, time, pool), fold)
    return random_fold(pool, fold)


def _manner(
    how: How,
    group: str | None,
    time: str | None,
    ranges: Mapping[str, Sequence[int]] | None,
    part: str | None,
    strata: Sequence[Any] | None,
) -> Manner:
    """How parts that the data do not come with are drawn; UserError for options that contradict each other."""
    told: dict[str, Manner] = {"group": "grouped", "time": "chronological", "ranges": "ranges"}
    named = [o for o, value in {"group": group, "time": time, "ranges": ranges}.items() if value is not None]
    if len(named) > 1 or (part is not None and ranges is not None):
        first, second = [*named, "part"][:2]
        raise UserError(f"data.{second}", f"contradicts data.{first}", "name one of them")
    if named and how not in ("auto", "given", told[named[0]]):
        instead = f'leave it out, or write split = "{told[named[0]]}"'
        raise UserError(f"data.{named[0]}", f'says nothing with split = "{how}"', instead)
    if (how == "grouped" and group is None) or (how == "ranges" and ranges is None):
        option = "group" if how == "grouped" else "ranges"
        raise UserError(f"data.{option}", f'required by split = "{how}", but missing', f"give data.{option}")
    if how == "stratified" and strata is None:
        raise UserError("data.split", "there are no classes to stratify by", 'write split = "random"')
    if named:
        return told[named[0]]
    if how == "auto" or how == "given":
        return "random" if strata is None else "stratified"
    return how


def _no_sizes(sizes: Mapping[str, Size | None]) -> None:
    for name, size in sizes.items():
        if size is not None:
            raise UserError(f"data.{name}", "contradicts data.ranges", f"give {name} = [first, end] in data.ranges")


def _kept(own: dict[str, Ids], sizes: Mapping[str, Size | None], how: How, part: str | None) -> dict[str, Ids]:
    """The data's own parts; none of them where a number for one asks to draw all anew."""
    for name, size in sizes.items():
        if isinstance(size, str) and name not in own:
            raise UserError(
                f"data.{name}", f"{size!r} was not joined to the other records", "open it with joined.Joined"
            )
    again = [p for p, size in sizes.items() if p in own and size is not None and not isinstance(size, str)]
    if not again:
        return own
    name = again[0]
    if how in ("auto", "given") or part is not None or any(isinstance(s, str) for s in sizes.values()):
        what = f"the data come with their own {name} part of {len(own[name])} records"
        other = 'write split = "random" to draw all parts anew' if part is None else "leave data.part out"
        raise UserError(f"data.{name}", what, f"leave data.{name} out, or {other}")
    return {}


def _counts(sizes: Mapping[str, Size | None], own: Mapping[str, Ids], pool: int, how: How) -> dict[str, int]:
    """How many records to draw for each part that is not the data's own."""
    counts: dict[str, int] = {}
    for name, size in sizes.items():
        if name in own:
            continue
        if size is None:
            usual = how != "given" and (not own or name == "valid")
            counts[name] = max(1, _rounded(_USUAL, pool)) if usual else 0
        else:
            counts[name] = _size(name, size, pool)
    if not pool:
        raise DataError("data", "there are no records to train on", "give some")
    counts = {name: n for name, n in counts.items() if n}
    if sum(counts.values()) >= pool:
        told = " and ".join(f"{n} for {name}" for name, n in counts.items())
        what = f"nothing would be left of {pool} records to train on, with {told}"
        raise DataError(f"data.{next(iter(counts))}", what, "write smaller parts")
    return counts


def _size(name: str, size: Size, pool: int) -> int:
    """A share or a number of records as a number; 0 for none."""
    assert not isinstance(size, str)
    where = f"data.{name}"
    if isinstance(size, bool) or size < 0 or size != size:
        raise UserError(
            where, f"{size!r} is no size of a part", "write a share such as 0.1, a number such as 500, or 0"
        )
    if isinstance(size, float) and size >= 1:
        what = f"{size!r} is no share below 1"
        raise UserError(
            where, what, f"write {int(size)} for as many records" if size == int(size) else "write 0.1 or 500"
        )
    if isinstance(size, int) or size == 0:
        return int(size)
    count = _rounded(size, pool)
    if not count:
        raise DataError(where, f"{size} of {pool} records would be empty", f"write {name} = 1 or more, or 0 for none")
    return count


def _rounded(share: float, n: int) -> int:
    """The nearest whole number, halves up; ``share`` is taken as it is written (0.15 of 10 is 2)."""
    return int(Fraction(repr(share)) * n + Fraction(1, 2))


def _drawn(
    source: Source,
    manner: Manner,
    group: str | None,
    time: str | None,
    strata: Sequence[Any] | None,
    pool: Ids,
    counts: Mapping[str, int],
    seed: int,
) -> dict[str, Ids]:
    match manner:
        case "stratified":
            assert strata is not None
            return stratified(pool, _picked(strata, pool), counts, seed)
        case "grouped":
            assert group is not None
            return grouped(pool, _picked(group_values(source, group), pool), counts, seed)
        case "chronological":
            return chronological(pool, _moments(source, time, pool), counts)
    return at_random(pool, counts, seed)


def _moments(source: Source, time: str | None, pool: Ids) -> NDArray[Any] | None:
    """The time of each record of the pool; None where they are in order."""
    if time is None:
        return None
    return moments(_picked(field_values(source, time, "time"), pool), time, lambda i: source.where(int(pool[i])))


def _picked(values: Sequence[Hashable] | NDArray[Any] | Tensor, ids: Ids) -> list[Hashable]:
    plain = values.tolist() if isinstance(values, np.ndarray | Tensor) else values
    return [plain[i] for i in ids.tolist()]
