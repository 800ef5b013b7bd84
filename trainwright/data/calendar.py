"""Regular times: which step lies between the times of a series, where each time stands, and which come next.

Times are whole numbers, ticks: microseconds since 1970 of dates, or the numbers themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainwright.data.written import date_of, forms_of

Unit: TypeAlias = Literal["number", "microsecond", "business day", "month"]
Part: TypeAlias = Literal["hour", "weekday", "month"]
Ticks: TypeAlias = NDArray[np.int64]
PARTS: dict[Part, int] = {
    "hour": 24,
    "weekday": 7,
    "month": 12,
}  # what may be known of any time, and how many there are

_EPOCH = datetime(1970, 1, 1)
_MONTH = re.compile(r"\d{4}-\d\d")
_LOOKED_AT = 1000  # texts that a form is told from, spread over the column
SECOND = 1_000_000
DAY = 86_400 * SECOND
_WORDS = ((7 * DAY, "week"), (DAY, "day"), (3600 * SECOND, "hour"), (60 * SECOND, "minute"), (SECOND, "second"))


@dataclass(frozen=True, slots=True)
class Step:
    """What lies between a time and the next.

    Args:
        unit: what is counted.
        count: how many of it.
        last: of months: whether the times are the last days of theirs.
    """

    unit: Unit
    count: int
    last: bool = False

    def __str__(self) -> str:
        """``1 hour``, ``3 months``."""
        count, word = self.count, str(self.unit)
        if self.unit == "microsecond":
            count, word = next(((count // size, name) for size, name in _WORDS if count % size == 0), (count, word))
        return f"{count:,} {word}{'s' * (count != 1)}"

    @property
    def season(self) -> int:
        """Steps after which most series of this kind repeat: a day of hours, a week of days, a year of months.

        Source: the table of Hyndman & Athanasopoulos 2021, "Forecasting: principles and practice", section 2.1.
        """
        if self.unit == "month":
            return max(1, 12 // self.count)
        if self.unit == "business day":
            return max(1, 5 // self.count)
        if self.unit == "number":
            return 1
        if self.count < DAY:
            return max(1, DAY // self.count)
        if self.count < 7 * DAY:
            return max(1, 7 * DAY // self.count)
        return max(1, 52 * 7 * DAY // self.count)

    def places(self, ticks: Ticks) -> tuple[Ticks, NDArray[np.bool_]]:
        """(N,) steps between the first time and each, rounded down, and (N,) whether each stands on a step."""
        if self.unit in ("number", "microsecond"):
            steps, rest = np.divmod(ticks - ticks[0], self.count)
            return steps, rest == 0
        days, within = np.divmod(ticks, DAY)
        same_clock = within == within[0]
        if self.unit == "business day":
            there = np.is_busday(_dates(days))
            counted = np.busday_count(_dates(days[:1]), _dates(days))
            steps, rest = np.divmod(counted.astype(np.int64), self.count)
            return steps, there & (rest == 0) & same_clock
        months = _dates(days).astype("datetime64[M]").astype(np.int64)
        steps, rest = np.divmod(months - months[0], self.count)
        return steps, (rest == 0) & same_clock & _same_day(days, self.last)

    def after(self, tick: int, steps: int) -> int:
        """The time so many steps after one; ``tick`` stands on a step."""
        if self.unit in ("number", "microsecond"):
            return tick + steps * self.count
        day, within = divmod(tick, DAY)
        at = np.datetime64(day, "D")
        if self.unit == "business day":
            return int(np.busday_offset(at, steps * self.count, roll="forward").astype(np.int64)) * DAY + within
        month = at.astype("datetime64[M]")
        inside = int((at - month.astype("datetime64[D]")).astype(np.int64))
        there = month + steps * self.count
        length = int(((there + 1).astype("datetime64[D]") - there.astype("datetime64[D]")).astype(np.int64))
        day = int(there.astype("datetime64[D]").astype(np.int64)) + (
            length - 1 if self.last else min(inside, length - 1)
        )
        return day * DAY + within

    def as_list(self) -> list[Any]:
        """For JSON."""
        return [self.unit, self.count, self.last]

    @classmethod
    def of_list(cls, told: Sequence[Any]) -> Step:
        """The inverse of `as_list`."""
        unit, count, last = told
        return cls(unit, int(count), bool(last))


def step_of(ticks: Ticks, numbers: bool) -> Step:
    """The step that lies most often between neighbours of rising times (N,), N above 1; gaps may be among them.

    Args:
        ticks: rising.
        numbers: whether they count something else than time.
    """
    apart = Counter(np.diff(ticks).tolist())
    usual = min(apart, key=lambda d: (-apart[d], d))
    if numbers:
        return Step("number", usual)
    days, within = np.divmod(ticks, DAY)
    if len(set(within.tolist())) == 1:
        if usual >= 28 * DAY:
            for last in (False, True):
                if bool(_same_day(days, last).all()):
                    months = np.diff(_dates(days).astype("datetime64[M]").astype(np.int64))
                    return Step("month", Counter(months.tolist()).most_common(1)[0][0], last)
        if usual == DAY and 3 * DAY in apart and bool(np.is_busday(_dates(days)).all()):
            return Step("business day", 1)
    return Step("microsecond", usual)


def read_times(values: Sequence[Any]) -> tuple[Ticks, str]:
    """Times as ticks (N,), and the form in which they are written: "number", "month", "day" or "second".

    Whole numbers are ticks; dates are ISO 8601 or another usual form, as text or Python's own; a zone is turned into
    UTC. ValueError with the number of the first that is no time, and why, as its arguments.
    """
    if all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        return np.array(values, dtype=np.int64), "number"
    texts = [v.isoformat() if isinstance(v, datetime) else v for v in values]
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(i, "is missing" if text is None else f"{text!r} is no date and no whole number")
    months = all(_MONTH.fullmatch(t) for t in texts)
    found = [""] if months else forms_of(texts[:: max(1, len(texts) // _LOOKED_AT)])
    if len(found) > 1:
        raise ValueError(0, f"{texts[0]!r} can be read as day and month or as month and day")
    form = found[0] if found else ""
    ticks = np.array([_tick(f"{t}-01" if months else t, form, i) for i, t in enumerate(texts)], dtype=np.int64)
    return ticks, "month" if months else "day" if not (ticks % DAY).any() else "second"


def written_time(tick: int, form: str) -> Any:
    """A tick as `read_times` read it; dates in ISO 8601."""
    if form == "number":
        return tick
    at = _EPOCH + timedelta(microseconds=tick)
    return at.strftime("%Y-%m") if form == "month" else at.date().isoformat() if form == "day" else at.isoformat(" ")


def parts_of_time(ticks: Ticks, names: Sequence[Part]) -> NDArray[np.float32]:
    """(R,) ticks of dates -> (R, K) of 0 and 1: in which hour, day of the week and month each lies, as asked."""
    days, within = np.divmod(ticks, DAY)
    months = _dates(days).astype("datetime64[M]").astype(np.int64)
    found = {
        "hour": within // (3600 * SECOND),
        "weekday": (days + 3) % 7,
        "month": months % 12,
    }  # 1970 began on a Thursday
    return np.concatenate([np.eye(PARTS[name], dtype=np.float32)[found[name]] for name in names], axis=1)


def _tick(text: str, form: str, index: int) -> int:
    try:
        at = date_of(text, form)
    except ValueError:
        raise ValueError(index, f"{text!r} is no date") from None
    start = _EPOCH if at.tzinfo is None else _EPOCH.replace(tzinfo=UTC)
    return (at - start) // timedelta(microseconds=1)


def _dates(days: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return days.astype("datetime64[D]")


def _same_day(days: NDArray[np.int64], last: bool) -> NDArray[np.bool_]:
    """(N,) whether each date is the last of its month, or the same day of it as the first date."""
    dates = _dates(days)
    months = dates.astype("datetime64[M]")
    if last:
        return np.asarray((months + 1).astype("datetime64[D]") - dates == np.timedelta64(1, "D"))
    inside = (dates - months.astype("datetime64[D]")).astype(np.int64)
    return np.asarray(inside == inside[0])
