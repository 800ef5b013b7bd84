"""The inputs of a table: every column finds its role in the training records, every row becomes numbers and ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Record
from trainwright.data.labels import is_missing
from trainwright.data.roles import (
    MISSING,
    UNKNOWN,
    Category,
    Kind,
    Number,
    Scaling,
    category,
    guess,
    number,
    parts,
    plain,
)

_LARGEST = 3e38  # of float32
_FLAT = 256  # columns for linear models


@final
class Inputs:
    """What a table gives a model: ``x`` (N, F) float32, scaled, and ``categorical`` (N, K) ids; either may be absent.

    Numbers come first in ``x``, then one 0/1 input for each number that some training record lacks. Category ids are
    0 for a level unknown in training, 1 for a missing value, then the levels in the order of the training records.

    Args:
        numeric: columns that are numbers, whatever they look like.
        categorical: columns that are categories, whatever they look like.
        ignore: columns to leave out.
        scaling: "quantile" (ranks, as a normal distribution) or "standard" (mean 0, deviation 1).
    """

    def __init__(
        self, *, numeric: Sequence[str], categorical: Sequence[str], ignore: Sequence[str], scaling: Scaling
    ) -> None:
        self.asked: Mapping[str, Sequence[str]] = {"numeric": numeric, "categorical": categorical, "ignore": ignore}
        self.scaling: Scaling = scaling
        self.numbers: list[Number] = []
        self.categories: list[Category] = []
        self.notes: list[str] = []  # what was left out, and why
        self._ids: list[dict[str, int]] = []
        seen: dict[str, str] = {}
        for option, names in self.asked.items():
            for name in names:
                if name in seen:
                    where = f"task.{option}"
                    raise UserError(where, f"'{name}' also stands in `{seen[name]}`", "keep it in one of them")
                seen[name] = option

    @property
    def width(self) -> int:
        """F, the columns of ``x``."""
        return len(self.numbers) + sum(n.marks for n in self.numbers)

    @property
    def cardinalities(self) -> list[int]:
        """How many ids each category has."""
        return [c.size for c in self.categories]

    @property
    def edges(self) -> list[list[float]]:
        """Of the bins of every column of ``x``: learned for numbers, 0 and 1 for marks."""
        return [list(n.edges) for n in self.numbers] + [[0.0, 1.0] for n in self.numbers if n.marks]

    def sizes(self) -> dict[str, JSON]:
        """What a model must know: ``inputs`` (F), their ``edges``, and ``cardinalities`` (ids of each category)."""
        edges: list[JSON] = [[*e] for e in self.edges]
        return {"inputs": self.width, "edges": edges, "cardinalities": [*self.cardinalities]}

    def fit(self, records: Iterable[Record], target: Callable[[int, Record], str]) -> None:
        """Learn roles, scaling and levels.

        ``target`` is called with each record, at once when it is read, and says which column is the target.
        """
        columns, optional, aim = _gathered(records, target)
        for option, names in self.asked.items():
            for name in names:
                if name == aim:
                    raise UserError(f"task.{option}", f"'{name}' is the target", "leave it out here")
                if name not in columns:
                    raise DataError(f"task.{option}", f"no column is named '{name}'", did_you_mean(name, columns))
        self.numbers, self.categories, self.notes = [], [], []
        for name, values in columns.items():
            if name != aim and name not in self.asked["ignore"]:
                self._take(name, values, name in optional)
        if not self.numbers and not self.categories:
            left = "; ".join(self.notes) or "there is none beside the target"
            raise DataError("data", f"no column is of use: {left}", "name columns in `numeric` or `categorical`")
        self._index()

    def columns(self) -> dict[str, Column]:
        """``x`` and ``categorical``, where there are any."""
        out = {}
        if self.numbers:
            out["x"] = Column("dense", torch.float32, (self.width,))
        if self.categories:
            out["categorical"] = Column("dense", torch.int32, (len(self.categories),))
        return out

    def column_names(self) -> dict[str, list[str]]:
        """What the columns of ``x`` and ``categorical`` are called."""
        marks = [f"{n.name} is missing" for n in self.numbers if n.marks]
        out = {"x": [n.name for n in self.numbers] + marks, "categorical": [c.name for c in self.categories]}
        return {name: columns for name, columns in out.items() if columns}

    def encode(self, record: Record) -> dict[str, Tensor]:
        """One row; `DataError` for a cell that cannot be read, or a column that every training record has."""
        out: dict[str, Tensor] = {}
        if self.numbers:
            read = [n.read(self._cell(record, n)) for n in self.numbers]
            scaled = [n.scaled(n.middle if x is None else x) for n, x in zip(self.numbers, read, strict=True)]
            for n, value in zip(self.numbers, scaled, strict=True):
                if not abs(value) < _LARGEST:
                    raise DataError(f"column '{n.name}'", "the number is too large to compute with", "correct it")
            marks = [float(x is None) for n, x in zip(self.numbers, read, strict=True) if n.marks]
            out["x"] = torch.tensor(scaled + marks, dtype=torch.float32)
        if self.categories:
            texts = [c.read(self._cell(record, c)) for c in self.categories]
            ids = [MISSING if t is None else _id(t, k) for t, k in zip(texts, self._ids, strict=True)]
            out["categorical"] = torch.tensor(ids, dtype=torch.int32)
        return out

    def batch(self, rows: Rows) -> dict[str, Tensor]:
        """The inputs of a model: ``x`` (N, F) float32, ``categorical`` (N, K) int64."""
        out = {}
        if self.numbers:
            out["x"] = rows.dense("x")
        if self.categories:
            out["categorical"] = rows.dense("categorical").long()
        return out

    def flat(self, *, x: Tensor | None = None, categorical: Tensor | None = None) -> Tensor:
        """(N, D) float64 for linear models: numbers, then 0/1 columns for the first levels, 256 in all.

        ``x`` and ``categorical`` are what `batch` gives.
        """
        parts = [] if x is None else [x.double()]
        room = max(0, _FLAT - self.width)
        for i, column in enumerate(self.categories):
            share = min(column.size, max(2, room // len(self.categories)))
            assert categorical is not None
            parts.append((categorical[:, i].unsqueeze(1) == torch.arange(MISSING, share)).double())
        return torch.cat(parts, 1)

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        return {
            "numbers": [asdict(n) for n in self.numbers],
            "categories": [asdict(c) for c in self.categories],
            "notes": list(self.notes),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.numbers = [
            Number(**{**n, **{key: tuple(n[key]) for key in ("xs", "zs", "edges")}}) for n in state["numbers"]
        ]
        for learned in self.numbers:
            if not isinstance(learned.marks, bool):
                raise ValueError(f"the marks of '{learned.name}' are {learned.marks!r}, neither true nor false")
        self.categories = [Category(**{**c, "levels": tuple(c["levels"])}) for c in state["categories"]]
        self.notes = list(state["notes"])
        self._index()

    def _take(self, name: str, values: Sequence[Any], optional: bool) -> None:
        """Give one column its role, or a note."""
        role = "category" if name in self.asked["categorical"] else guess(name, values)
        if name in self.asked["numeric"]:
            role = "date" if role == "date" else "number"
        fitted: Number | Category | str = role
        if role == "category":
            fitted = category(name, values, optional)
        elif role in ("number", "date"):
            kind: Kind = "date" if role == "date" else "number"
            fitted = number(name, values, kind, self.scaling, optional)
        if isinstance(fitted, Number):
            self.numbers.append(fitted)
            self.categories += parts(fitted, values) if fitted.kind == "date" else []
        elif isinstance(fitted, Category):
            self.categories.append(fitted)
        else:
            self.notes.append(f"column '{name}' is left out: {fitted}")

    def _index(self) -> None:
        self._ids = [c.ids() for c in self.categories]

    def _cell(self, record: Record, column: Number | Category) -> Any:
        if column.name not in record and not column.optional:
            what = "the record has no such column, as every training record has"
            raise DataError(f"column '{column.name}'", what, did_you_mean(column.name, record))
        return record.get(column.name)


def _id(text: str, ids: Mapping[str, int]) -> int:
    """Of a level; `UNKNOWN` for one that training did not have."""
    return ids.get(text, ids.get(text.casefold(), ids.get(plain(text) or text, UNKNOWN)))


def target_column(asked: str | None, record: Record) -> str:
    """The target's name: the one asked for, else "target", else the last column."""
    name = asked or ("target" if "target" in record else next(reversed(list(record)), ""))
    if name not in record:
        raise DataError("task.target", f"no column is named '{name}'", did_you_mean(name, record))
    return name


def target_value(record: Record, name: str, index: int) -> Any:
    """The target of a training record; `DataError` naming the record where it is missing."""
    value = record.get(name)
    if is_missing(value):
        what = f"the target '{name}' is missing"
        raise DataError(f"training record {index}", what, "fill it in, or leave the record out")
    return value


def _gathered(
    records: Iterable[Record], target: Callable[[int, Record], str]
) -> tuple[dict[str, list[Any]], set[str], str]:
    """The values column by column, the columns that some record does not have, and the target's name."""
    columns: dict[str, list[Any]] = {}
    optional: set[str] = set()
    aim, n = "", 0
    for n, record in enumerate(records, 1):
        aim = target(n - 1, record)
        for name, value in record.items():
            if name not in columns:
                columns[name] = [None] * (n - 1)
                if n > 1:
                    optional.add(name)
            columns[name].append(value)
        if len(record) < len(columns):
            for name in columns.keys() - record.keys():
                columns[name].append(None)
                optional.add(name)
    if not n:
        raise DataError("data", "the training part has no records", "give it a larger share")
    return columns, optional, aim
