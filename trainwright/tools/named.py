"""Recordings whose names say what they are: 7_jackson_12.wav."""

from __future__ import annotations

from collections.abc import Sequence

_MARKS = "_-"
_EACH = 5  # recordings of a class on average, or it is no class


def label_pattern(stems: Sequence[str]) -> str | None:
    """The pattern by which the first piece of the names that can be a class is one: ``{label}_{piece2}_{piece3}``.

    None where the names are not cut alike, no piece has few values, or all have the same ones: they then spell a text.
    """
    for mark in _MARKS:
        pieces = [stem.split(mark) for stem in stems]
        if len(pieces[0]) < 2 or any(len(p) != len(pieces[0]) for p in pieces):
            continue
        values = [set(column) for column in zip(*pieces, strict=True)]
        if all(v == values[0] for v in values):
            return None
        place = next((i for i, v in enumerate(values) if 2 <= len(v) <= len(stems) / _EACH and "" not in v), None)
        if place is not None:
            return mark.join("{label}" if i == place else f"{{piece{i + 1}}}" for i in range(len(values)))
    return None
