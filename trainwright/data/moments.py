"""Times as numbers that sort: numbers as they are, ISO 8601 dates as microseconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainwright.core.errors import DataError

_EPOCH = datetime(1970, 1, 1)  # without a zone, as are the dates of most tables
_MONTH = re.compile(r"\d{4}-\d\d")
_INSTEAD = "write numbers, or dates such as 2020-12-31 or 2020-12-31 23:59"


def moments(values: Sequence[Any], field: str, where: Callable[[int], str]) -> NDArray[Any]:
    """(N,) int64 or float64 whose order is the order of time.

    Args:
        values: numbers, or ISO dates (2020-12, 2020-12-31, 2020-12-31T23:59:59.5+01:00), as text or Python's own; one
            kind in all of them.
        field: their name, for messages.
        where: the place of a record, for messages.
    """
    gone = next((i for i, v in enumerate(values) if v is None or (isinstance(v, float) and v != v)), None)
    if gone is not None:
        what = f"'{field}' is missing, and the records are split by it"
        raise DataError(where(gone), what, "fill it in, or leave the record out")
    kinds = {type(v) for v in values}
    if kinds <= {int}:
        return np.array(values, dtype=np.int64)
    if kinds <= {int, float}:
        return np.array(values, dtype=np.float64)
    out = [_date(v, field, i, where) for i, v in enumerate(values)]
    zoned = [d.tzinfo is not None for d in out]
    if any(zoned) and not all(zoned):
        odd = zoned.index(not zoned[0])
        what = f"'{field}' is {values[odd]!r} here and {values[0]!r} in {where(0)}: one has a time zone, one has none"
        raise DataError(where(odd), what, "write the zone in all of them, or in none")
    start = _EPOCH.replace(tzinfo=UTC) if zoned[0] else _EPOCH
    return np.array([(d - start) // timedelta(microseconds=1) for d in out], dtype=np.int64)


def _date(value: Any, field: str, i: int, where: Callable[[int], str]) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(f"{value}-01" if _MONTH.fullmatch(value) else value)
        except ValueError:
            pass
    raise DataError(where(i), f"'{field}' is {value!r}, which is no time", _INSTEAD)
