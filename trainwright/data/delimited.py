"""Text with one record per line and a separator between cells: its structure is checked before it is parsed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainwright.core.errors import DataError
from trainwright.data.cells import Cells, of_series

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL")
Array: TypeAlias = NDArray[Any]
_PIECE = 1 << 25  # bytes scanned at once, so that the masks stay small beside the file
_NEWLINE = ord("\n")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the text is written."""

    separator: str
    quote: str  # "" where no character quotes
    header: bool
    missing: Sequence[str]
    decimal: str
    text: Sequence[str] = ()  # columns that are text whatever they look like
    names: Sequence[str] = ()  # of the columns, where no header has them
    lenient: bool = False  # a line with another number of cells is a record that cannot be used, no mistake of the file


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the records of a text lie. Blank lines are not records."""

    starts: Array  # (records,) byte offset of the first character
    stops: Array  # (records,) byte offset after the last one, before the line's end
    cells: Array  # (records,)
    lines: Array  # (records,) number of the line it starts on, from 1


def read(data: bytes, dialect: Dialect, name: str) -> tuple[dict[str, Cells], Array, dict[int, str]]:
    """The columns of UTF-8 text, the line of each record, and what is wrong with those that cannot be used.

    The columns hold the other records alone. ``name`` is the file's, for messages.
    """
    layout = scan(data, dialect, name)
    if not len(layout.starts):
        raise DataError(name, "the file is empty", "give a file with records")
    first = data[layout.starts[0] : layout.stops[0]]
    broken = _rectangular(layout, dialect, name)
    names = _given(int(layout.cells[0]), dialect, name)
    if dialect.header:
        names = _header(first, int(layout.lines[0]), dialect, name)
    begin = 1 if dialect.header else 0
    if len(layout.starts) == begin:
        raise DataError(name, "the file has a header and no records", "give a file with records")
    if len(layout.starts) == begin + len(broken):
        raise DataError(name, "the file has no record that can be used", "repair its lines")
    frame = _parsed(data, _without(layout, broken), begin, names, dialect, name)
    lines = layout.lines[begin:]
    if frame.height != len(lines) - len(broken):
        what = f"{len(lines) - len(broken)} records were counted, but {frame.height} parsed"
        raise DataError(name, what, _quoting(dialect))
    cells = {c: of_series(_typed(frame[c], dialect, c in dialect.text)) for c in names}
    return cells, lines, {row - begin: what for row, what in broken.items()}


def scan(data: bytes, dialect: Dialect, name: str) -> Layout:
    """Find every record; `DataError` names the line of a quote that stands where none may."""
    places, kinds, lines = _marks(data, dialect, name)
    ends = np.flatnonzero(kinds == _NEWLINE)
    stops = np.append(places[ends], len(data))
    starts = np.concatenate(([0], places[ends] + 1))
    first = np.concatenate(([1], lines[ends] + 1))
    separators = np.cumsum(kinds != _NEWLINE)
    before = np.concatenate(([0], separators[ends], separators[-1:] if len(separators) else [0]))
    cells = np.diff(before) + 1
    raw = np.frombuffer(data, np.uint8)
    returned = (stops > starts) & (raw[np.maximum(stops - 1, 0)] == ord("\r")) if len(raw) else stops < 0
    stops = stops - returned
    some = stops > starts
    return Layout(starts[some], stops[some], cells[some], first[some])


def _marks(data: bytes, dialect: Dialect, name: str) -> tuple[Array, ...]:
    """Offset, byte and line of every separator and line end outside quotes."""
    raw = np.frombuffer(data, np.uint8)
    separator, quote = ord(dialect.separator), ord(dialect.quote) if dialect.quote else -1
    places: list[Array] = [np.zeros(0, np.int64)]
    kinds: list[Array] = [np.zeros(0, np.uint8)]
    lines: list[Array] = [np.zeros(0, np.int64)]
    open_quotes, line = 0, 1
    for start in range(0, len(raw), _PIECE):
        piece = raw[start : start + _PIECE]
        at = np.flatnonzero((piece == separator) | (piece == _NEWLINE) | (piece == quote))
        kind = piece[at]
        quotes = np.cumsum(kind == quote) + open_quotes
        new = kind == _NEWLINE
        here = line + np.cumsum(new) - new
        quoting = kind == quote
        wrong = _misplaced(raw, at[quoting] + start, quotes[quoting] % 2 == 1, separator, quote)
        if wrong.any():
            line = int(here[quoting][np.argmax(wrong)])
            raise DataError(_at(name, line), "a quote stands in the middle of a cell", _quoting(dialect))
        outside = (quotes % 2 == 0) & (kind != quote)
        places.append(at[outside] + start)
        kinds.append(kind[outside])
        lines.append(here[outside])
        open_quotes, line = int(quotes[-1]) % 2 if len(at) else open_quotes, line + int(new.sum())
    if open_quotes:
        last = data.rfind(dialect.quote.encode())
        raise DataError(
            _at(name, 1 + data.count(b"\n", 0, last)), "a quote is opened and never closed", _quoting(dialect)
        )
    return np.concatenate(places), np.concatenate(kinds), np.concatenate(lines)


def _misplaced(raw: Array, at: Array, opens: Array, separator: int, quote: int) -> Array:
    """Which of the quotes at ``at`` are neither at a border of a cell nor one of two that stand for one."""
    beside = np.where(opens, at - 1, at + 1)
    inside = (beside >= 0) & (beside < len(raw))
    neighbour = raw[np.clip(beside, 0, len(raw) - 1)]
    border = (neighbour == separator) | (neighbour == _NEWLINE) | (neighbour == quote)
    wrong: Array = inside & ~border & (opens | (neighbour != ord("\r")))
    return wrong


def _given(columns: int, dialect: Dialect, name: str) -> list[str]:
    """The names a person gave to the columns of a file without a header, else column_1 and so on."""
    if not dialect.names:
        return [f"column_{i}" for i in range(1, columns + 1)]
    if len(dialect.names) != columns:
        what = f"{len(dialect.names)} names for the {columns} columns of {name}"
        raise DataError("data.names", what, "give each column one")
    return list(dialect.names)


def _header(first: bytes, line: int, dialect: Dialect, name: str) -> list[str]:
    """The names of the columns in the first line; a nameless one is called as pandas does."""
    try:
        cells = next(_cells(_text(first, line, name), dialect))
    except csv.Error as error:
        raise DataError(_at(name, line), f"the header cannot be read ({error})", _quoting(dialect)) from None
    names = [c.strip() or _nameless(i, cells) for i, c in enumerate(cells)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(_at(name, line), f"two columns are named '{twice[0]}'", "give every column a name of its own")
    return names


def _cells(text: str, dialect: Dialect) -> Iterator[list[str]]:
    if not dialect.quote:
        return csv.reader([text], delimiter=dialect.separator, quoting=csv.QUOTE_NONE)
    return csv.reader([text], delimiter=dialect.separator, quotechar=dialect.quote)


def _rectangular(layout: Layout, dialect: Dialect, name: str) -> dict[int, str]:
    """What is wrong with lines of another number of cells than the first; `DataError` where that is a mistake."""
    columns = int(layout.cells[0])
    wrong = layout.cells != columns
    found = {}
    for row in np.flatnonzero(wrong).tolist():
        cells = int(layout.cells[row])
        found[row] = f"{cells} cell{'s' if cells > 1 else ''} where the first line has {columns}"
        if not dialect.lenient:
            break
    if not found or (dialect.lenient and int(wrong.sum()) <= len(wrong) / 2):
        return found
    row, what = next(iter(found.items()))
    instead = f"repair the line ({int(wrong.sum())} of {len(wrong)} are so), or name another separator"
    raise DataError(_at(name, int(layout.lines[row])), what, instead)


def _without(layout: Layout, rows: Mapping[int, str]) -> Layout:
    keep = np.ones(len(layout.starts), np.bool_)
    keep[list(rows)] = False
    return Layout(layout.starts[keep], layout.stops[keep], layout.cells[keep], layout.lines[keep]) if rows else layout


def _body(data: bytes, layout: Layout, begin: int) -> bytes:
    """The records alone; copied piece by piece only where blank lines lie between them."""
    starts, stops = layout.starts[begin:], layout.stops[begin:]
    raw = np.frombuffer(data, np.uint8)
    gaps = starts[1:] - stops[:-1] - (raw[stops[:-1]] == ord("\r"))
    if gaps.max(initial=1) == 1:
        return data[starts[0] : stops[-1]]
    return b"\n".join(data[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True))


def _parsed(data: bytes, layout: Layout, begin: int, names: list[str], dialect: Dialect, name: str) -> pl.DataFrame:
    """Every cell as text."""
    import polars as pl

    try:
        return pl.read_csv(
            _body(data, layout, begin),
            has_header=False,
            separator=dialect.separator,
            quote_char=dialect.quote or None,
            schema=dict.fromkeys(names, pl.String),
        )
    except pl.exceptions.PolarsError as error:
        for start, stop, line in zip(layout.starts, layout.stops, layout.lines.tolist(), strict=True):
            _text(data[start:stop], line, name)
        raise DataError(name, f"cannot be parsed ({str(error).splitlines()[0]})", _quoting(dialect)) from None


def _typed(cells: pl.Series, dialect: Dialect, text: bool) -> pl.Series:
    """Whole numbers, numbers, or text: whichever keeps every cell.

    Text that looks like a number but would lose something stays text: codes with leading zeros (``00501``), and whole
    numbers beyond 64 bits. Marks between thousands do not count.
    """
    import polars as pl

    cells = cells.str.strip_chars()
    cells = cells.set(cells.is_in(list(dialect.missing)), None)
    some = cells.drop_nulls()
    if text or not len(some) or some.str.contains(r"^[+-]?0\d").any():
        return cells
    if some.str.contains(r"^[+-]?\d+$").all():
        whole = cells.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == cells.null_count() else cells
    plain = _ungrouped(cells, some, dialect.decimal)
    plain = plain if dialect.decimal == "." else plain.str.replace(dialect.decimal, ".", literal=True)
    numbers = plain.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == cells.null_count() else cells


def _ungrouped(cells: pl.Series, some: pl.Series, decimal: str) -> pl.Series:
    """Numbers without the marks between thousands (1,234,567.5), where every cell is written so or needs none."""
    mark = "," if decimal == "." else "."
    whole = rf"^[+-]?(?:[1-9]\d{{0,2}}(?:\{mark}\d{{3}})+|\d+)(?:\{decimal}\d*)?$"
    if not some.str.contains(mark, literal=True).any() or not some.str.contains(whole).all():
        return cells
    return cells.str.replace_all(mark, "", literal=True)


def _text(data: bytes, line: int, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        what = f"not UTF-8 (byte 0x{data[error.start]:02x})"
        raise DataError(_at(name, line), what, 'save the file as UTF-8, or write encoding = "latin-1"') from None


def _quoting(dialect: Dialect) -> str:
    if not dialect.quote:
        return "check the separator"
    return f'repair the line, or write quote = "" if {dialect.quote} does not quote in this file'


def _at(name: str, line: int) -> str:
    return f"{name}, line {line}"


def _nameless(i: int, cells: Sequence[str]) -> str:
    """What pandas calls a column without a name: the index of a frame, more often than not."""
    name = f"Unnamed: {i}"
    return name if name not in cells else f"{name}.1"
