"""Another file of the kind that a run was trained on, read as the run's own data was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainwright.core.errors import DataError
from trainwright.data.roles import Category
from trainwright.data.source import Source, source_of
from trainwright.data.table import Table
from trainwright.runs.directory import PROCESSOR
from trainwright.runs.learned import read_learned

_NAMING = ("columns", "drop", "text")  # options of a table that name columns


def source_elsewhere(folder: Path, name: str, options: Mapping[str, Any], target: str | None = None) -> Source:
    """The records of a file; what a cell means does not depend on the other rows of that file.

    A column that was text in training is read as text even where this file has nothing but numbers in it: 1.50 beside
    XL would else be 1.5 here, and a level that nobody knows.

    Args:
        folder: of the run.
        name: of the source.
        options: of the source, with the path of the file.
        target: a column that the file may lack, whatever the options say of it.
    """
    try:
        source = source_of(name, options)
    except DataError:
        without = {k: tuple(c for c in options[k] if c != target) for k in _NAMING if target in (options.get(k) or ())}
        if not without:
            raise
        source, options = source_of(name, {**options, **without}), {**options, **without}
    if not isinstance(source, Table):
        return source
    kinds = source.kinds()
    odd = [column for column in _texts(folder) if kinds.get(column) == "numbers" and column not in _given(options)]
    if not odd or Path(source.path).suffix.lower() in (".parquet", ".pq", ".jsonl", ".ndjson"):
        return source
    return source_of(name, {**options, "text": (*_given(options), *odd)})


def _given(options: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(options.get("text") or ())


def _texts(folder: Path) -> list[str]:
    """The columns that were text in training."""
    learned = read_learned(folder / PROCESSOR).get("inputs")
    told = learned.get("categories", ()) if isinstance(learned, Mapping) else ()
    categories = [Category(**{**c, "levels": tuple(c["levels"])}) for c in told]
    return [c.name for c in categories if c.as_text]
