"""Draws a run's curves: the loss of every step, the evaluations with their best, a gap wherever a number was NaN."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwright.core.errors import UserError
from trainwright.core.events import EvalDone, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = np.ndarray[Any, np.dtype[np.float64]]

_PAINT = {"train": "#4477aa", "valid": "#ee6677", "test": "#228833"}  # Paul Tol's "bright": safe for colour blindness
_OTHER, _ALARM, _GREY, _INK = "#aa3377", "#cc3311", "#8a8a8a", "#333333"
_DPI = 120
_POINTS = 4000  # a picture has no room for more
_PANELS = 6  # at most, beside the loss
_LOG_RATIO = 15.0  # largest over smallest loss from which a linear axis hides the end of the training


def curves(view: View, monitor: str, path: str | Path) -> Path:
    """Draw the losses and metrics of a run into a picture; returns its path.

    Args:
        view: the run's events, folded.
        monitor: the metric that decides which checkpoint is best; its panel comes first, its best is marked.
        path: ``.png``, or another suffix matplotlib can write.

    Raises UserError for a suffix that cannot be written or a folder that is not there.
    """
    return saved(draw(view, monitor), path)


def saved(figure: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all; returns its path. UserError where its suffix or place cannot be written."""
    target = Path(path)
    draft = target.with_name(f".drawing-{os.getpid()}-{target.name}")
    if target.suffix.lstrip(".").lower() not in figure.canvas.get_supported_filetypes():
        raise UserError(
            str(path), f"a picture cannot be written as '{target.suffix}'", "write a name that ends in .png"
        )
    try:
        _write(figure, draft)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(str(path), f"cannot be written: {error.strerror}", "choose another place") from None
    return target


def _write(figure: Figure, path: Path) -> None:
    """The picture as `Figure.savefig` writes it; that would draw it twice, once only to lay its panels out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if path.suffix.lower() != ".png" or not isinstance(figure.canvas, FigureCanvasAgg):
        figure.savefig(path, dpi=_DPI)
        return
    figure.set_dpi(_DPI)
    write: Callable[[Path], None] = figure.canvas.print_png
    write(path)


def draw(view: View, monitor: str) -> Figure:
    """The same as a matplotlib figure of one's own; pyplot and its global state are not touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics = _metrics(view, monitor)
    columns = 1 if not metrics else 2
    rows = math.ceil((len(metrics) + 1) / columns)
    figure = Figure(figsize=(4.8 * columns + 1.2, 3.3 * rows + 0.3), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(len(metrics) + 1)]
    _dress(panels, view)
    _losses(panels[0], view, monitor)
    for axes, metric in zip(panels[1:], metrics, strict=True):
        _metric(axes, view, metric, monitor)
    return figure


@dataclass(frozen=True, slots=True)
class _Curve:
    """One part's evaluations of one metric, by step."""

    steps: Numbers
    values: Numbers

    @classmethod
    def of(cls, evals: list[EvalDone], metric: str) -> _Curve:
        """Those evaluations that have the metric; of one step, the last."""
        found = {e.step: float(e.metrics[metric]) for e in evals if metric in e.metrics}
        return cls(np.array(sorted(found), dtype=float), np.array([found[s] for s in sorted(found)], dtype=float))


def _metrics(view: View, monitor: str) -> list[str]:
    """Metrics with a panel of their own, the monitor first."""
    seen = dict.fromkeys(name for e in view.evals if e.part != "test" for name in e.metrics if name != "loss")
    seen = seen or dict.fromkeys(name for e in view.evals for name in e.metrics if name != "loss")
    return sorted(seen, key=lambda name: name != monitor)[:_PANELS]


def _dress(panels: list[Axes], view: View) -> None:
    """What all panels share: the range of steps, where attempts began, quiet lines."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = max([view.step, *(e.step for e in view.evals), 1])
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.set_xlim(0, last * 1.02)
        axes.grid(True, color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_INK, labelsize=8)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color("#bbbbbb")
        for attempt in view.attempts:
            if 0 < attempt.from_step < last:
                axes.axvline(attempt.from_step, color=_GREY, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.set_xlabel(_steps_label(view), fontsize=9, color=_INK)


def _steps_label(view: View) -> str:
    per_epoch = view.attempts[-1].steps_per_epoch if view.attempts else 0
    return f"step ({per_epoch:,} = 1 epoch)" if per_epoch > 1 else "step"


def _losses(axes: Axes, view: View, monitor: str) -> None:
    """Every step's loss, faint; its running mean; and the loss of the evaluations."""
    steps = np.array(sorted(view.losses), dtype=float)
    values = np.array([view.losses[int(s)] for s in steps], dtype=float)
    shown = [values[np.isfinite(values)]]
    if len(steps):
        smooth = smoothed(values)
        crowded = len(steps) > 30
        axes.plot(*thinned(steps, values), color=_PAINT["train"], alpha=0.28 if crowded else 0.9, linewidth=0.9)
        if crowded:
            axes.plot(*thinned(steps, smooth), color=_PAINT["train"], linewidth=1.8)
        axes.plot([], [], color=_PAINT["train"], label="training" + (" (running mean)" if crowded else ""))
        _gaps(axes, steps, values, "training steps")
    for part, evals in _parts(view).items():
        curve = _Curve.of(evals, "loss")
        shown.append(curve.values[np.isfinite(curve.values)])
        _line(axes, curve, part)
    _scored(axes, view, "loss")
    if monitor == "loss":
        _best(axes, view, "loss")
    _title(axes, "loss")
    _scale(axes, np.concatenate(shown))
    if any(len(s) for s in shown) or len(steps):
        _legend(axes)
    else:
        _empty(axes)


def _metric(axes: Axes, view: View, metric: str, monitor: str) -> None:
    """One metric of every part that was evaluated, with what simple models reach where that lies in view."""
    for part, evals in _parts(view).items():
        _line(axes, _Curve.of(evals, metric), part)
    _scored(axes, view, metric)
    if metric == monitor:
        _best(axes, view, metric)
    low, high = axes.get_ylim()
    for name, reached in (view.ended.baselines if view.ended else {}).items():
        if metric in reached and low - 0.3 * (high - low) <= reached[metric] <= high + 0.3 * (high - low):
            axes.axhline(reached[metric], color=_GREY, linewidth=1.1, linestyle="--")
            axes.annotate(
                f"baseline {name} {reached[metric]:.4g}", (0.01, reached[metric]), xycoords=("axes fraction", "data"),
                fontsize=7.5, color="#666666", va="bottom",
            )  # fmt: skip
    _title(axes, metric + (" (monitor)" if metric == monitor else ""))
    _legend(axes)


def _parts(view: View) -> Mapping[str, list[EvalDone]]:
    parts: dict[str, list[EvalDone]] = {}
    for e in view.evals:
        parts.setdefault(e.part, []).append(e)
    return parts


def _line(axes: Axes, curve: _Curve, part: str) -> None:
    """A part's evaluations; a single one is a diamond with its value."""
    colour = _PAINT.get(part, _OTHER)
    name = {"train": "training part", "valid": "validation"}.get(part, part)
    finite = np.isfinite(curve.values)
    if finite.sum() == 1:
        _point(axes, float(curve.steps[finite][0]), float(curve.values[finite][0]), part, name)
    elif finite.any():
        dots = "o" if len(curve.steps) <= 40 else ""
        axes.plot(curve.steps, curve.values, color=colour, marker=dots, markersize=3.5, linewidth=1.6, label=name)
    _gaps(axes, curve.steps, curve.values, f"{name} evaluations")


def _scored(axes: Axes, view: View, metric: str) -> None:
    """The final score on the test part, at the step whose weights were scored."""
    value = view.ended.scores.get(f"test/{metric}") if view.ended else None
    if value is not None and math.isfinite(value) and not any(e.part == "test" for e in view.evals):
        best = next((e.step for e in reversed(view.evals) if e.best), view.step)
        _point(axes, float(best), value, "test", "test")


def _point(axes: Axes, step: float, value: float, part: str, name: str) -> None:
    colour, label = _PAINT.get(part, _OTHER), f"{name} {value:.4g}"
    axes.plot([step], [value], "D", color=colour, markersize=6, label=label, zorder=4, clip_on=False)


def _best(axes: Axes, view: View, metric: str) -> None:
    best = next((e for e in reversed(view.evals) if e.best and math.isfinite(e.metrics.get(metric, math.nan))), None)
    if best is None:
        return
    value = float(best.metrics[metric])
    label = f"best {value:.4g} at step {best.step:,}"
    axes.plot([best.step], [value], "*", color="#ccaa00", markeredgecolor=_INK, markeredgewidth=0.7, markersize=13,
              label=label, zorder=5, clip_on=False)  # fmt: skip


def _gaps(axes: Axes, steps: Numbers, values: Numbers, what: str) -> None:
    """Crosses at the foot of the panel where a number was NaN or infinite: the line has a gap there."""
    bad = steps[~np.isfinite(values)]
    if len(bad):
        axes.plot(bad, np.full(len(bad), 0.02), "x", color=_ALARM, markersize=5, markeredgewidth=1.4, clip_on=False,
                  transform=axes.get_xaxis_transform(), label=f"NaN or infinite: {len(bad):,} {what}")  # fmt: skip


def _scale(axes: Axes, values: Numbers) -> None:
    """A logarithmic axis where losses span more than a linear one can show."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if not len(values) or values.min() <= 0 or values.max() / values.min() < _LOG_RATIO:
        return
    axes.set_yscale("log")
    narrow = values.max() / values.min() < 1000
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10.5, color=_INK, loc="left", fontweight="bold")


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", loc="best")


def _empty(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, "no step is logged yet", ha="center", va="center", color=_GREY, transform=axes.transAxes)


def smoothed(values: Numbers, half: int | None = None) -> Numbers:
    """(N,) the mean over a window around each point; NaN and infinity are left out of it.

    A point that is itself not finite stays NaN, so that the gap is seen in the smooth line as well.

    Args:
        values: (N,)
        half: how many points of the window are on each side; a hundredth of them all unless given.
    """
    half = max(2, len(values) // 100) if half is None else half
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    mean = (sums[high] - sums[low]) / np.maximum(counts[high] - counts[low], 1)
    return np.where(finite, mean, np.nan)


def thinned(steps: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """At most about 4,000 points: of each stretch its smallest and its largest, so that no spike is lost."""
    known = np.where(np.isfinite(values), values, np.nan)
    if len(steps) <= _POINTS:
        return steps, known
    keep: list[int] = []
    for part in np.array_split(np.arange(len(steps)), _POINTS // 2):
        inside = known[part]
        if np.isnan(inside).any():  # keeps the gap
            keep.append(int(part[np.isnan(inside).argmax()]))
        if not np.isnan(inside).all():
            keep += [int(part[np.nanargmin(inside)]), int(part[np.nanargmax(inside)])]
    kept = np.unique(np.array(keep))
    return steps[kept], known[kept]
