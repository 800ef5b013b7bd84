"""One column of a table as plain memory: compact, quick to read row by row, safe in threads and after a fork."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["numbers", "text", "true or false", "nothing", "lists", "mixed values"]


@dataclass(frozen=True, slots=True)
class Cells:
    """The values of one column, None where one is missing.

    Values are what Python and JSON know: int, float, str, bool; dates and times are ISO 8601 text (which sorts by
    time), decimals are floats, NaN is None.
    """

    values: np.ndarray[Any, Any] | list[Any]
    missing: np.ndarray[Any, Any] | None  # (N,) bool, beside an array only
    kind: Kind

    def __len__(self) -> int:
        return len(self.values)

    def item(self, row: int) -> Any:
        """The value of one row as a Python object."""
        values, missing = self.values, self.missing
        if isinstance(values, list):
            return values[row]
        return None if missing is not None and missing.item(row) else values.item(row)

    def tolist(self) -> list[Any]:
        """The values of all rows as Python objects."""
        if isinstance(self.values, list):
            return list(self.values)
        out: list[Any] = self.values.tolist()
        if self.missing is not None:
            for row in np.flatnonzero(self.missing).tolist():
                out[row] = None
        return out


def of_values(values: Iterable[Any]) -> Cells:
    """Any Python values as a column."""
    plain = [_plain(v) for v in values]
    kinds = {type(v) for v in plain if v is not None}
    if not kinds:
        return Cells(plain, None, "nothing")
    if kinds <= {int, float}:
        return _numbers(plain, kinds == {int})
    if kinds == {bool}:
        array = np.array([v is True for v in plain])
        return Cells(array, _mask(plain), "true or false")
    if kinds == {str}:
        return Cells(_shared(plain), None, "text")
    kind: Kind = "lists" if kinds <= {list, tuple, dict} else "mixed values"
    return Cells(plain, None, kind)


def of_series(series: pl.Series) -> Cells:
    """A polars column; numbers and text without looking at every value."""
    import polars as pl

    kind = series.dtype
    if kind == pl.String and series.null_count() < len(series):
        return Cells(_shared(series.to_list()), None, "text")
    if not (kind.is_integer() or kind.is_float() or kind == pl.Boolean) or kind in (pl.Int128, pl.UInt64):
        return of_values(series.to_list())
    missing = series.is_null().to_numpy() if series.null_count() else None
    array = np.array(series.fill_null(False if kind == pl.Boolean else 0).to_numpy())
    return of_array(array, missing)


def of_array(array: np.ndarray[Any, Any], missing: np.ndarray[Any, Any] | None = None) -> Cells:
    """A one-dimensional NumPy array of bools or numbers; NaN counts as missing."""
    if array.dtype.kind == "f":
        nan = np.isnan(array)
        missing = nan if missing is None else missing | nan
    if missing is not None and not missing.any():
        missing = None
    if missing is not None and missing.all():
        return Cells([None] * len(array), None, "nothing")
    if missing is not None:
        array = np.where(missing, array.dtype.type(0), array)  # one way to write it, so one fingerprint
    return Cells(array, missing, "true or false" if array.dtype.kind == "b" else "numbers")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case float() if value != value:
            return None
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return float(value)
    return value


def _numbers(plain: list[Any], whole: bool) -> Cells:
    """An array where it keeps every number exactly; else Python's own."""
    filled = [0 if v is None else v for v in plain]
    try:
        array = np.array(filled, dtype=np.int64 if whole else np.float64)
    except OverflowError:  # beyond 64 bits
        return Cells(plain, None, "numbers")
    if not whole and array.tolist() != filled:  # whole numbers beyond 53 bits beside fractions
        return Cells(plain, None, "numbers")
    return Cells(array, _mask(plain), "numbers")


def _mask(plain: list[Any]) -> np.ndarray[Any, Any] | None:
    missing = np.array([v is None for v in plain])
    return missing if missing.any() else None


def _shared(texts: list[Any]) -> list[Any]:
    """The same texts with one object per distinct value, which a table of categories repeats a thousandfold."""
    known: dict[Any, Any] = {}
    return [known.setdefault(t, t) for t in texts]
