"""Draws music as a piano roll: time to the right, pitch upwards, what was given apart from what was written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from trainwright.data.score import Score, name
from trainwright.runs.plot import saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GIVEN, _WRITTEN, _INK = "#8a8a8a", "#4477aa", "#333333"
_BLACK = (1, 3, 6, 8, 10)  # keys of an octave
_WIDEST = 24.0  # inches


def picture(score: Score, path: str | Path) -> Path:
    """Draw a piece into a picture; returns its path.

    Args:
        score: the piece.
        path: ``.png``, or another suffix matplotlib can write.

    Raises UserError for a suffix that cannot be written or a folder that is not there.
    """
    return saved(draw(score), path)


def draw(score: Score) -> Figure:
    """The same as a matplotlib figure of one's own; pyplot and its global state are not touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    beats = max(1.0, score.beats)
    figure = Figure(figsize=(min(_WIDEST, max(6.0, 1.5 + beats / 8)), 4.0), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    low, high = _range(score)
    for pitch in range(low, high + 1):
        if pitch % 12 in _BLACK:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#f2f2f2", linewidth=0)
    _notes(axes, score)
    _dress(axes, beats, low, high)
    return figure


def _range(score: Score) -> tuple[int, int]:
    """Two octaves at least, a little room above and below."""
    pitches = [n.pitch for n in score.notes] or [60]
    low, high = min(pitches) - 2, max(pitches) + 2
    spare = max(0, 24 - (high - low))
    return low - spare // 2, high + spare - spare // 2


def _notes(axes: Axes, score: Score) -> None:
    """A bar for each note; one that was given sounds on in its own colour."""
    from matplotlib.patches import Patch

    kinds = {"given": [n for n in score.notes if n.start < score.primer]}
    kinds["written"] = [n for n in score.notes if n.start >= score.primer]
    legend = []
    for kind, notes in kinds.items():
        colour = _GIVEN if kind == "given" else _WRITTEN
        for note in notes:
            box = [(note.start, note.length)], (note.pitch - 0.4, 0.8)
            axes.broken_barh(*box, facecolor=colour, edgecolor="white", linewidth=0.4)
        legend += [Patch(facecolor=colour, label=kind)] if notes else []
    if score.primer:
        axes.axvline(score.primer, color=_INK, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.legend(handles=legend, fontsize=8, framealpha=0.85, edgecolor="none", loc="upper right")


def _dress(axes: Axes, beats: float, low: int, high: int) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MultipleLocator

    axes.set_xlim(0, beats)
    axes.set_ylim(low - 0.5, high + 0.5)
    axes.yaxis.set_major_locator(FixedLocator([p for p in range(low, high + 1) if p % 12 == 0]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda pitch, _: name(round(pitch))))
    axes.xaxis.set_major_locator(MultipleLocator(2 ** max(2, math.ceil(math.log2(beats / 16)))))
    axes.grid(True, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.set_xlabel("beat", fontsize=9, color=_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#bbbbbb")
