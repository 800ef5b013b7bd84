"""JSON lines: one record per line, each an object of named values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainwright.core.errors import DataError
from trainwright.data.cells import Cells, of_values


def read(
    data: bytes, missing: Sequence[str], name: str, lenient: bool = False
) -> tuple[dict[str, Cells], np.ndarray[Any, Any], dict[int, str]]:
    """The columns of UTF-8 text in the order they first appear, the line of each record, and what is wrong with some.

    With ``lenient`` a line that is no JSON object is a record that cannot be used, and stands in no column. A key that
    a record lacks is a missing value; so is every text in ``missing``. Blank lines are not records.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []  # of every record
    placed: list[int] = []  # of those in rows
    broken: dict[int, str] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(_row(line, f"{name}, line {number}"))
            placed.append(number)
        except DataError as error:
            if not lenient:
                raise
            broken[len(lines)] = error.what
        lines.append(number)
    if not rows:
        raise DataError(name, "the file is empty", "give a file with records")
    if not any(rows):
        raise DataError(name, "its objects have no values", 'write one object per line, such as {"x": 1, "y": "a"}')
    gone = set(missing)
    columns = {}
    for key in dict.fromkeys(k for row in rows for k in row):
        values = [row.get(key) for row in rows]
        columns[key] = of_values(None if isinstance(v, str) and v in gone else v for v in values)
        if columns[key].kind == "mixed values":
            raise _mixed(key, columns[key].tolist(), placed, name)
    return columns, np.array(lines), broken


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        raise DataError(where, f"not UTF-8 (byte 0x{line[error.start]:02x})", "save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise DataError(where, f"not JSON ({error})", 'write one object per line, such as {"x": 1, "y": "a"}') from None
    if not isinstance(row, dict):
        what = f"{type(row).__name__} where an object of named values should be"
        raise DataError(where, what, 'write one object per line, such as {"x": 1, "y": "a"}')
    return row


def _mixed(key: str, values: list[Any], lines: list[int], name: str) -> DataError:
    """The first record whose value is of another kind than the first one's."""
    some = [(v, line) for v, line in zip(values, lines, strict=True) if v is not None]
    first = some[0][0]
    other, line = next((v, n) for v, n in some if of_values([first, v]).kind == "mixed values")
    return DataError(
        f"{name}, line {line}",
        f"'{key}' is {other!r} here and {first!r} on line {some[0][1]}",
        "write values of one kind",
    )
