"""Series: a table with a column of times, one record for each step of an even grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data.calendar import Ticks, read_times, step_of, written_time
from trainwright.data.fingerprint import digest
from trainwright.data.source import Source
from trainwright.data.table import Table

TIME = "time"  # the field of a record
_NAMES = ("time", "date", "datetime", "timestamp", "ds", "month", "week", "day", "year", "period", "step", "index", "t")


@sources.add("series")
@final
class Series(Source):
    """One record for each time of a table: ``{"time": …, column: number}``, in order, at even distances.

    The step between times is found: whole numbers of any unit up to weeks, months and quarters (of the same or the
    last day), business days, or whole numbers that count. Times must rise, none may come twice, and each must stand on
    the grid of steps: what does not is told with its line. Times and numbers that are missing are told as well, or
    marked: such a time is then a record without numbers, which no forecast is compared with.

    Args:
        path: a CSV, TSV, Parquet or JSON lines file; a relative path is also looked up under $TRAINWRIGHT_DATA.
        time_column: the column of times; left out, the one that holds dates, else one of whole numbers by its name.
        columns: the columns of numbers to keep, in this order; all when left out.
        drop: columns to leave out.
        gaps: times and numbers that are missing: an "error", or a "mark" that nothing is known there.
        ahead: columns that are known of times to come, such as holidays and prices: times at the end of which these
            alone are told are no records, but what forecasts are made with.
        separator: the character between cells; left out, a comma in .csv and a tab in .tsv files.
        decimal: the decimal mark of numbers in a CSV or TSV file.
        encoding: of a CSV, TSV or JSON lines file, by Python's name.
    """

    def __init__(
        self,
        *,
        path: str,
        time_column: str | None = None,
        columns: tuple[str, ...] | None = None,
        drop: tuple[str, ...] = (),
        gaps: Literal["error", "mark"] = "error",
        ahead: tuple[str, ...] = (),
        separator: str | None = None,
        decimal: Literal[".", ","] = ".",
        encoding: str = "utf-8",
    ) -> None:
        self._table = Table(path=path, separator=separator, decimal=decimal, encoding=encoding)
        self.path: Path = self._table.path
        self.time = clock_of(self._table, time_column)
        self._names = self._numbers(columns, drop)
        told = len(self._table) - self._only(ahead)  # lines that are records
        ticks, self.form = self._times()
        if len(ticks) < 3:
            raise DataError(self.path.name, f"has {len(ticks)} times", "give a series of at least three")
        self._rising(ticks)
        self.step = step_of(ticks, self.form == "number")
        self.ticks, self._rows = self._on_grid(ticks, gaps)
        self._count = int(np.flatnonzero((self._rows >= 0) & (self._rows < told))[-1]) + 1
        self._values = {
            name: self._column(name, gaps, len(self._table) if name in ahead else told) for name in self._names
        }
        self._options = (time_column, columns, drop, gaps, ahead, separator, decimal, encoding)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = self._rows[index]
        told = {name: values[row] if row >= 0 else None for name, values in self._values.items()}
        return {TIME: written_time(int(self.ticks[index]), self.form), **told}

    def fingerprint(self) -> str:
        """Of the file's content and every option."""
        return digest("series", self._table.fingerprint(), self._options)

    def fields(self) -> Sequence[str]:
        """The time, and the columns of numbers."""
        return [TIME, *self._names]

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record; None where it is marked as missing."""
        return self._cells(field, len(self))

    def _cells(self, field: str, count: int) -> list[Any]:
        if field == TIME:
            return [written_time(t, self.form) for t in self.ticks[:count].tolist()]
        if field not in self._values:
            raise DataError(self.path.name, f"no column is named '{field}'", did_you_mean(field, self._values))
        values = self._values[field]
        return [values[row] if row >= 0 else None for row in self._rows[:count].tolist()]

    def where(self, index: int) -> str:
        """``etth1.csv, line 17``; ``etth1.csv, 2016-07-02, which is missing``."""
        row = int(self._rows[index])
        missing = f"{self.path.name}, {written_time(int(self.ticks[index]), self.form)}, which is missing"
        return self._table.where(row) if row >= 0 else missing

    @property
    def missing(self) -> int:
        """Times of the grid that the file does not have."""
        return int((self._rows < 0).sum())

    def stretch(self, last: int | None = None) -> Record:
        """All records as one, with lists in the place of values, or the ``last`` of them; then what is to come."""
        start = 0 if last is None else max(0, len(self) - last)
        return {field: self._cells(field, len(self.ticks))[start:] for field in self.fields()}

    def _numbers(self, columns: Sequence[str] | None, drop: Sequence[str]) -> list[str]:
        """The names of the columns that are kept; each holds numbers."""
        others = [name for name in self._table.fields() if name != self.time]
        for option, names in (("columns", columns or ()), ("drop", drop)):
            for name in names:
                if name not in others:
                    what = f"{self.path.name} has no column '{name}' beside the time"
                    raise DataError(f"data.{option}", what, did_you_mean(name, others))
        kept = [n for n in (others if columns is None else columns) if n not in drop]
        if not kept:
            raise DataError(self.path.name, "no column is left beside the time", "give one column of numbers")
        for name in kept:
            if (kind := self._table.kinds()[name]) not in ("numbers", "true or false"):
                values = self._table.values(name)
                texts = [i for i, v in enumerate(values) if isinstance(v, str)]
                row = next((i for i in texts if not _reads(values[i])), texts[0] if texts else 0)
                what = (
                    f"column '{name}' holds {kind}: {values[row]!r:.40}" if kind != "nothing" else f"'{name}' is empty"
                )
                instead = f'correct it, or leave the column out: drop = ["{name}"]'
                raise DataError(self._table.where(row), what, instead)
        return kept

    def _only(self, ahead: Sequence[str]) -> int:
        """How many lines at the end tell nothing but columns that are known ahead."""
        others = [self._table.values(name) for name in self._names if name not in ahead] if ahead else []
        if wrong := next((name for name in ahead if name not in self._names), None):
            raise DataError("data.ahead", f"no column '{wrong}' is kept", did_you_mean(wrong, self._names))
        if ahead and not others:
            instead = "leave those out of it that are to be forecast"
            raise DataError("data.ahead", "names every column beside the time", instead)
        count, lines = 0, len(self._table)
        while ahead and count < lines and all(values[lines - 1 - count] is None for values in others):
            count += 1
        return count

    def _times(self) -> tuple[Ticks, str]:
        try:
            return read_times(self._table.values(self.time))
        except ValueError as error:
            row, why = error.args
            what = f"column '{self.time}', which holds the times: {why}"
            raise DataError(self._table.where(row), what, "write dates such as 2020-12-31 23:59, or numbers") from None

    def _rising(self, ticks: Ticks) -> None:
        """DataError for the first time that comes twice, or is earlier than the one before."""
        wrong = np.flatnonzero(np.diff(ticks) <= 0)
        if not len(wrong):
            return
        row = int(wrong[0]) + 1
        at, before = (written_time(int(ticks[i]), self.form) for i in (row, row - 1))
        if ticks[row] == ticks[row - 1]:
            many = int((np.diff(np.sort(ticks)) == 0).sum())
            what = f"the time {at} comes twice, first in {self._table.where(row - 1)}" + (
                f"; {many:,} times do" if many > 1 else ""
            )
            raise DataError(self._table.where(row), what, "keep one record for each time (or one series in each file)")
        what = f"the time {at} is earlier than {before} before it"
        raise DataError(self._table.where(row), what, f"sort the file by '{self.time}'")

    def _on_grid(self, ticks: Ticks, gaps: str) -> tuple[Ticks, Ticks]:
        """The times of the whole grid (T,), and the row of the table that each stands in, -1 for none."""
        places, fits = self.step.places(ticks)
        if not fits.all():
            row = int(np.flatnonzero(~fits)[0])
            at = written_time(int(ticks[row]), self.form)
            what = f"the time {at} does not stand on the grid of {self.step} that begins with "
            raise DataError(
                self._table.where(row),
                f"{what}{written_time(int(ticks[0]), self.form)}",
                "bring the series to even times, such as by the mean of each hour",
            )
        if gaps == "error" and (wide := np.flatnonzero(np.diff(places) > 1)).size:
            row = int(wide[0])
            first, then = (written_time(int(ticks[i]), self.form) for i in (row, row + 1))
            lost = int(places[-1]) + 1 - len(places)
            gone = "a time is missing" if lost == 1 else f"{lost:,} times are missing in all"
            what = f"{then} follows {first}, and times lie {self.step} apart: {gone}"
            instead = 'fill them in, or write gaps = "mark" in the data section, which leaves them out of account'
            raise DataError(self._table.where(row + 1), what, instead)
        rows = np.full(int(places[-1]) + 1, -1, dtype=np.int64)
        rows[places] = np.arange(len(places))
        if len(rows) > 100 * len(places):
            what = f"of {len(rows):,} times {self.step} apart, the file has {len(places):,}"
            raise DataError(self.path.name, what, "bring the series to even times")
        start = int(ticks[0])
        whole = [int(ticks[r]) if r >= 0 else self.step.after(start, i) for i, r in enumerate(rows.tolist())]
        return np.array(whole, dtype=np.int64), rows

    def _column(self, name: str, gaps: str, lines: int) -> Sequence[Any]:
        """The cells of a column, of which the first ``lines`` must be there."""
        values = self._table.values(name)
        for row, value in enumerate(values[:lines]):
            if value is None and gaps == "error":
                many = sum(v is None for v in values)
                what = f"column '{name}' has no number here; {many:,} of its {len(values):,} are missing"
                instead = 'fill it in, or write gaps = "mark" in the data section, which leaves it out of account'
                if all(v is None for v in values[row:]):  # to its end: perhaps the others are known ahead
                    instead += "; columns that are known of times to come are named by data.ahead"
                raise DataError(self._table.where(row), what, instead)
            if value is not None and not np.isfinite(value):
                raise DataError(self._table.where(row), f"column '{name}' is {value}", "write a number")
        return values


def _reads(cell: str) -> bool:
    """Whether a cell of a column that is no column of numbers would be one by itself."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def clock_of(table: Table, asked: str | None = None) -> str:
    """The column of times: the one asked for, the only one of dates, or one of whole numbers with a name for it.

    Raises DataError where none or several could be meant.
    """
    fields, name = list(table.fields()), table.path.name
    if asked is not None:
        if asked not in fields:
            raise DataError("data.time_column", f"{name} has no column '{asked}'", did_you_mean(asked, fields))
        return asked
    kinds = table.kinds()
    dates = [f for f in fields if kinds[f] == "text" and is_time(table.values(f))]
    if len(dates) == 1:
        return dates[0]
    if len(dates) > 1:
        raise DataError(name, f"several columns hold dates: {', '.join(dates)}", f'write time_column = "{dates[0]}"')
    known = [f for f in fields if f.lower() in _NAMES]
    whole = [f for f in known if kinds[f] == "numbers" and is_time(table.values(f))]
    if len(whole) == 1:
        return whole[0]
    if known:  # whose cells will be told to be no times
        return known[0]
    instead = 'give one, such as 2020-12-31 in each line, or name one of whole numbers: time_column = "…"'
    raise DataError(name, f"no column holds times; there are {', '.join(fields)}", instead)


def is_time(values: Sequence[Any]) -> bool:
    """Whether all values can be read as times."""
    try:
        read_times(values)
    except ValueError:
        return False
    return len(values) > 0
