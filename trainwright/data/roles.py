"""The columns of a table as inputs: a number scaled, or a category numbered; and which column is which."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from statistics import NormalDist, fmean, median
from typing import Any, Literal, TypeAlias

import numpy as np

from trainwright.core.errors import DataError
from trainwright.data.labels import is_missing

Kind: TypeAlias = Literal["number", "date"]
Scaling: TypeAlias = Literal["quantile", "standard"]

UNKNOWN, MISSING, FIRST = 0, 1, 2  # category ids: a level that training did not have, none given, the first level
KNOTS = 256  # of the quantile curve
BINS = 128  # whose edges a model may be told, at most
FEW = 30  # text with at most so many different values is a category, however few the rows
REPEATED = 0.2  # text with more different values than this share of the rows is no category

_WORDS = {"", "?", "na", "n/a", "#n/a", "<na>", "nan", "null", "none"}  # for a missing number


@dataclass(frozen=True, slots=True)
class Number:
    """A column of numbers, or of dates as days: a curve to scale it by, and the median for what is missing.

    For quantiles, ``xs`` and ``zs`` are the knots of a piecewise-linear curve, flat beyond its ends; for standard
    scaling they hold the mean and the deviation.
    """

    name: str
    kind: Kind
    scaling: Scaling
    middle: float
    xs: tuple[float, ...]
    zs: tuple[float, ...]
    marks: bool  # whether an input says that the number was missing
    optional: bool  # whether some training records did not have the key at all
    edges: tuple[float, ...]  # of bins that hold about as many training values each, scaled, rising

    def read(self, value: Any) -> float | None:
        """The number a cell holds, None when it is missing; `DataError` when it is no finite number."""
        return read(value, self.kind, self.name)

    def scaled(self, x: float) -> float:
        """About zero mean and unit variance over the training records."""
        xs, zs = self.xs, self.zs
        if self.scaling == "standard":
            return (x - xs[0]) / zs[0]
        i = bisect_left(xs, x)
        if i == len(xs) or i == 0:
            return zs[max(0, i - 1)]
        low, high = xs[i - 1], xs[i]
        return zs[i - 1] + (zs[i] - zs[i - 1]) * ((x - low) / (high - low))


@dataclass(frozen=True, slots=True)
class Category:
    """A column of categories, in the order in which training met them."""

    name: str
    levels: tuple[str, ...]
    optional: bool

    @property
    def size(self) -> int:
        """Different ids: the levels, unknown, missing."""
        return FIRST + len(self.levels)


def level(value: Any) -> str | None:
    """A category as text: 3 and 3.0 are the same; None when it is missing."""
    if is_missing(value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def read(value: Any, kind: Kind, name: str) -> float | None:
    """A cell as a number (dates: days since 1970, UTC where a zone is given), None when it is missing."""
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in _WORDS:
            return None
    if is_missing(value):
        return None
    try:
        x = _days(value) if kind == "date" else float(value)
    except (TypeError, ValueError, OverflowError):
        word = "date" if kind == "date" else "number"
        what = f"{value!r} is not a {word}, as the column's training records hold"
        raise DataError(
            f"column '{name}'", what, "correct it, or name the column in `categorical` or `ignore`"
        ) from None
    if not math.isfinite(x):
        raise DataError(f"column '{name}'", f"the number is {x}", "correct it, or leave the cell empty")
    return x


def _read_at(index: int, value: Any, kind: Kind, name: str) -> float | None:
    """A cell of a training record; a mistake names the record."""
    try:
        return read(value, kind, name)
    except DataError as error:
        raise DataError(f"training record {index}, {error.where}", error.what, error.instead) from None


def _days(value: Any) -> float:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, date):
        raise TypeError
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() / 86400


def number(name: str, values: Sequence[Any], kind: Kind, scaling: Scaling, optional: bool) -> Number | Category | str:
    """The column fitted; a category where only "there or not" differs; a note where nothing does."""
    xs = [_read_at(i, v, kind, name) for i, v in enumerate(values)]
    there = [x for x in xs if x is not None]
    if not there:
        return "every value is missing"
    marks = len(there) < len(xs)
    low, high = min(there), max(there)
    if low == high:
        if marks:
            return category(name, [None if x is None else values[i] for i, x in enumerate(xs)], optional)
        return f"every value is {low:g}"
    middle = median(there)
    if scaling == "standard":
        unit = max(-low, high)  # keeps the squares in range
        mean = unit * fmean(x / unit for x in there)
        deviation = unit * math.sqrt(fmean((x / unit - mean / unit) ** 2 for x in there))
        fitted = Number(name, kind, scaling, middle, (mean,), (deviation,), marks, optional, ())
    else:
        fitted = Number(name, kind, scaling, middle, *_quantiles(there), marks, optional, ())
    return replace(fitted, edges=_edges([fitted.scaled(x) for x in there]))


def category(name: str, values: Sequence[Any], optional: bool) -> Category | str:
    """The column fitted; a note where every value is the same."""
    levels = list(dict.fromkeys(level(v) for v in values))
    there = tuple(text for text in levels if text is not None)
    if not there:
        return "every value is missing"
    if len(levels) == 1:
        return f"every value is {there[0]!r}"
    return Category(name, there, optional)


def _quantiles(values: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots that give the values the shape of a normal distribution; the tied share their mean rank.

    Source: van der Waerden 1952, scores by the inverse normal of the rank.
    """
    x, count = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2 - 0.5) / len(values)
    z = np.array([NormalDist().inv_cdf(p) for p in rank])
    picked = np.unique(np.searchsorted(rank, np.linspace(rank[0], rank[-1], KNOTS)).clip(0, len(x) - 1))
    return tuple(x[picked].tolist()), tuple(z[picked].tolist())


def _edges(scaled: Sequence[float]) -> tuple[float, ...]:
    """Every value where there are few, else quantiles, for which a value that repeats counts one bin's worth at most.

    Plain quantiles would spend all bins of a column that is nearly always 0 on that one value.
    """
    # as a model sees them: values that float32 cannot tell apart have no bin between them
    z, count = np.unique(np.asarray(scaled, dtype=np.float32).astype(np.float64), return_counts=True)
    if len(z) > BINS + 1:
        rank = np.cumsum(np.minimum(count, len(scaled) / BINS))
        z = z[np.unique(np.searchsorted(rank, np.linspace(rank[0], rank[-1], BINS + 1)).clip(0, len(z) - 1))]
    return tuple(z.tolist())


def guess(name: str, values: Sequence[Any]) -> Kind | Literal["category"] | str:
    """What a column is, by its training values; a note of several words where it is of no use."""
    there = [v for v in values if not (is_missing(v) or (isinstance(v, str) and v.strip().lower() in _WORDS))]
    if not there:
        return "every value is missing"
    if all(_is_truth(v) for v in there):
        return "category"
    if all(_is_number(v) for v in there):
        return _numeric_id(name, there) or "number"
    odd = [v for v in there if not (isinstance(v, str | date) or _is_truth(v) or _is_number(v))]
    if odd:
        return f"it holds values of type {type(odd[0]).__name__}"
    return "date" if all(_is_date(v) for v in there) else _texts([level(v) or "" for v in there])


def _texts(there: Sequence[str]) -> str:
    different = len(set(there))
    if (different == len(there) and different >= 10) or different > max(FEW, REPEATED * len(there)):
        return f"free text or an id: {different} different values in {len(there)} records"
    return "category"


def _numeric_id(name: str, there: Sequence[Any]) -> str:
    """A note for whole numbers that only count the records: an id says nothing of the next record."""
    if len(there) < 10 or not all(isinstance(v, int | np.integer) for v in there):
        return ""
    if max(Counter(there).values()) > 1:
        return ""
    word = name.strip().lower().replace(" ", "_")
    named = word in ("", "id", "index", "row", "rowid", "row_id", "unnamed:_0") or word.endswith(("_id", "id_"))
    named = named or name.endswith(("Id", "ID"))
    dense = len(there) >= 50 and int(max(there)) - int(min(there)) < 4 * len(there)
    rising = all(a < b for a, b in pairwise(there))
    return "an id: whole numbers, each once" if named or (dense and rising) else ""


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            return math.isfinite(float(value))
        except ValueError:
            return False
    return isinstance(value, int | float | Decimal | np.integer | np.floating) and not _is_truth(value)


def _is_date(value: Any) -> bool:
    if isinstance(value, str) and not (len(value) >= 8 and value[:4].isdigit()):
        return False  # "2024" and "12" are numbers, not dates
    try:
        _days(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
