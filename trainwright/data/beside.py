"""Columns that are known beside series: of times to come as well, or of the past alone; and the calendar.

Letters in shapes: R times, K numbers that are known ahead, P numbers that are known of the past alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trainwright.core.errors import UserError, did_you_mean
from trainwright.data.calendar import PARTS, Part, Step, Ticks, parts_of_time

Matrix = NDArray[np.float64]


@final
class Beside:
    """Which columns are not forecast, and how they are scaled.

    Args:
        ahead: columns known of times to come.
        past: columns known up to now.
        calendar: what of each time is known by its date.
    """

    def __init__(self, ahead: Sequence[str], past: Sequence[str], calendar: Sequence[Part]) -> None:
        self.ahead, self.past, self.calendar = tuple(ahead), tuple(past), tuple(calendar)
        for option, given in (("ahead", self.ahead), ("past", self.past), ("calendar", self.calendar)):
            if twice := next((n for i, n in enumerate(given) if n in given[:i]), None):
                raise UserError(f"task.{option}", f"'{twice}' stands there twice", "name it once")
        if both := sorted(set(ahead) & set(past)):
            what = f"'{both[0]}' is named by task.ahead too"
            raise UserError("task.past", what, "what is known ahead is known of the past as well: leave it out here")
        self.mean: dict[str, float] = {}
        self.scale: dict[str, float] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """All that are not forecast."""
        return (*self.ahead, *self.past)

    @property
    def known(self) -> int:
        """K, with those of the calendar."""
        return len(self.ahead) + sum(PARTS[name] for name in self.calendar)

    def fit(self, names: Sequence[str], values: Mapping[str, Sequence[float]], form: str) -> None:
        """Mean and deviation of each column in the training part.

        Args:
            names: of all columns.
            values: of those beside, NaN where one is missing.
            form: in which times are written.
        """
        for option, columns in (("ahead", self.ahead), ("past", self.past)):
            if wrong := next((n for n in columns if n not in names), None):
                raise UserError(f"task.{option}", f"the data has no column '{wrong}'", did_you_mean(wrong, names))
        if self.calendar and form == "number":
            what = "times are numbers, which have no hours, weekdays and months"
            raise UserError("task.calendar", what, "leave it out, or give a column of dates")
        for name in self.columns:
            column = np.array(values[name], dtype=np.float64)
            known = column[np.isfinite(column)]
            self.mean[name] = float(known.mean()) if len(known) else 0.0
            self.scale[name] = float(known.std()) or 1.0 if len(known) else 1.0

    def told(self, columns: Sequence[str], values: Sequence[Sequence[float]], ticks: Ticks | None = None) -> Matrix:
        """(R, …) columns scaled, and with ``ticks`` (R,) what is known of the times behind them."""
        rows = [(np.array(v, np.float64) - self.mean[n]) / self.scale[n] for n, v in zip(columns, values, strict=True)]
        found = [np.stack(rows, 1)] if rows else []
        if ticks is not None and self.calendar:
            found.append(parts_of_time(ticks, self.calendar).astype(np.float64))
        return np.concatenate(found, 1)

    def to_come(self, series: Iterable[Sequence[Any]], known: Sequence[Sequence[float]]) -> int:
        """How many times at the end of a stretch have numbers of columns known ahead, and none of a series."""
        lists = list(series)
        count, length = 0, len(known[0]) if known else 0
        while count < length:
            at = length - 1 - count
            if any(not _missing(cells[at]) for cells in lists) or any(math.isnan(cells[at]) for cells in known):
                break
            count += 1
        return count

    def state_dict(self) -> dict[str, Any]:
        """What `fit` learned."""
        return {"mean": dict(self.mean), "scale": dict(self.scale)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.mean, self.scale = dict(state["mean"]), dict(state["scale"])


def further(step: Step, ticks: Ticks, count: int) -> Ticks:
    """(R,) ticks and the ``count`` that come next."""
    last = int(ticks[-1])
    return np.concatenate([ticks, np.array([step.after(last, i + 1) for i in range(count)], dtype=np.int64)])


def _missing(cell: Any) -> bool:
    return cell is None or cell != cell
