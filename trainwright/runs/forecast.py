"""A run goes on with series: the steps that follow, an interval around each, as a table and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.core.errors import CannotCreateError, DataError, TrainwrightError, UserError
from trainwright.core.task import Record
from trainwright.data.encode import encode_records
from trainwright.data.loader import batches
from trainwright.data.series import TIME, Series
from trainwright.data.source import Source
from trainwright.engine import disk
from trainwright.engine.runtime import Runtime
from trainwright.runs.directory import read_manifest
from trainwright.runs.gathered import gather_data, open_source, same_data
from trainwright.runs.predict import Predictor
from trainwright.runs.recipe import read
from trainwright.runs.strip import picture
from trainwright.tasks.forecasting import Forecasting

SHARE = 0.9  # of the numbers that intervals of validation errors are to hold
_SHOWN = 4  # horizons of what is known that a picture shows, at most
SUFFIXES = (".csv", ".png")


@dataclass(frozen=True, slots=True)
class Forecast:
    """How series go on.

    Args:
        times: of the steps that follow.
        values: of each series, by column: the median, or the mean.
        low: the lower ends of the intervals, by column; empty where there are none.
        high: the upper ends.
        intervals: where the intervals come from, in words; why there are none otherwise.
        before: the end of what was known, with its times, for the picture.
        clock: the name of the column of times.
        notes: what a person should know of the data.
    """

    times: Sequence[Any]
    values: Mapping[str, Sequence[float]]
    low: Mapping[str, Sequence[float]]
    high: Mapping[str, Sequence[float]]
    intervals: str
    before: Record
    clock: str = TIME
    notes: Sequence[str] = field(default=())

    def save(self, stem: str | Path) -> list[Path]:
        """Write it as STEM.csv and STEM.png; returns the paths. Nothing is overwritten: a number is added.

        Args:
            stem: name of the files without an ending, in a folder that is there.
        """
        return put(self, Path(stem).expanduser())


def forecast(predictor: Predictor, folder: Path, data: str | Path | Mapping[str, Any] | None = None) -> Forecast:
    """The steps behind the end of a series, with intervals.

    Those of a run that tells quantiles are its own. Otherwise they are quantiles of the errors that the run made on its
    validation part, step by step and series by series, where that data is still there.

    Args:
        predictor: of the run.
        folder: of the run.
        data: a file with the same columns, or a record with lists; the run's own data unless given.

    Source: Vovk, Gammerman & Shafer 2005, "Algorithmic learning in a random world", for intervals from held-out errors.
    """
    task = predictor.task
    if not isinstance(task, Forecasting):
        raise UserError("forecast", "this run forecasts no series", 'train one with task = { name = "forecasting" }')
    p = task.processor
    record, clock, place = _stretch(predictor, folder, data)
    notes = []
    try:
        forecast = _said(predictor, record)  # (L, V, Q) scaled
    except DataError as error:
        raise DataError(place, f"{error.where}: {error.what}", error.instead) from None
    there = p.until(record)
    past = {k: list(v)[:there] for k, v in record.items() if k in (TIME, *p.names)}
    gone = sum(v is None for name in p.names for v in past[name][-p.context :])
    if gone:
        notes.append(f"{gone:,} of the {p.context * len(p.names):,} numbers that were looked at are missing")
    low, middle, high = forecast[..., 0], forecast[..., p.middle], forecast[..., -1]
    if p.quantiles:
        told = f"quantiles {p.quantiles[0]:g} and {p.quantiles[-1]:g} as the run tells them"
    else:
        try:
            off, told = _errors(folder, task, predictor)
            low, high = middle - off, middle + off
        except TrainwrightError as error:
            told = f"none: the errors on the validation part cannot be measured ({error})"
    found = p.raw(torch.stack([middle, low, high], -1)[None])[0]  # (L, V, 3)
    values, below, above = (dict(zip(p.names, found[..., k].T.tolist(), strict=True)) for k in range(3))
    if told.startswith("none"):
        below, above = {}, {}
    end = {k: v[-max(2 * p.season, _SHOWN * p.horizon) :] for k, v in past.items()}
    times = p.decode({"forecast": forecast[None]}, _served(predictor, record))[0][TIME]
    return Forecast(times, values, below, above, told, end, clock, notes)


def put(forecast: Forecast, stem: Path) -> list[Path]:
    """Write a forecast as .csv and .png; returns their paths. Nothing is overwritten: a number is added."""
    free, number = stem, 1
    while any(free.with_name(free.name + s).exists() for s in SUFFIXES):
        number += 1
        free = stem.with_name(f"{stem.name}-{number}")
    paths = [free.with_name(free.name + s) for s in SUFFIXES]
    try:
        disk.put(paths[0], table(forecast).encode())
    except OSError as error:
        raise CannotCreateError(str(paths[0]), f"cannot be written: {error.strerror}", "choose another place") from None
    told = {TIME: forecast.times, **forecast.values}
    picture(forecast.before, told, forecast.low, forecast.high, forecast.intervals, paths[1])
    return paths


def table(forecast: Forecast) -> str:
    """A CSV with the time, each series, and the ends of its interval."""
    out = io.StringIO()
    columns: dict[str, Sequence[Any]] = {forecast.clock: forecast.times}
    for name, values in forecast.values.items():
        columns[name] = values
        if forecast.low:
            columns |= {f"{name}.low": forecast.low[name], f"{name}.high": forecast.high[name]}
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def _stretch(
    predictor: Predictor, folder: Path, data: str | Path | Mapping[str, Any] | None
) -> tuple[Record, str, str]:
    """What is to be continued, the name of its column of times, and its place for messages."""
    if isinstance(data, Mapping):
        return data, TIME, "record"
    recipe = read(folder)
    if data is None:
        source: Source = open_source(recipe, lambda what, done, total: None)
        place = "the run's own data"
    else:
        _, options = recipe.reader()
        known: dict[str, Any] = {k: options[k] for k in ("gaps", "separator", "decimal", "encoding") if k in options}
        processor = predictor.task.processor
        known["ahead"] = processor.beside.ahead
        wanted = (*processor.names, *processor.beside.columns)
        asked: dict[str, Any] = {**known, "columns": wanted, "time_column": options.get("time_column")}
        place = str(data)
        try:
            source = Series(path=place, **asked)
        except DataError as error:
            where = place if error.where.startswith("data.") else error.where  # it was named here, not in a recipe
            raise DataError(where, error.what, error.instead) from None
    if not isinstance(source, Series):  # parts in files of their own: the last is the newest
        fields = source.fields()
        return {name: list(source.values(name)) for name in fields}, TIME, place
    return source.stretch(), source.time, place


def _served(predictor: Predictor, record: Record) -> Any:
    processor: Any = predictor.task.processor
    weight = next(predictor.model.parameters())
    batch = processor.batch(encode_records([record], processor).to(weight.device), None)
    return replace(batch.cast(weight.dtype), targets={})


@torch.no_grad()
def _said(predictor: Predictor, record: Record) -> Tensor:
    """(L, V, Q) scaled, in float64 on the CPU."""
    outputs = predictor.task.predict(predictor.model, _served(predictor, record))
    return outputs["forecast"][0].double().cpu()


@torch.no_grad()
def _errors(folder: Path, task: Forecasting, predictor: Predictor) -> tuple[Tensor, str]:
    """(L, V) the distance within which nine of ten forecasts of the validation part lie, and that in words."""
    manifest, recipe = read_manifest(folder), read(folder)
    known = manifest["data"].get("bad_samples", {}).get("records", [])
    runtime = Runtime()
    learned = task.processor.state_dict()
    data = gather_data(recipe, task, runtime, lambda what, done, total: None, learned, known)
    same_data(manifest["data"], data.facts(), folder)
    if "valid" not in data.parts:
        raise UserError("data.valid", "the run has no validation part", "write valid = 0.1")
    off = []
    for batch in batches(data.parts["valid"], task.processor, batch_size=256, device=runtime.device):
        said = task.predict(predictor.model, batch)["forecast"][..., 0]
        error = (batch.targets["future"] - said).abs()
        off.append(torch.where(batch.targets["real"], error, torch.nan).double().cpu())
    errors = torch.cat(off).numpy()  # (N, L, V)
    level = min(1.0, SHARE * (len(errors) + 1) / len(errors))  # one more error is to come
    ends = torch.from_numpy(np.nanquantile(errors, level, axis=0)).nan_to_num(0.0)
    return ends, f"{SHARE:.0%} of the errors on {len(errors):,} windows of the validation part"
