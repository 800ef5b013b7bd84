"""Draws series along their time: what was known, what is forecast, and the interval around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwright.core.task import Record
from trainwright.data.series import TIME
from trainwright.runs.plot import saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KNOWN, _TOLD, _INK = "#555555", "#4477aa", "#333333"
_PANELS = 8  # series that are drawn


def picture(
    before: Record,
    told: Mapping[str, Sequence[Any]],
    low: Mapping[str, Sequence[float]],
    high: Mapping[str, Sequence[float]],
    intervals: str,
    path: Path,
) -> Path:
    """Draw a forecast into a picture, a panel for each of the first eight series; returns its path.

    Args:
        before: times and numbers that were known, None where one is missing.
        told: times and numbers that are forecast.
        low: lower ends of the intervals, by series; may be empty.
        high: upper ends.
        intervals: what they are, in words.
        path: ``.png``, or another suffix matplotlib can write.
    """
    return saved(draw(before, told, low, high, intervals), path)


def draw(
    before: Record,
    told: Mapping[str, Sequence[Any]],
    low: Mapping[str, Sequence[float]],
    high: Mapping[str, Sequence[float]],
    intervals: str,
) -> Figure:
    """The same as a matplotlib figure of one's own; pyplot and its global state are not touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in told if name != TIME][:_PANELS]
    height = 3.2 if len(names) == 1 else 1.6 * len(names) + 0.8
    figure = Figure(figsize=(9.0, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        _panel(axes, before, told, name, low.get(name), high.get(name))
    left = len(told) - 1 - len(names)
    said = ("shaded: " if low else "no intervals: ") + intervals.removeprefix("none: ")
    panels[0].set_title(
        said + (f"; {left} more series are not drawn" if left else ""), fontsize=8, color=_INK, loc="left"
    )
    panels[0].legend(fontsize=8, framealpha=0.85, edgecolor="none", loc="upper left")
    return figure


def _panel(
    axes: Axes,
    before: Record,
    told: Mapping[str, Sequence[Any]],
    name: str,
    low: Sequence[float] | None,
    high: Sequence[float] | None,
) -> None:
    past, future = _places(before[TIME]), _places(told[TIME])
    known = np.array([np.nan if v is None else v for v in before[name]], dtype=np.float64)
    axes.plot(past, known, color=_KNOWN, linewidth=1.2, label="known")
    joined = [past[-1], *future], [known[-1], *told[name]]  # the line begins where what is known ends
    axes.plot(*joined, color=_TOLD, linewidth=1.6, label="forecast")
    if low is not None and high is not None:
        axes.fill_between(future, low, high, color=_TOLD, alpha=0.22, linewidth=0)
    axes.set_ylabel(name, fontsize=9, color=_INK)
    axes.tick_params(labelsize=8)
    axes.grid(True, color="#e2e2e2", linewidth=0.7)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _places(times: Sequence[Any]) -> list[Any]:
    """Dates as matplotlib knows them, numbers as they are."""
    return [datetime.fromisoformat(f"{t}-01" if len(t) == 7 else t) if isinstance(t, str) else t for t in times]
