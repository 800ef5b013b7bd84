"""Whether a table is series along time, and in what stretches they would be read."""

from __future__ import annotations

from typing import Any

from trainwright.core.errors import DataError
from trainwright.data.series import Series
from trainwright.data.source import Source
from trainwright.tools.found import Found
from trainwright.tools.unasked import CODES

TASK = "forecasting"
_KNOWN = {"source", "path", "separator", "decimal", "encoding"}  # options that the source of series has as well
_MISSING = 0.05  # share of the times that may be missing, so that the others are still taken for an even grid


def as_series(found: Found, task: str | None, target: str | None) -> Found:
    """A table as series, where nobody asked for a column of it and it can hardly be anything else.

    Times at even distances, in one column of dates, beside nothing but numbers, are series; whole numbers may count
    anything, so they are series only where forecasting is asked for. Autoencoding reads windows of the same tables.

    Args:
        found: what lies there.
        task: the one asked for; what keeps a table from being series is told as a `DataError` where it is forecasting.
        target: the column asked for.
    """
    one = found.target if target is None or task == CODES else target  # for codes it is a label along time
    if found.kind != "table" or one is not None or task not in (None, TASK, CODES):
        return found
    sure = task == TASK
    if set(found.spec) - _KNOWN:
        if sure:
            raise DataError("--task", "series are read from one table with a header", "give one file with a header")
        return found
    options: dict[str, Any] = {k: str(v) for k, v in found.spec.items() if k != "source"}
    marked: dict[str, Any] = {**options, "gaps": "mark"}
    try:
        source = Series(**marked)
    except DataError:
        if sure:
            raise
        return found
    if not sure and (source.form == "number" or source.missing > _MISSING * len(source)):
        return found
    gappy = source.missing > 0 or any(v is None for name in source.fields() for v in source.values(name))
    names = [name for name in source.fields()[1:] if name != (target or found.target)]
    told = f"{len(names)} series along '{source.time}'" if len(names) > 1 else f"a series along '{source.time}'"
    unsure = [*found.unsure]
    if len(names) > 1 and task != CODES:
        unsure.append(f"to tell one column from the others of the same record: --target {names[-1]}")
    if gappy:
        times = f" (whole times: {source.missing:,})" if source.missing else ""
        unsure.append(f"numbers are missing{times}, and marked: nothing is compared there")
    spec = {**found.spec, "source": "series", **({"gaps": "mark"} if gappy else {})}
    return Found("series", spec, source if gappy else Series(**options), told, task=TASK, unsure=unsure)


def reach(source: Source) -> tuple[dict[str, int], str]:
    """Options of the task, and why: the horizon is a season, and the context four, less where there are few records."""
    if not isinstance(source, Series):
        return {}, "the usual steps"
    season, records = source.step.season, len(source)
    horizon = max(1, min(season if season > 1 else 12, records // 12))
    context = max(2, min(4 * horizon, max(2 * horizon, records // 6)))
    why = f"times lie {source.step} apart, whose usual season is {season}; {horizon} steps are forecast from {context}"
    return {"context": context, "horizon": horizon}, why
