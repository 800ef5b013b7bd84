"""A statistic of every layer over the steps, as one picture: layers down, steps across."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainwright.studio.columns import Column, Numbers

_LAYERS = 1000  # rows at most


def heat(columns: Mapping[str, Column], room: int) -> tuple[list[str], Numbers, np.ndarray[Any, np.dtype[np.float64]]]:
    """Layers, (T,) steps and (layers, T) values; NaN where a layer was not measured.

    Where there are more steps than room, of each stretch the value that is largest in size: what explodes is not lost.

    Args:
        columns: of each layer.
        room: columns of the picture.
    """
    names = list(columns)[:_LAYERS]
    steps = np.unique(np.concatenate([columns[n].steps for n in names])) if names else np.empty(0)
    values = np.full((len(names), len(steps)), np.nan)
    for i, name in enumerate(names):
        values[i, np.searchsorted(steps, columns[name].steps)] = columns[name].values
    if len(steps) <= room:
        return names, steps, values
    starts = np.linspace(0, len(steps), room, endpoint=False).astype(np.intp)
    high, low = np.fmax.reduceat(values, starts, axis=1), np.fmin.reduceat(values, starts, axis=1)
    return names, steps[starts], np.where(np.abs(low) > np.abs(high), low, high)
