"""Several class labels of one record, as numbers and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.errors import DataError
from trainwright.core.task import JSON
from trainwright.data.labels import Label, Labels, label_of

_MARKS = ";|,"  # between labels in one cell of a table, the first of these that occurs


def labels_of(value: Any, where: str) -> list[Label]:
    """The labels of a record: a list, or text with ``;``, ``|`` or ``,`` between them; an empty list has none."""
    if isinstance(value, str):
        mark = next((m for m in _MARKS if m in value), None)
        value = value.split(mark) if mark else [value]
    if not isinstance(value, Sequence):
        value = [value]
    found = [label_of(v, where) for v in value]
    if "" in found:
        raise DataError(where, f"one of the labels {list(value)!r} is empty", "leave it out")
    return list(dict.fromkeys(found))


@final
class LabelSets:
    """The classes of the training part, sorted, numbered from 0; a record may have any number of them."""

    def __init__(self, sets: Iterable[Sequence[Label]] = ()) -> None:
        listed = [list(s) for s in sets]
        self.labels = Labels([v for s in listed for v in s])
        self.records = len(listed)

    def __len__(self) -> int:
        return len(self.labels)

    def checked(self, where: str) -> LabelSets:
        """Itself; `DataError` where there is no label, or one that every record has and nothing beside it."""
        if not len(self) or (len(self) == 1 and self.labels.counts[0] == self.records):
            names = ", ".join(repr(v) for v in self.labels.values) or "none"
            raise DataError(where, f"the labels of all training records are the same: {names}", "name another target")
        return self

    def row(self, value: Any, where: str) -> Tensor:
        """(L,) float32, 1 for each label of a record; `DataError` for one that the training part does not have."""
        out = torch.zeros(len(self))
        for label in labels_of(value, where):
            out[self.labels.index(label, where)] = 1.0
        return out

    def answers(self, probabilities: Tensor) -> list[dict[str, Any]]:
        """(N, L) as ``{"labels": those likelier than not, "probabilities": {label: p}}``."""
        names = [str(v) for v in self.labels.values]
        rows = probabilities.tolist()
        return [
            {
                "labels": [v for v, p in zip(self.labels.values, row, strict=True) if p >= 0.5],
                "probabilities": dict(zip(names, row, strict=True)),
            }
            for row in rows
        ]

    def state_dict(self) -> dict[str, JSON]:
        """The labels, how often each occurs, and in how many records."""
        return {"labels": self.labels.state_dict(), "records": self.records}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.labels.load_state_dict(state["labels"])
        self.records = int(state["records"])
