"""Records that are in memory already: arrays and tensors, frames, lists of mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, final

import numpy as np
import torch
from torch import Tensor

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.task import Record
from trainwright.data.cells import Cells, of_array, of_series, of_values
from trainwright.data.fingerprint import digest
from trainwright.data.source import Source

T = TypeVar("T")
_FLOATS = (torch.float16, torch.float32, torch.float64)
_WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool)
Plain: TypeAlias = "np.ndarray[Any, Any] | Tensor | list[Any]"


@final
class Arrays(Source):
    """``{name: row}`` from arrays whose dim 0 is the record.

    A row of one number or text is a Python value; a row of an array or a tensor is a view of it, whose values must not
    be changed. Tensors are read on the CPU, without their gradients.

    Args:
        columns: NumPy arrays of numbers or text, tensors, or lists, all equally long.
    """

    def __init__(self, columns: Mapping[str, np.ndarray[Any, Any] | Tensor | Sequence[Any]]) -> None:
        if not columns:
            raise DataError("data", "no array is given", 'give one at least, such as {"x": x, "y": y}')
        self._columns = {name: _plain(name, column) for name, column in columns.items()}
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise DataError("data", f"the arrays are not equally long: {told}", "give one row per record in each")
        self._length = next(iter(lengths.values()))
        if not self._length:
            raise DataError("data", "the arrays are empty", "give one record at least")
        self._digest = ""  # once it was asked for

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self._length:
            raise IndexError(index)
        return {name: _row(column, index) for name, column in self._columns.items()}

    def fingerprint(self) -> str:
        """Of every value."""
        self._digest = self._digest or digest("arrays", self._columns)
        return self._digest

    def fields(self) -> Sequence[str]:
        """The names of the arrays."""
        return list(self._columns)

    def block(self, ids: Sequence[int]) -> Mapping[str, np.ndarray[Any, Any]] | None:
        """Rows of every array; None where one of them is a list, or holds no numbers."""
        rows = slice(ids.start, ids.stop) if isinstance(ids, range) and ids.step == 1 else np.asarray(ids, np.int64)
        found = {name: _numbers(column, rows) for name, column in self._columns.items()}
        there = {name: column for name, column in found.items() if column is not None}
        return there if len(there) == len(found) else None

    def arrays(self) -> Sequence[Mapping[str, Any]]:
        """As they lie; none where one holds bfloat16, which NumPy knows only as a copy of twice the size."""
        columns = self._columns.values()
        return [] if any(getattr(x, "dtype", None) == torch.bfloat16 for x in columns) else super().arrays()

    def values(self, field: str) -> Sequence[Any]:
        """The rows of one array."""
        column = _named(self._columns, field)
        if isinstance(column, list):
            return list(column)
        return list(column) if column.ndim > 1 else column.tolist()


@final
class Records(Source):
    """Mappings with the same keys, one per record, as they are.

    Args:
        records: the mappings; None stands for a missing value.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        if not records:
            raise DataError("data", "the list of records is empty", "give one record at least")
        for i, record in enumerate(records):
            if not isinstance(record, Mapping):
                raise DataError(
                    f"record {i}", f"{type(record).__name__} is no record", 'write a mapping such as {"x": 1.5}'
                )
            if record.keys() != records[0].keys():
                odd = ", ".join(sorted(map(str, set(record) ^ set(records[0]))))
                raise DataError(
                    f"record {i}", f"its keys differ from record 0's in {odd}", "write None for a missing value"
                )
        self._records = list(records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._records):
            raise IndexError(index)
        return self._records[index]

    def fingerprint(self) -> str:
        """Of every value."""
        return digest("records", self._records)

    def fields(self) -> Sequence[str]:
        """The keys."""
        return list(self._records[0])

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record."""
        _named(self._records[0], field)
        return [r[field] for r in self._records]


@final
class Frame(Source):
    """Rows of a data frame that `frame` has turned into columns of plain memory."""

    def __init__(self, columns: Mapping[str, Cells]) -> None:
        self._columns = dict(columns)
        self._length = len(next(iter(self._columns.values()), ()))
        if not self._length:
            raise DataError("data", "the data frame is empty", "give one row at least")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self._length:
            raise IndexError(index)
        return {name: cells.item(index) for name, cells in self._columns.items()}

    def fingerprint(self) -> str:
        """Of every value."""
        return digest("frame", {n: [c.values, c.missing] for n, c in self._columns.items()})

    def fields(self) -> Sequence[str]:
        """The names of the columns."""
        return list(self._columns)

    def values(self, field: str) -> Sequence[Any]:
        """One column."""
        return _named(self._columns, field).tolist()

    def where(self, index: int) -> str:
        """``row 17``, by position from 0 (not by the index of a pandas frame)."""
        return f"row {index}"


def frame(data: Any) -> Frame:
    """The rows of a polars or pandas data frame as ``{column: value}``, None where one is missing.

    Dates become ISO text, categories their text; a pandas index is not a column. DataError for any other object.
    """
    kind = f"{type(data).__module__.split('.')[0]}.{type(data).__name__}"
    if kind == "polars.DataFrame":
        return Frame({str(c): of_series(data[c]) for c in data.columns})
    if kind == "pandas.DataFrame":
        names = [str(c) for c in data.columns]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise DataError("data", f"two columns are named '{twice}'", "give every column a name of its own")
        return Frame({name: _pandas(data.iloc[:, i]) for i, name in enumerate(names)})
    instead = "call .collect() first" if kind == "polars.LazyFrame" else "give a polars or pandas DataFrame"
    raise DataError("data", f"{kind} is not a data frame", instead)


def _pandas(series: Any) -> Cells:
    """One column of a pandas frame, through its own methods: pandas is never imported here."""
    missing = series.isna().to_numpy()
    kind = series.dtype
    if isinstance(kind, np.dtype) and kind.kind in "biuf":
        return of_array(np.array(series.to_numpy()))
    values = series.astype(object).tolist()
    return of_values(None if gone else value for value, gone in zip(values, missing.tolist(), strict=True))


def _plain(name: str, column: object) -> Plain:
    """An array of numbers or text, a CPU tensor, or a list."""
    if isinstance(column, list | tuple):
        return list(column)
    if isinstance(column, Tensor):
        if column.layout != torch.strided:
            raise DataError(f"data '{name}'", f"a {column.layout} tensor has no rows", "call .to_dense() first")
        rows: np.ndarray[Any, Any] | Tensor = column.detach().cpu().resolve_neg()
    elif isinstance(column, np.ma.MaskedArray):
        if count := int(np.ma.getmaskarray(column).sum()):
            what = f"{count} of its {column.size} values {'is' if count == 1 else 'are'} masked"
            raise DataError(f"data '{name}'", what, "fill them in with .filled(…), or leave those records out")
        return _plain(name, np.asarray(column))
    elif isinstance(column, np.ndarray):
        rows = np.datetime_as_string(column) if column.dtype.kind == "M" else column
        if rows.dtype.kind not in "biufcUS":
            what = f"a NumPy array of {'Python objects' if column.dtype.kind == 'O' else column.dtype}"
            instead = "convert it, such as x.astype(float) or np.stack(list(x)), or give a list"
            raise DataError(f"data '{name}'", what, instead)
    else:
        what = f"{type(column).__name__} is neither an array, a tensor nor a list"
        raise DataError(f"data '{name}'", what, "convert it, such as with .to_numpy()")
    if rows.ndim == 0:
        raise DataError(f"data '{name}'", "a single number has no rows", "give one row per record")
    return rows


def _numbers(column: Plain, rows: slice | np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Rows of an array of numbers, a view where they are neighbours; None for anything else, and for kinds of arrays
    that have rows of their own."""
    if isinstance(column, Tensor):
        if type(column) is not Tensor or column.dtype not in (*_FLOATS, *_WHOLE, torch.bfloat16):
            return None
        picked = column[rows if isinstance(rows, slice) else torch.from_numpy(rows)]
        return (picked.float() if picked.dtype == torch.bfloat16 else picked).resolve_neg().numpy()
    if isinstance(column, list) or type(column) not in (np.ndarray, np.memmap):
        return None
    return column[rows] if column.dtype.kind in "fiub" else None


def _row(column: Plain, index: int) -> Any:
    if isinstance(column, list):
        return column[index]
    row = column[index]
    return row if row.ndim else row.item()


def _named(columns: Mapping[str, T], field: str) -> T:
    if field not in columns:
        raise DataError("data", f"no field is named '{field}'", did_you_mean(field, map(str, columns)))
    return columns[field]
