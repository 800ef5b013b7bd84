"""The columns of a table as inputs: a number scaled, or a category numbered; and which column is which."""

from __future__ import annotations

import math
import re
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
from trainwright.data.written import date_of, forms_of, number_of

Kind: TypeAlias = Literal["number", "date"]
Scaling: TypeAlias = Literal["quantile", "standard"]

UNKNOWN, MISSING, FIRST = 0, 1, 2  # category ids: a level that training did not have, none given, the first level
KNOTS = 256  # of the quantile curve
BINS = 128  # whose edges a model may be told, at most
FEW = 30  # text with at most so many different values is a category, however few the rows
REPEATED = 0.2  # text with more different values than this share of the rows is no category

MOSTLY = 0.9  # numbers among the values of a column that is one of numbers, the others being mistakes

_TRUTH = (("true", "yes", "y", "t", "on", "1"), ("false", "no", "n", "f", "off", "0"))
_CODE = re.compile(r"[+-]?0\d")  # 00501 is a name, not a number
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
    form: str = ""  # how it stands in text: the unit of numbers ("$"), the format of dates ("%d.%m.%Y", "" for ISO)

    def read(self, value: Any) -> float | None:
        """The number a cell holds, None when it is missing; `DataError` when it is no finite number."""
        return read(value, self.kind, self.name, self.form)

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
    """A column of categories, or a part of a date, in the order in which training met them."""

    name: str
    levels: tuple[str, ...]
    optional: bool
    part: str = ""  # of a date: "weekday", "month" or "hour"
    form: str = ""  # of a date, as `Number` has it

    def read(self, value: Any) -> str | None:
        """The level a cell holds, None when it is missing; `DataError` where a date should be and is none."""
        return part_of(value, self.part, self.name, self.form) if self.part else level(value)

    def ids(self) -> dict[str, int]:
        """Level -> id; also by small letters or as a number where one level alone is meant; other words for yes, no."""
        exact = {t: FIRST + i for i, t in enumerate(self.levels)}
        small: dict[str, set[int]] = {}
        same: dict[str, set[int]] = {}
        for text, i in exact.items():
            same.setdefault(plain(text) or text, set()).add(i)
        for text, i in exact.items():
            small.setdefault(text.casefold(), set()).add(i)
        out = {text: min(ids) for text, ids in small.items() if len(ids) == 1} | exact
        truths = [[i for t, ids in small.items() if t in words for i in ids] for words in _TRUTH]
        if len(small) == sum(map(len, truths)) and max(map(len, truths)) == 1:
            out = {w: ids[0] for words, ids in zip(_TRUTH, truths, strict=True) if ids for w in words} | out
        return {text: min(ids) for text, ids in same.items() if len(ids) == 1} | out

    @property
    def as_text(self) -> bool:
        """Whether training had the column as text, so that a file whose cells all look like numbers is read so too."""
        return not self.part and any(plain(text) != text for text in self.levels)

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


def plain(text: str) -> str | None:
    """``+1`` and ``1.0`` as ``1``, as `level` writes numbers; None for codes (007) and for what is no number."""
    if _CODE.match(text):
        return None
    try:
        return level(int(text) if text.strip("+-").isdecimal() else float(text))
    except (ValueError, OverflowError):
        return None


def read(value: Any, kind: Kind, name: str, form: str = "") -> float | None:
    """A cell as a number (dates: days since 1970, UTC where a zone is given), None when it is missing."""
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in _WORDS:
            return None
    if is_missing(value):
        return None
    try:
        x = _days(_moment(value, form)) if kind == "date" else _number(value, form)
    except (TypeError, ValueError, OverflowError):
        word = "date" if kind == "date" else f"number in {form}" if form else "number"
        what = f"{value!r:.60} is not a {word}, as the column's training records hold"
        instead = "correct it, leave the cell empty, or name the column in `categorical` or `ignore`"
        raise DataError(f"column '{name}'", what, instead) from None
    if x != x:  # Decimal("NaN")
        return None
    if not math.isfinite(x):
        raise DataError(f"column '{name}'", f"the number is {x}", "correct it, or leave the cell empty")
    return x


def _read_at(index: int, value: Any, kind: Kind, name: str, form: str) -> float | None:
    """A cell of a training record; a mistake names the record."""
    try:
        return read(value, kind, name, form)
    except DataError as error:
        raise DataError(f"training record {index}, {error.where}", error.what, error.instead) from None


def part_of(value: Any, part: str, name: str, form: str) -> str | None:
    """The weekday (Monday is 1), month or hour of a date as text, None when it is missing."""
    if read(value, "date", name, form) is None:
        return None
    moment = _moment(value.strip() if isinstance(value, str) else value, form)
    return str({"weekday": moment.isoweekday(), "month": moment.month, "hour": moment.hour}[part])


def _number(value: Any, form: str) -> float:
    if not isinstance(value, str):
        return float(value)
    x, unit = number_of(value)
    if unit not in ("", form):
        raise ValueError(unit)
    return x


def _moment(value: Any, form: str) -> datetime:
    moment = date_of(value, form) if isinstance(value, str) else value
    if not isinstance(moment, date):
        raise TypeError
    return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)


def _days(moment: datetime) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() / 86400


def number(name: str, values: Sequence[Any], kind: Kind, scaling: Scaling, optional: bool) -> Number | Category | str:
    """The column fitted; a category where only "there or not" differs; a note where nothing does."""
    form = _form(values, kind)
    xs = [_read_at(i, v, kind, name, form) for i, v in enumerate(values)]
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
        fitted = Number(name, kind, scaling, middle, (mean,), (deviation,), marks, optional, (), form)
    else:
        fitted = Number(name, kind, scaling, middle, *_quantiles(there), marks, optional, (), form)
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


def parts(date: Number, values: Sequence[Any]) -> list[Category]:
    """The weekday, month and hour of a column of dates as categories, as far as they differ."""
    found = []
    for part in ("weekday", "month", "hour"):
        levels = dict.fromkeys(part_of(v, part, date.name, date.form) for v in values)
        there = tuple(t for t in levels if t is not None)
        if len(there) > 1:
            found.append(Category(date.name, there, date.optional, part, date.form))
    return found


def _form(values: Sequence[Any], kind: Kind) -> str:
    """How the texts of a column are written; "" where that goes without saying."""
    texts = [v.strip() for v in values if isinstance(v, str) and v.strip().lower() not in _WORDS]
    if kind == "date":
        return next(iter(forms_of(texts)), "")
    units = Counter(number_of(t)[1] for t in texts if _is_number(t))
    return max(units, key=lambda u: (u != "", units[u]), default="")


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
    numbers = [v for v in there if _is_number(v)]
    if len(numbers) == len(there) and _alike(there):
        return _numeric_id(name, there) or "number"
    odd = [v for v in there if not (isinstance(v, str | date) or _is_truth(v) or _is_number(v))]
    if odd:
        return f"it holds values of type {type(odd[0]).__name__}"
    if all(isinstance(v, str | date) for v in there):
        texts = [v.strip() for v in there if isinstance(v, str)]
        forms = forms_of(texts)
        if forms and any(date_of(t, forms[0]) != date_of(t, f) for f in forms[1:] for t in texts):
            return f"dates such as {texts[0]!r} can be read day first and month first: write them as 2024-12-31"
        if forms or not texts:
            return "date"
    role = _texts([level(v) or "" for v in there])
    # one word among a thousand numbers is a mistake to be told, not a reason to lose the column
    return "number" if role != "category" and len(numbers) >= MOSTLY * len(there) and _alike(numbers) else role


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
    named = word in ("", "id", "index", "row", "rowid", "row_id") or word.endswith(("_id", "id_"))
    named = named or name.endswith(("Id", "ID")) or word.startswith("unnamed:")
    dense = len(there) >= 50 and int(max(there)) - int(min(there)) < 4 * len(there)
    rising = all(a < b for a, b in pairwise(there))
    return "an id: whole numbers, each once" if named or (dense and rising) else ""


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            return math.isfinite(number_of(value)[0])
        except ValueError:
            return False
    return isinstance(value, int | float | Decimal | np.integer | np.floating) and not _is_truth(value)


def _alike(numbers: Sequence[Any]) -> bool:
    """Whether numbers in text share one unit, and none is a code that only looks like a number."""
    texts = [v for v in numbers if isinstance(v, str)]
    return len({number_of(t)[1] for t in texts} - {""}) < 2 and not any(_CODE.match(t.strip()) for t in texts)
