"""Class labels as numbers and back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, final

import numpy as np
from torch import Tensor

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.task import JSON

Label: TypeAlias = bool | int | str


def is_missing(value: Any) -> bool:
    """None, NaN, or text with nothing in it."""
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def label_of(value: Any, where: str) -> Label:
    """A label as truth value, whole number or text; `DataError` for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return value.strip()
    what = f"the label {value!r} is no class"
    raise DataError(where, what, "labels are text, whole numbers, or true and false; numbers belong to a regression")


@final
class Labels:
    """The classes of the training part, sorted, numbered from 0.

    ``1``, ``1.0`` and ``"1"`` are the same label, as a table may be read with another type the next time.
    """

    def __init__(self, values: Iterable[Label] = ()) -> None:
        values = list(values)
        unique = {_key(v): v for v in reversed(values)}
        self.values: list[Label] = sorted(unique.values(), key=lambda v: (isinstance(v, str), v))
        self._index = {_key(v): i for i, v in enumerate(self.values)}
        tally = Counter(_key(v) for v in values)
        self.counts = [tally[_key(v)] for v in self.values]  # in the training part

    def __len__(self) -> int:
        return len(self.values)

    def index(self, value: Any, where: str) -> int:
        """The number of a label; `DataError` for one that the training part does not have."""
        key = _key(label_of(value, where))
        if key not in self._index:
            known = did_you_mean(key, self._index) if len(self) <= 20 else f"{len(self)} others do"
            raise DataError(where, f"the label {value!r} occurs in no training record", known)
        return self._index[key]

    def checked(self, where: str) -> Labels:
        """Itself; `DataError` where there is nothing to tell apart, or nothing to learn a class from."""
        records = sum(self.counts)
        if len(self) < 2:
            what = f"every training record has the label {self.values[0]!r}" if self.values else "there are no labels"
            raise DataError(where, what, "a classification needs at least two classes")
        if records >= 50 and len(self) > records / 2:
            what = f"{len(self)} different labels in {records} training records"
            raise DataError(where, what, "if it is a quantity, use a regression; if it is an id, choose another target")
        return self

    def notes(self, where: str) -> list[str]:
        """A line for labels that differ in capital letters alone: a person would hardly tell them apart."""
        alike: dict[str, list[str]] = {}
        for value in self.values:
            if isinstance(value, str):
                alike.setdefault(value.casefold(), []).append(repr(value))
        return [
            f"{where}: {' and '.join(names)} differ in capital letters alone, and are classes of their own"
            for names in alike.values()
            if len(names) > 1
        ]

    def answers(self, probabilities: Tensor) -> list[dict[str, Any]]:
        """(N, C) as ``{"label": the likeliest, "probability": its own, "probabilities": {label: p}}``, in our order."""
        names = [_key(v) for v in self.values]
        best = probabilities.argmax(1).tolist()
        return [
            {"label": self.values[i], "probability": row[i], "probabilities": dict(zip(names, row, strict=True))}
            for i, row in zip(best, probabilities.tolist(), strict=True)
        ]

    def state_dict(self) -> dict[str, JSON]:
        """The labels in order, and how often training had each."""
        return {"values": list(self.values), "counts": list(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.values, self.counts = list(state["values"]), list(state["counts"])
        self._index = {_key(v): i for i, v in enumerate(self.values)}


def _key(value: Label) -> str:
    return str(value)
