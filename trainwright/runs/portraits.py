"""What there is to see of a model when its training has ended: maps of codes, sheets of pictures, and curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwright.core.exhibit import Exhibit
from trainwright.core.task import Task
from trainwright.engine import disk
from trainwright.runs.assemble import Pieces
from trainwright.runs.directory import PORTRAITS
from trainwright.runs.plot import saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#333333"
_STROKES = (("#8a8a8a", "-"), ("#4477aa", "--"))  # of what is given, and of what a model says
_FEW = 10  # groups with a colour of their own; more are drawn along a range of colours


def portray(pieces: Pieces, part: str, folder: Path) -> None:
    """Write what the task shows of its model into the run; a disk that takes no more must not end a training well done.

    Args:
        pieces: of the run; the model holds the weights that are served.
        part: of the data, whose samples are seen.
        folder: of the run.
    """
    task, encoded, ranks = pieces.task, pieces.encoded.get(part), pieces.runtime.ranks
    if type(task).portray is Task.portray or ranks.world > 1 or encoded is None:
        return
    model = ranks.bare(pieces.state.model)
    with pieces.state.aside():
        model.eval()
        found = task.portray(model, encoded)
    with suppress(OSError):
        (folder / PORTRAITS).mkdir(exist_ok=True)
        for exhibit in found:
            write(exhibit, folder / PORTRAITS)


def write(exhibit: Exhibit, folder: Path) -> None:
    """Draw an exhibit as TITLE.png; of a map also the figures, as TITLE.json."""
    path = folder / f"{exhibit.title}.png"
    if exhibit.kind == "map":
        figures = {k: v for k, v in exhibit.data.items() if isinstance(v, float)}
        disk.put(path.with_suffix(".json"), (json.dumps(figures, indent=1) + "\n").encode())
        saved(mapped(exhibit.data), path)
    elif exhibit.kind == "curves":
        saved(curves(exhibit.data), path)
    else:
        saved(sheet(exhibit.data), path)


def mapped(data: Mapping[str, Any]) -> Figure:
    """Points in a plane, coloured by their group."""
    figure, axes = _figure(7.0, 6.0)
    points, groups = np.array(data["points"]), np.array(data["groups"])
    known = sorted(set(groups[groups >= 0].tolist()))
    for number, group in enumerate(known):
        where = groups == group
        name = data["names"][group] if data["names"] else str(group + 1)
        axes.scatter(
            points[where, 0],
            points[where, 1],
            s=7,
            color=_colour(number, len(known)),
            label=name,
            linewidths=0,
            alpha=0.75,
        )
    told = [f"the first two principal components of the codes hold {data['variance']:.0%} of their variance"]
    if "silhouette" in data:
        told.append(f"{data['clusters']:.0f} clusters by k-means: silhouette {data['silhouette']:.2f}")
        if "normalized_mutual_information" in data:
            told[-1] += f", normalized mutual information with the labels {data['normalized_mutual_information']:.2f}"
    axes.set_title("\n".join(told), fontsize=8.5, color=_INK, loc="left")
    if 1 < len(known) <= 2 * _FEW:
        axes.legend(title=data["by"], fontsize=8, title_fontsize=8, markerscale=2, framealpha=0.85, edgecolor="none")
    axes.tick_params(labelsize=8)
    axes.grid(True, color="#e8e8e8", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def sheet(rows: Mapping[str, Any]) -> Figure:
    """Rows of pictures, each with its name."""
    pictures = {name: np.array(row, dtype=np.uint8) for name, row in rows.items()}
    count = max(len(row) for row in pictures.values())
    figure, axes = _figure(0.8 * count + 1.4, 0.8 * len(pictures) + 0.2)
    height, width = next(iter(pictures.values())).shape[1:3]
    gap = max(1, round(0.06 * max(height, width)))
    whole = np.full((len(pictures) * (height + gap) - gap, count * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, row in enumerate(pictures.values()):
        for k, picture in enumerate(row):
            top, left = i * (height + gap), k * (width + gap)
            whole[top : top + height, left : left + width] = picture  # grey is spread over the three channels
    axes.imshow(whole, interpolation="nearest")
    axes.set_yticks([i * (height + gap) + height / 2 for i in range(len(pictures))], list(pictures), fontsize=9)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def curves(data: Mapping[str, Any]) -> Figure:
    """Windows over series, one beside the other; a row of panels for each series."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, under, rows = data["names"], data["under"], data["rows"]
    figure = Figure(figsize=(2.1 * len(under) + 0.8, 1.4 * len(names) + 0.7), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(names), len(under), sharex=True, sharey="row", squeeze=False)
    for (number, name), line in product(enumerate(names), panels.T):
        line[number].tick_params(labelsize=7)
        line[number].grid(True, color="#e8e8e8", linewidth=0.7)
        for side in ("top", "right"):
            line[number].spines[side].set_visible(False)
        panels[number, 0].set_ylabel(name, fontsize=8, color=_INK)
    for (what, windows), (colour, style) in zip(rows.items(), _STROKES, strict=False):
        for k, window in enumerate(windows):
            for number, values in enumerate(window):
                panels[number, k].plot(values, color=colour, linestyle=style, linewidth=1.3, label=what)
    for k, text in enumerate(under):
        panels[0, k].set_title(text, fontsize=7.5, color=_INK)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=8, frameon=False
    )
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _colour(number: int, count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"](number) if count <= _FEW else colormaps["turbo"](number / max(1, count - 1))
