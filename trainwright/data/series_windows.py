"""Series as windows: what is known, what is to be told, and how far apart numbers lie.

Letters in shapes: N windows, T steps of context, L steps to forecast, V series (columns), Q quantiles, K numbers that
are known ahead, P numbers beside the series that are known of the past.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError, UserError
from trainwright.core.rows import Column, Rows, Windows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.beside import Beside, further
from trainwright.data.calendar import Step, read_times, step_of, written_time
from trainwright.data.series import TIME

Scaling: TypeAlias = Literal["standard", "log", "none"]


@final
class SeriesWindows(Processor):
    """One record is one time of all series; a sample is a window of T steps that are known and L that follow.

    Every series is brought to mean 0 and deviation 1 of its training records. Where a number is missing, the newest one
    before it in the window stands in the context, and no forecast is compared with it.

    Args:
        context: steps that are known, T.
        horizon: steps to forecast, L.
        scaling: of each series: "standard", "log" (of its logarithm) or "none".
        season: steps after which the series repeat; "auto" is the step's usual one.
        quantiles: that are told, rising; empty for one number each.
        beside: columns that are not forecast.
    """

    def __init__(
        self,
        context: int,
        horizon: int,
        scaling: Scaling = "standard",
        season: int | Literal["auto"] = "auto",
        quantiles: Sequence[float] = (),
        beside: Beside | None = None,
    ) -> None:
        self.context, self.horizon, self.scaling, self.asked = context, horizon, scaling, season
        self.quantiles = tuple(quantiles)
        self.windows = Windows(lead=context, length=horizon, stride=1)
        self.beside = Beside((), (), ()) if beside is None else beside
        self.names: list[str] = []
        self.step, self.form, self.season = Step("number", 1), "number", 1
        self.mean: list[float] = []  # of what the network sees, before it is scaled
        self.scale: list[float] = []
        self.spread: list[float] = []  # the deviation of the numbers as they are
        self.naive: list[float] = []  # mean distance of two numbers a season apart, in units of the spread
        self.missing = 0
        self._placed: dict[torch.device, Tensor] = {}

    def fit(self, records: Iterable[Record]) -> None:
        """The step, the season, and the scale of each series, all of the training part."""
        times: list[Any] = []
        rows: list[list[float]] = []
        others: dict[str, list[float]] = {name: [] for name in self.beside.columns}
        all_names: list[str] = []
        for i, record in enumerate(records):
            all_names = all_names or _names(record, f"training record {i}")
            self.names = self.names or [name for name in all_names if name not in others]
            times.append(record.get(TIME))
            rows.append([self._number(record, name, f"training record {i}") for name in self.names])
            for name in others:
                others[name].append(_cell(record.get(name), name, f"training record {i}"))
        if times and not self.names:
            raise UserError("task", "no column is left to forecast", "name fewer by task.ahead and task.past")
        if len(rows) < 3:
            raise DataError("data", f"the training part has {len(rows)} times", "give it a larger share")
        ticks, self.form = _ticks(times, "training record ")
        self.step = step_of(ticks, self.form == "number")
        self.season = self.step.season if self.asked == "auto" else self.asked
        self.beside.fit(all_names, others, self.form)
        values = np.array(rows, dtype=np.float64)
        self.missing = int(np.isnan(values).sum())
        self._measure(values)

    def columns(self) -> Mapping[str, Column]:
        """``series`` (V,) scaled, NaN where one is missing; the time, ``clock``; ``known`` (K,), ``past`` (P,)."""
        sizes = {"series": len(self.names), "known": self.beside.known, "past": len(self.beside.past)}
        found = {n: Column("window", torch.float32, (k,), padding=math.nan) for n, k in sizes.items() if k}
        return {**found, "clock": Column("window", torch.int64)}

    def encode(self, record: Record) -> Sample:
        """One time, or a stretch of them where the record has lists."""
        times = record.get(TIME)
        many = isinstance(times, list | tuple | np.ndarray)
        ticks, form = _ticks(list(times) if many else [times], "time ")  # type: ignore[arg-type]
        if (form == "number") != (self.form == "number"):
            raise DataError(TIME, f"{record[TIME]!r:.60} is not of the kind that was trained on", "write it likewise")
        if len(ticks) > 1:
            self._even(ticks)
        series = [self._cells(record, name, many, len(ticks)) for name in self.names]
        known, past = (
            [[_cell(v, n, "") for v in self._cells(record, n, many, len(ticks))] for n in names]
            for names in (self.beside.ahead, self.beside.past)
        )
        there = len(ticks)
        if many and self.beside.known:
            there, ticks = self._ahead(series, known, ticks)
        numbers = [
            [self._number({n: v}, n, "") for v in cells[:there]] for n, cells in zip(self.names, series, strict=True)
        ]
        scaled = (self._curved(np.array(numbers, dtype=np.float64).T) - np.array(self.mean)) / np.array(self.scale)
        behind = ((0, len(ticks) - there), (0, 0))  # times to come, of which the series know nothing
        sample = {"series": np.pad(scaled, behind, constant_values=math.nan)}
        if self.beside.known:
            sample["known"] = self.beside.told(self.beside.ahead, [k[: len(ticks)] for k in known], ticks)
        if self.beside.past:
            told = self.beside.told(self.beside.past, [p[:there] for p in past])
            sample["past"] = np.pad(told, behind, constant_values=math.nan)
        tensors: dict[str, Tensor] = {n: torch.from_numpy(v.astype(np.float32)) for n, v in sample.items()}
        return {**tensors, "clock": torch.from_numpy(ticks)}

    def until(self, record: Record) -> int:
        """How many times of a stretch are past; behind them stands what is known ahead alone."""
        count = len(record[TIME])
        known = [[_cell(v, n, "") for v in self._cells(record, n, True, count)] for n in self.beside.ahead]
        return count - self.beside.to_come([self._cells(record, n, True, count) for n in self.names], known)

    def _cells(self, record: Record, name: str, many: bool, count: int) -> list[Any]:
        cells = record.get(name) if many else [record.get(name)]
        if name not in record or not isinstance(cells, list | tuple | np.ndarray) or len(cells) != count:
            what = f"'{name}' has not one number for each of {count} times"
            raise DataError(name, what, f"give the columns {', '.join((*self.names, *self.beside.columns))}")
        return list(cells)

    def _ahead(
        self, series: list[list[Any]], known: list[list[float]], ticks: NDArray[np.int64]
    ) -> tuple[int, NDArray[np.int64]]:
        """How many times of a served stretch are past, and all times up to the end of what is forecast."""
        ahead = self.beside.to_come(series, known)
        there = len(ticks) - ahead
        if self.beside.ahead and ahead < self.horizon:
            names = ", ".join(self.beside.ahead)
            what = (
                f"{ahead} of the {self.horizon} times to forecast have numbers of {names}, and none of what is forecast"
            )
            raise DataError(TIME, what, "add lines for the others at the end, with their times and these columns alone")
        if there < self.context:
            raise DataError(TIME, f"has {there} times, too few to go on with", f"give at least {self.context}")
        return there, further(self.step, ticks[:there], self.horizon)

    def notes(self) -> list[str]:
        """The step, the season, and what is missing."""
        told = [f"times lie {self.step} apart; the season is {self.season} steps"]
        if self.beside.columns or self.beside.calendar:
            ahead = [*self.beside.ahead, *(f"the {name} of each time" for name in self.beside.calendar)]
            words = [f"known ahead: {', '.join(ahead)}"] if ahead else []
            words += [f"known of the past: {', '.join(self.beside.past)}"] if self.beside.past else []
            told.append(f"to forecast: {', '.join(self.names)}; {'; '.join(words)}")
        return told + ([gone(self.missing)] if self.missing else [])

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """Inputs ``context`` (N, T, V) and the time of its last step, ``clock`` (N,), with what is beside it ``known``
        (N, T + L, K) and ``past`` (N, T, P); targets ``future`` (N, L, V), 0 where it is not ``real`` (N, L, V). The
        weight counts numbers to forecast."""
        found = {name: rows.dense(name) for name in self.columns()}
        width, length = self.context + self.horizon, found["clock"].shape[1]
        if length != width:  # served: the context ends where the record does, or where what is known ahead begins
            behind = self.horizon if self.beside.known else 0
            first = rows.lengths["clock"] - behind - self.context
            at = first[:, None] + torch.arange(width, device=first.device)
            found = {
                n: t.gather(1, at if t.ndim == 2 else at[..., None].expand(-1, -1, t.shape[2]))
                for n, t in found.items()
            }
        context, future = found["series"][:, : self.context], found["series"][:, self.context :]
        real = future.isfinite()
        inputs = {"context": filled(context), "clock": found["clock"][:, self.context - 1]}
        if "known" in found:
            inputs["known"] = filled(found["known"])
        if "past" in found:
            inputs["past"] = filled(found["past"][:, : self.context])
        targets = {"future": future.nan_to_num(0.0), "real": real}
        return Batch(inputs, targets, real.sum().float(), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"time": […], column: […]}``; of quantiles also ``column.0.9``, and the column itself is their median."""
        told = self.raw(outputs["forecast"].double()).transpose(1, 2)  # (N, V, L, Q)
        answers: list[Answer] = []
        for clock, each in zip(batch.inputs["clock"].tolist(), told, strict=True):
            times = [written_time(self.step.after(clock, i + 1), self.form) for i in range(self.horizon)]
            answer: dict[str, Any] = {TIME: times}
            for name, numbers in zip(self.names, each, strict=True):
                answer[name] = numbers[:, self.middle].tolist()
                answer |= {f"{name}.{q:g}": numbers[:, k].tolist() for k, q in enumerate(self.quantiles)}
            answers.append(answer)
        return answers

    @property
    def middle(self) -> int:
        """Where the median is among the quantiles."""
        return self.quantiles.index(0.5) if self.quantiles else 0

    def raw(self, scaled: Tensor) -> Tensor:
        """(N, L, V, Q) as the network says them -> in the units of the data."""
        mean, scale, _, _ = self.units(scaled)
        found: Tensor = scaled * scale[:, None] + mean[:, None]
        return torch.exp(found) if self.scaling == "log" else found

    def units(self, like: Tensor) -> Tensor:
        """(4, V) mean and scale of what the network sees, the spread of the data, and the naive distance."""
        if like.device not in self._placed:
            told = torch.tensor([self.mean, self.scale, self.spread, self.naive], dtype=torch.float64)
            self._placed[like.device] = told.to(like.device, torch.float32 if like.device.type == "mps" else None)
        return self._placed[like.device]

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        told: dict[str, Any] = {"names": list(self.names), "step": self.step.as_list(), "form": self.form}
        told |= {"season": self.season, "mean": list(self.mean), "scale": list(self.scale)}
        told |= {"spread": list(self.spread), "naive": list(self.naive), "missing": self.missing}
        return {**told, "beside": self.beside.state_dict()} if self.beside.columns else told

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.names, self.step, self.form = list(state["names"]), Step.of_list(state["step"]), str(state["form"])
        self.season, self.missing = int(state["season"]), int(state["missing"])
        self.mean, self.scale = list(state["mean"]), list(state["scale"])
        self.spread, self.naive = list(state["spread"]), list(state["naive"])
        if self.beside.columns:
            self.beside.load_state_dict(state["beside"])
        self._placed = {}

    def _number(self, record: Record, name: str, where: str) -> float:
        """A cell as a number, NaN where it is missing."""
        if name not in record:
            raise DataError(where or "record", f"has no column '{name}'", f"give {', '.join(self.names)}")
        value = _cell(record[name], name, where)
        if self.scaling == "log" and value <= 0:
            what = f"'{name}' is {value:g}, which has no logarithm"
            raise DataError(where, what, 'write scaling = "standard" in the task section')
        return value

    def _curved(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(raw) if self.scaling == "log" else raw

    def _measure(self, values: NDArray[np.float64]) -> None:
        """Scales of (R, V) training numbers."""
        for name, column in zip(self.names, values.T, strict=True):
            if np.isnan(column).all():
                what = f"column '{name}' has no number in the training part"
                raise DataError("data", what, f'leave it out: drop = ["{name}"]')
        if self.season >= len(values):
            what = f"a season of {self.season} steps is longer than the training part of {len(values)}"
            raise UserError("task.season", what, "write a shorter one")
        curved = self._curved(values)
        flat = self.scaling == "none"
        self.mean = [0.0] * len(self.names) if flat else np.nanmean(curved, 0).tolist()
        self.scale = [1.0] * len(self.names) if flat else [_wide(d) for d in np.nanstd(curved, 0).tolist()]
        self.spread = [_wide(d) for d in np.nanstd(values, 0).tolist()]
        apart = np.abs(values[self.season :] - values[: -self.season])
        known = [bool(np.isfinite(a).any()) for a in apart.T]
        naive = np.array([np.nanmean(a) if k else np.nan for a, k in zip(apart.T, known, strict=True)])
        self.naive = np.where(naive > 0, naive / np.array(self.spread), 0.0).tolist()  # 0: has no such scale
        self._placed = {}

    def _even(self, ticks: NDArray[np.int64]) -> None:
        """DataError unless the times of a served record follow one another by the step that was trained on."""
        places, fits = self.step.places(ticks)
        if fits.all() and bool((np.diff(places) == 1).all()):
            return
        odd = int(np.flatnonzero(np.concatenate([[False], (np.diff(places) != 1)]) | ~fits)[0])
        at, before = (written_time(int(ticks[i]), self.form) for i in (odd, max(0, odd - 1)))
        what = f"{at} follows {before}, and this run knows times {self.step} apart"
        raise DataError(TIME, what, "give each time of an even grid, with None for numbers that are missing")


def _cell(value: Any, name: str, where: str) -> float:
    """A cell as a number, NaN where it is missing."""
    if value is None or value != value:
        return math.nan
    if not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise DataError(where, f"'{name}' is {value!r:.40}", "write a number, or leave it empty")
    return float(value)


def filled(context: Tensor) -> Tensor:
    """(N, T, V) with NaN where a number is missing -> with the newest before it, else the oldest behind it, else 0."""
    known = context.isfinite()
    if context.device.type == "cpu" and bool(known.all()):  # elsewhere asking is dearer than filling
        return context
    steps = torch.arange(context.shape[1], device=context.device)[None, :, None]
    newest = torch.where(known, steps, -1).cummax(1).values
    oldest = torch.where(known, steps, context.shape[1]).flip(1).cummin(1).values.flip(1)
    at = torch.where(newest >= 0, newest, oldest)
    there = at < context.shape[1]
    return torch.where(there, context.gather(1, at.clamp_max(context.shape[1] - 1)), 0.0)


def gone(missing: int) -> str:
    """How many numbers are missing, in words."""
    return (
        "a number of the training part is missing"
        if missing == 1
        else (f"{missing:,} numbers of the training part are missing")
    )


def _names(record: Record, where: str) -> list[str]:
    """The series of a record: all but the time."""
    if TIME not in record:
        what = f"the record has no field '{TIME}', only {', '.join(map(repr, record))}"
        raise DataError(where, what, 'read the table with data.source = "series"')
    names = [name for name in record if name != TIME]
    if not names:
        raise DataError(where, "there is nothing beside the time", "give a column of numbers")
    return names


def _ticks(times: list[Any], where: str) -> tuple[NDArray[np.int64], str]:
    try:
        return read_times(times)
    except ValueError as error:
        index, why = error.args
        raise DataError(f"{where}{index}", f"the time {why}", "write dates such as 2020-12-31, or numbers") from None


def _wide(deviation: float) -> float:
    """A deviation to divide by: 1 for a series that never changes."""
    return deviation if deviation > 0 else 1.0
