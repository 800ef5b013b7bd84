"""Draws a search (how its score grew, which key mattered, the score over each key) and the folds of a validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainwright.runs.plot import saved
from trainwright.tools.space import Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trainwright.tools.folded import Folds
    from trainwright.tools.rates import RateTest
    from trainwright.tools.searched import Search
    from trainwright.tools.trial import Told

_POINT, _BEST, _GREY, _INK = "#4477aa", "#ee6677", "#8a8a8a", "#333333"  # Paul Tol's "bright"
_COLUMNS = 3
HISTORY, MATTERS, KEYS, FRONT = "history.png", "importance.png", "keys.png", "front.png"


def draw_search(search: Search) -> None:
    """All pictures of a search, into its folder."""
    trials, name = search.finished, search.plan.names[0]
    if not trials:
        return
    saved(_history(search, trials, name), search.path / HISTORY)
    saved(_keys(search, trials, name), search.path / KEYS)
    if matters := search.importance:
        saved(_importance(matters, name), search.path / MATTERS)
    if len(search.plan.names) > 1:
        saved(_front(search, trials), search.path / FRONT)


def _history(search: Search, trials: Sequence[Told], name: str) -> Figure:
    """Every trial's score in order, and the best so far."""
    figure, (axes,) = blank(1, 1)
    numbers, values = [t.number + 1 for t in trials], [t.objectives[0] for t in trials]
    better = max if search.plan.directions[0] == "higher" else min
    best = [better(values[: i + 1]) for i in range(len(values))]
    axes.plot(numbers, values, "o", color=_POINT, markersize=4, alpha=0.7, label="trial")
    axes.step(numbers, best, where="post", color=_BEST, linewidth=1.8, label="best so far")
    ended = [t for t in search.trials if t.state in ("pruned", "broken", "failed")]
    if ended:
        axes.plot([t.number + 1 for t in ended], [0.02] * len(ended), "x", color=_GREY, markersize=5, clip_on=False,
                  transform=axes.get_xaxis_transform(), label="pruned, broken or failed")  # fmt: skip
    _values_shown(axes, values, search.plan.directions[0])
    dressed(axes, "trial", name)
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")
    return figure


def _importance(matters: dict[str, float], name: str) -> Figure:
    figure, (axes,) = blank(1, 1, height=1.2 + 0.35 * len(matters))
    keys = list(matters)[::-1]
    axes.barh(keys, [matters[k] for k in keys], color=_POINT)
    for i, key in enumerate(keys):
        axes.annotate(f"{matters[key]:.0%}", (matters[key], i), xytext=(3, 0), textcoords="offset points", va="center",
                      fontsize=8, color=_INK)  # fmt: skip
    axes.set_xlim(0, 1.08 * max(max(matters.values()), 1e-9))
    dressed(axes, f"share of the differences in {name}", "")
    return figure


def _keys(search: Search, trials: Sequence[Told], name: str) -> Figure:
    """The score over each key, later trials darker, the best marked."""
    space = list(search.plan.space.values())
    columns = min(_COLUMNS, len(space))
    figure, panels = blank(math.ceil(len(space) / columns), columns)
    best = search.best
    for axes, span in zip(panels, space, strict=False):
        having = [t for t in trials if span.key in t.values]
        places = _places(axes, span, [t.values[span.key] for t in having])
        values = [t.objectives[0] for t in having]
        axes.scatter(places, values, c=[t.number for t in having], cmap="Blues", vmin=-max(10, len(trials) / 2), s=18,
                     edgecolors="#335577", linewidths=0.4)  # fmt: skip
        if best is not None and span.key in best.values:
            at = places[[t.number for t in having].index(best.number)]
            axes.plot([at], [best.objectives[0]], "*", color="#ccaa00", markeredgecolor=_INK, markersize=13, zorder=5)
        _values_shown(axes, values, search.plan.directions[0])
        dressed(axes, span.key, name)
    for axes in panels[len(space) :]:
        axes.set_visible(False)
    return figure


def _front(search: Search, trials: Sequence[Told]) -> Figure:
    """The first two of several objectives against each other."""
    figure, (axes,) = blank(1, 1)
    kept = {t.number for t in search.front}
    for state, colour, label in ((False, _POINT, "trial"), (True, _BEST, "none is better in everything")):
        some = [t for t in trials if (t.number in kept) is state]
        across, up = [t.objectives[1] for t in some], [t.objectives[0] for t in some]
        axes.plot(across, up, "o", color=colour, markersize=5, label=label)
    dressed(axes, search.plan.names[1], search.plan.names[0])
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")
    return figure


def _places(axes: Axes, span: Range, values: Sequence[Any]) -> list[float]:
    """Where values stand on the axis of their key."""
    if span.choices is not None:
        axes.set_xticks(range(len(span.choices)), [str(c) for c in span.choices])
        axes.set_xlim(-0.5, len(span.choices) - 0.5)
        return [float(next(i for i, c in enumerate(span.choices) if c == v and type(c) is type(v))) for v in values]
    if span.log:
        _logarithmic(axes, float(span.high or 1) / float(span.low or 1))
    return [float(v) for v in values]


def _logarithmic(axes: Axes, ratio: float) -> None:
    """A scale whose numbers are written out, two between powers of ten where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 300 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _values_shown(axes: Axes, values: Sequence[float], better: str) -> None:
    """A few trials that went far astray must not flatten all others: the axis ends at the median's other side."""
    if len(values) < 8:
        return
    ordered = sorted(values)
    middle, low, high = ordered[len(ordered) // 2], ordered[0], ordered[-1]
    if better == "lower" and high - low > 6 * (middle - low) > 0:
        axes.set_ylim(low - 0.2 * (middle - low), low + 4 * (middle - low))
    if better == "higher" and high - low > 6 * (high - middle) > 0:
        axes.set_ylim(high - 4 * (high - middle), high + 0.2 * (high - middle))


def blank(rows: int, columns: int, height: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A figure of one's own with its panels; pyplot and its global state are not touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (3.6 * columns + 1.6, height or 2.9 * rows + 0.5)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]


def dressed(axes: Axes, across: str, up: str) -> None:
    """The looks that all pictures share."""
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#bbbbbb")
    axes.set_xlabel(across, fontsize=9, color=_INK)
    axes.set_ylabel(up, fontsize=9, color=_INK)


def draw_rates(found: RateTest) -> None:
    """The loss over the rate, with what is proposed, into ``lr_range.png``."""
    figure, (axes,) = blank(1, 1, height=3.6)
    axes.plot(found.rates, found.losses, color=_POINT, alpha=0.3, linewidth=0.9)
    axes.plot(found.rates, found.smooth, color=_POINT, linewidth=1.8, label="training loss (running mean)")
    if found.suggested is not None:
        axes.axvline(found.suggested, color=_BEST, linewidth=1.4, label=f"falls fastest: {found.suggested:.2g}")
    axes.axvline(found.lowest, color=_GREY, linewidth=1.1, linestyle="--", label=f"lowest: {found.lowest:.2g}")
    _logarithmic(axes, found.rates[-1] / found.rates[0])
    usual = max(found.smooth[0], min(found.smooth))
    axes.set_ylim(min(found.smooth) - 0.1 * abs(usual), min(found.smooth) + 2 * abs(usual - min(found.smooth)) + 0.1)
    dressed(axes, "learning rate", "loss")
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")
    saved(figure, found.path / "lr_range.png")


def draw_folds(found: Folds) -> None:
    """The scores of each fold, their mean and its interval, beside simple models, into ``folds.png``."""
    names = [n for n in found.scores if n.startswith("test/")]
    monitor = f"test/{found.monitor[0]}"
    names = sorted(names, key=lambda n: n != monitor)[: 2 * _COLUMNS]
    columns = min(_COLUMNS, len(names))
    figure, panels = blank(math.ceil(len(names) / columns), columns)
    for axes, name in zip(panels, names, strict=False):
        _fold_panel(axes, found, name)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    saved(figure, found.path / "folds.png")


def _fold_panel(axes: Axes, found: Folds, name: str) -> None:
    reached = [(f.number + 1, r.metrics[name]) for f, r in found.finished.items() if name in r.metrics]
    known, metric = found.scores[name], name.partition("/")[2]
    axes.plot([f for f, _ in reached], [v for _, v in reached], "o", color=_POINT, markersize=5)
    if all(math.isfinite(v) for v in (known.low, known.high)):
        axes.axhspan(known.low, known.high, color=_POINT, alpha=0.12, linewidth=0)
    axes.axhline(known.mean, color=_POINT, linewidth=1.6)
    low, high = axes.get_ylim()
    for simple, means in found.baselines.items():
        if metric in means and low - 0.5 * (high - low) <= means[metric].mean <= high + 0.5 * (high - low):
            value = means[metric].mean
            axes.axhline(value, color=_GREY, linewidth=1.1, linestyle="--")
            axes.annotate(f"{simple} {value:.4g}", (0.01, value), xycoords=("axes fraction", "data"), fontsize=7.5,
                          color="#666666", va="bottom")  # fmt: skip
    axes.set_xticks(range(1, found.plan.folds + 1))
    dressed(axes, "fold", metric)
    axes.set_title(f"mean {known.mean:.4g}, shaded: its 95 % interval", fontsize=8.5, color=_INK, loc="left")
