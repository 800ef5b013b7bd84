"""The small real data sets that come with scikit-learn: nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data.fingerprint import digest
from trainwright.data.source import Source


@sources.add("embedded")
@final
class Embedded(Source):
    """Real data sets that come with scikit-learn and need no download.

    - digits: 1,797 handwritten digits, ``{"image": (8, 8) uint8, "label": 0 to 9}``; pixels are 0 to 16, as published.
    - iris (150 records, 3 classes), wine (178, 3), breast_cancer (569, 2): ``{column: number, …, "target": class}``.
    - diabetes (442): ``{column: number, …, "target": number}``, the disease's progression; columns as measured.

    Args:
        set: which one.

    Source: scikit-learn, "Toy datasets".
    """

    def __init__(self, *, set: Literal["digits", "iris", "wine", "breast_cancer", "diabetes"] = "digits") -> None:
        self.set = set
        self._inputs, self._targets, self._columns = _loaded(set)

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._targets):
            raise IndexError(index)
        if self.set == "digits":
            return {"image": self._inputs[index], "label": self._targets[index]}
        row = self._inputs[index].tolist()
        return {**dict(zip(self._columns, row, strict=True)), "target": self._targets[index]}

    def fingerprint(self) -> str:
        """Of every number."""
        return digest("embedded", self.set, self._inputs, self._targets, self._columns)

    def fields(self) -> Sequence[str]:
        """image and label, or the columns and target."""
        return ["image", "label"] if self.set == "digits" else [*self._columns, "target"]

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record."""
        if field not in self.fields():
            raise DataError(self.set, f"no field is named '{field}'", did_you_mean(field, self.fields()))
        if field in ("label", "target"):
            return list(self._targets)
        if field == "image":
            return list(self._inputs)
        column: list[float] = self._inputs[:, self._columns.index(field)].tolist()
        return column

    def where(self, index: int) -> str:
        """``digits, record 17``, from 0."""
        return f"{self.set}, record {index}"


def _loaded(name: str) -> tuple[np.ndarray[Any, Any], list[Any], list[str]]:
    """Inputs, targets and names of columns."""
    from sklearn import datasets

    match name:
        case "digits":
            bunch = datasets.load_digits()
            return bunch.images.astype(np.uint8), bunch.target.tolist(), []
        case "diabetes":
            bunch = datasets.load_diabetes(scaled=False)
            return bunch.data, bunch.target.tolist(), list(bunch.feature_names)
        case "iris":
            bunch = datasets.load_iris()
        case "wine":
            bunch = datasets.load_wine()
        case _:
            bunch = datasets.load_breast_cancer()
    classes = [str(c) for c in bunch.target_names]
    return bunch.data, [classes[i] for i in bunch.target.tolist()], [str(c) for c in bunch.feature_names]
