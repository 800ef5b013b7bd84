"""Text in a table: which column a person would read, and whether the others tell as much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainwright.data.roles import guess

_SEEN = 500  # values of a column that are looked at
_WORDS, _FEW = 4.0, 2.0  # of a text on average, at least: names and codes have fewer; and where nothing else is there
_DIFFERENT = 0.5  # share of the texts, at least


def text_column(values: Mapping[str, Sequence[Any]], target: str) -> str | None:
    """The column with the longest texts of several words, hardly two of them alike; None where there is none."""
    sizes = {name: _words(column) for name, column in values.items() if name != target}
    longest = max(sizes, key=lambda name: sizes[name], default=None)
    if longest is None or sizes[longest] < _FEW:
        return None
    return longest if sizes[longest] >= _WORDS or not others(values, target, longest) else None


def text_columns(values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Every column of texts of several words, hardly two of them alike."""
    return [name for name, column in values.items() if _words(column) >= _FEW]


def others(values: Mapping[str, Sequence[Any]], target: str, text: str) -> list[str]:
    """The columns of numbers, categories and dates beside the text."""
    beside = (name for name in values if name not in (target, text))
    return [name for name in beside if guess(name, values[name]) in ("number", "category", "date")]


def _words(column: Sequence[Any]) -> float:
    """Of a value on average; 0 where the column is no text, or where its values repeat."""
    some = [v for v in column[:: max(1, len(column) // _SEEN)] if v is not None]
    if not some or not all(isinstance(v, str) for v in some) or len(set(some)) < _DIFFERENT * len(some):
        return 0.0
    return sum(len(v.split()) for v in some) / len(some)
