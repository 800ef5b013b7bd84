"""What is another in one configuration than in an earlier one: key by key, what it was and what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Changes = dict[str, tuple[Any, Any]]  # dotted key -> what it was, what it is; None where there is none


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """The keys whose values differ, in the order of the later configuration."""
    was, here = dict(leaves(before)), dict(leaves(now))
    return {key: (was.get(key), here.get(key)) for key in {**here, **was} if was.get(key) != here.get(key)}


def told(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """``budget: 4 epochs -> 6 epochs, optimizer.lr: 0.01 -> 0.001``; nothing where nothing changed."""
    return ", ".join(f"{key}: {_shown(was)} -> {_shown(now)}" for key, (was, now) in changes.items())


def leaves(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values; an empty table has none, as if it were not there."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
