"""Tables: CSV, TSV, Parquet and JSON lines, one record per row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import delimited, encodings, jsonlines, paths, unpacked
from trainwright.data.cells import Cells, Kind, of_series
from trainwright.data.fingerprint import digest
from trainwright.data.source import Source

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
SUFFIXES = (*_SEPARATORS, *_LINES, *_PARQUET)
PACKED = tuple(unpacked.OPENED)


@sources.add("table")
@final
class Table(Source):
    """One record per row of a CSV, TSV, Parquet or JSON lines file: ``{column: value}``, None where one is missing.

    A column of text is whole numbers, numbers, or text: whichever keeps every cell. Codes with leading zeros (00501)
    stay text. Spaces around a cell do not count, nor do blank lines; NaN counts as missing; dates are text in ISO form.
    A record's place is named by its line as an editor shows it. CSV, TSV and JSON lines may be packed
    (.csv.gz, .csv.bz2, .csv.xz).

    Args:
        path: the file; a relative path is also looked up under $TRAINWRIGHT_DATA.
        separator: the character between cells; left out, a comma in .csv and a tab in .tsv files.
        header: whether the first line of a CSV or TSV file names the columns; without, they are column_1, column_2, …
        names: of the columns of a CSV or TSV file whose first line is a record already, such as ["text", "label"].
        quote: the character around cells that hold separators or line ends; "" when none does.
        missing: texts that stand for a missing value in any column; left out, in CSV and TSV files the usual ones:
            an empty cell, ?, NA, N/A, n/a, #N/A, <NA>, NaN, nan, null, NULL. Empty cells of those are always missing.
        decimal: the decimal mark of numbers in a CSV or TSV file.
        encoding: of a CSV, TSV or JSON lines file, by Python's name: utf-8, latin-1, cp1252, utf-16.
        text: columns of a CSV or TSV file that are text even where every cell looks like a number, such as codes.
        columns: the columns to keep; all when left out.
        drop: columns to leave out.
        broken: what a line with too many or too few cells, or one that is no JSON object, is: an "error" of the file,
            or a "record" that cannot be used; the latter without asking where on_bad_sample is "skip".

    Source: RFC 4180, "Common format and MIME type for CSV files".
    """

    def __init__(
        self,
        *,
        path: str,
        separator: str | None = None,
        header: bool = True,
        names: tuple[str, ...] = (),
        quote: str = '"',
        missing: tuple[str, ...] | None = None,
        decimal: Literal[".", ","] = ".",
        encoding: str = "utf-8",
        text: tuple[str, ...] = (),
        columns: tuple[str, ...] | None = None,
        drop: tuple[str, ...] = (),
        broken: Literal["error", "record"] = "error",
    ) -> None:
        self.path = paths.find(path, "data.path")
        if not self.path.is_file():
            raise DataError("data.path", f"{self.path} is a folder", "name one file of it")
        suffix = _suffix(self.path, separator)
        markers = delimited.MISSING if missing is None else (*missing, "")
        mark = _SEPARATORS.get(suffix, ",") if separator is None else separator
        dialect = delimited.Dialect(
            mark, quote, header and not names, markers, decimal, text, names, broken == "record"
        )
        _check(dialect, suffix, encoding, separator)
        cells, self._lines, self._broken = _read(self.path, suffix, dialect, missing, encoding)
        if separator is None and suffix in _SEPARATORS:
            _separated(list(cells), mark, self.path.name)
        _known("text", text, cells, self.path.name)
        self._cells = _kept(cells, columns, drop, self.path.name)
        self._options = (separator, header, quote, missing, decimal, encoding, text, columns, drop, broken, *names)
        there = np.ones(len(self._lines), np.int64)
        there[list(self._broken)] = 0
        self._rows = np.cumsum(there) - 1  # where each one's cells are

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._lines):
            raise IndexError(index)
        if index in self._broken:
            raise DataError(self.where(index), self._broken[index], "repair the line")
        row = int(self._rows[index])
        return {name: cells.item(row) for name, cells in self._cells.items()}

    def fingerprint(self) -> str:
        """Of the file's content and every option."""
        return digest("table", self.path, self._options)

    def fields(self) -> Sequence[str]:
        """The columns that are kept, in the file's order."""
        return list(self._cells)

    def values(self, field: str) -> Sequence[Any]:
        """One column; None for a record that cannot be used."""
        sound = self._column(field).tolist()
        if not self._broken:
            return sound
        return [None if i in self._broken else sound[row] for i, row in enumerate(self._rows.tolist())]

    def kinds(self) -> Mapping[str, Kind]:
        """What each column holds: numbers, text, …"""
        return {name: cells.kind for name, cells in self._cells.items()}

    def where(self, index: int) -> str:
        """``adult.csv, line 17``, as an editor counts lines; ``adult.parquet, row 16``, counted from 1."""
        word = "row" if self.path.suffix.lower() == ".parquet" else "line"
        return f"{self.path.name}, {word} {int(self._lines[index])}"

    def _column(self, field: str) -> Cells:
        if field not in self._cells:
            raise DataError(self.path.name, f"no column is named '{field}'", did_you_mean(field, self._cells))
        return self._cells[field]


def _suffix(path: Path, separator: str | None) -> str:
    """What the file is by its name; a file of unknown kind is text when a separator is given."""
    suffix = path.suffix.lower()
    if suffix in PACKED:
        suffix = Path(path.stem).suffix.lower()
    if suffix in SUFFIXES:
        return suffix
    if separator is None:
        what = f"{path.name} is not named .csv, .tsv, .parquet or .jsonl"
        known = {".json": "write one record per line, as JSON lines (.jsonl)"}
        known |= dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save the sheet as CSV")
        raise DataError("data.path", what, known.get(suffix, 'name the separator of its cells, as separator = ","'))
    return ".csv"


def _check(dialect: delimited.Dialect, suffix: str, encoding: str, separator: str | None) -> None:
    """Options that say nothing legal, or nothing about this kind of file."""
    mark, quote = dialect.separator, dialect.quote
    if len(mark) != 1 or not mark.isascii() or mark in ("\n", "\r", quote):
        raise UserError("data.separator", f"{mark!r} cannot separate cells", 'write one character, such as ";"')
    if len(set(dialect.names)) < len(dialect.names) or not all(n.strip() for n in dialect.names):
        raise UserError("data.names", "two of them are the same, or one is empty", "give every column its own")
    if len(quote) > 1 or not quote.isascii() or quote in ("\n", "\r"):
        raise UserError("data.quote", f"{quote!r} cannot quote a cell", 'write one character, or "" for none')
    if dialect.decimal == mark and suffix in _SEPARATORS:
        instead = 'name another separator, such as ";"'
        raise UserError("data.decimal", f"{mark!r} also separates the cells", instead)
    encodings.known(encoding)
    if suffix in _SEPARATORS:
        return
    told = {
        "separator": separator is not None,
        "header": not dialect.header and not dialect.names,
        "quote": quote != '"',
    }
    told |= {"names": bool(dialect.names), "decimal": dialect.decimal != ".", "text": bool(dialect.text)}
    told["encoding"] = suffix in _PARQUET and encoding != "utf-8"
    for name in [n for n, given in told.items() if given]:
        raise UserError(f"data.{name}", f"says nothing about a {suffix} file", "leave it out")


def _read(
    path: Path, suffix: str, dialect: delimited.Dialect, missing: Sequence[str] | None, encoding: str
) -> tuple[dict[str, Cells], np.ndarray[Any, Any], dict[int, str]]:
    """The columns, the line of each record, and what is wrong with those that cannot be used."""
    if suffix in _PARQUET:
        return *_parquet(path, missing or ()), {}
    data = encodings.utf8(path, encoding)
    if suffix in _LINES:
        return jsonlines.read(data, missing or (), path.name, dialect.lenient)
    return delimited.read(data, dialect, path.name)


def _parquet(path: Path, missing: Sequence[str]) -> tuple[dict[str, Cells], np.ndarray[Any, Any]]:
    import polars as pl

    _tried(path)
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        what = f"is not a Parquet file that can be read ({(str(error).splitlines() or ['damaged'])[0]})"
        raise DataError(path.name, what, "write it again") from None
    if not frame.height:
        raise DataError(path.name, "the file has no records", "give a file with records")
    if missing:
        frame = frame.with_columns(pl.col(pl.String).replace(list(missing), None))
    return {c: of_series(frame[c]) for c in frame.columns}, np.arange(1, frame.height + 1)


def _tried(path: Path) -> None:
    """Read a Parquet file in a process of its own; DataError where that ends it.

    Of a damaged page polars 2.1 may ask for memory without end, which ends the process: nothing can be caught. All
    other mistakes are told when the file is read here.
    """
    program = "import sys, polars; polars.read_parquet(sys.argv[1])"
    try:
        done = subprocess.run([sys.executable, "-I", "-c", program, str(path.absolute())], capture_output=True)
    except OSError:  # no room for another process
        return
    if done.returncode < 0:
        raise DataError(path.name, "is a damaged Parquet file: its reader was ended by it", "write it again")


def _separated(names: Sequence[str], separator: str, name: str) -> None:
    """One single column whose name holds another separator is a table read with the wrong one."""
    others = {";": ";", "\t": "\\t", "|": "|", ",": ","}  # and how a recipe writes them
    for other, written in others.items():
        if len(names) == 1 and other in names[0] and other != separator:
            what = f"only one column, named {names[0]!r}, is found"
            raise DataError(name, what, f'write separator = "{written}"')


def _kept(cells: dict[str, Cells], columns: Sequence[str] | None, drop: Sequence[str], name: str) -> dict[str, Cells]:
    _known("columns", columns or (), cells, name)
    _known("drop", drop, cells, name)
    kept = {n: c for n, c in cells.items() if (columns is None or n in columns) and n not in drop}
    if not kept:
        raise DataError(
            "data.columns" if columns is not None else "data.drop", "no column is left", "keep one at least"
        )
    return kept


def _known(option: str, words: Sequence[str], cells: Mapping[str, Cells], name: str) -> None:
    for word in words:
        if word not in cells:
            raise DataError(f"data.{option}", f"{name} has no column '{word}'", did_you_mean(word, cells))
