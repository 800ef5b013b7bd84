"""Supervised learning of a person's own: any module, arrays for inputs and targets, any loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import Criterion, samples
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.rows import Column, Encoded, Rows
from trainwright.core.task import JSON, Answer, Loss, Metric, Outputs, Processor, Progress, Record, Sample, Task
from trainwright.data.plain import Learning, Plain, read, tensor_of
from trainwright.metrics import baselines, numbers
from trainwright.optim.losses import LossSpec, aligned, criterion_of, first_tensor, is_known, wants_probabilities

Meaning: TypeAlias = Literal["classes", "binary", "probability", "numbers", "own"]  # of the model's output
FEW = 64  # numbers of a target, up to which R² is told


@final
class Arrays(Processor):
    """Fields that are arrays, as tensors of one shape: floats of 32 bits, whole numbers of 64, truth values as such.

    Args:
        inputs: fields that the model gets, in this order.
        targets: fields that the loss compares with.
        meaning: of the model's output, which says what a target may be.
        weight: how much targets weigh, of the loss.
    """

    def __init__(
        self,
        inputs: tuple[str, ...],
        targets: tuple[str, ...],
        meaning: Meaning,
        weight: Callable[[Tensor], Tensor],
    ) -> None:
        self.inputs, self.targets, self.meaning = inputs, targets, meaning
        self.plain: dict[str, Plain] = {}
        self.classes = 0  # one more than the largest class number of the training records
        self.centre: list[float] = []  # the mean of each number of the target, where they are few
        self._weight = weight

    def fit(self, records: Iterable[Record]) -> None:
        """Learn shapes and types. A bad record is told of as soon as it is read."""
        columns = {name: Learning(name) for name in (*self.inputs, *self.targets)}
        self.classes, n = 0, 0
        total: Any = 0.0
        for n, record in enumerate(records, 1):
            where = f"training record {n - 1}"
            met = {name: column.meet(record, where) for name, column in columns.items()}
            if len(self.targets) == 1:
                y = met[self.targets[0]]
                self._check(y, where)
                self.classes = max(self.classes, self._largest(y) + 1)
                total = total + y if y.size <= FEW else 0.0
        if not n:
            raise DataError("data", "the training part has no records", "give it a larger share")
        self.plain = {name: self._kept(name, column.plain()) for name, column in columns.items()}
        self.centre = np.ravel(total / n).astype(float).tolist() if self.meaning == "numbers" else []

    def learn(self, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """What `fit` learns, from one batch of a foreign loader: shapes and types; labels are not all known yet."""
        n = next(iter(inputs.values())).shape[0]
        self.fit({name: t[i] for name, t in (*inputs.items(), *targets.items())} for i in range(n))

    def columns(self) -> Mapping[str, Column]:
        """Every field, dense."""
        return {n: Column("dense", p.dtype, p.shape, target=n in self.targets) for n, p in self.plain.items()}

    def encode(self, record: Record) -> Sample:
        """One record; without the targets it does not have."""
        sample = {}
        for name, plain in self.plain.items():
            where = f"field '{name}'"
            if name in self.targets:
                if record.get(name) is None:
                    continue
                self._check(read(record, name, where), where, known=True)
            array = read(record, name, where)
            sample[name] = tensor_of(array.reshape(plain.shape) if array.size == 1 else array, plain, name, where)
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """The inputs in their order, and the targets, as they are."""
        targets = {n: rows.dense(n) for n in self.targets if n in rows.columns}
        weight = self.weigh(targets) if len(targets) == len(self.targets) == 1 else samples(rows.ids)
        return Batch({n: rows.dense(n) for n in self.inputs}, targets, weight, rows.ids, len(rows))

    def weigh(self, targets: Mapping[str, Tensor]) -> Tensor:
        """The weight of a batch (0-d) by its targets: the loss's own count for one, else the number of samples."""
        first = next(iter(targets.values()))
        return self._weight(first) if len(targets) == 1 else samples(first)

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"label": …, "probabilities": […]}``, ``{"label": …, "probability": p}``, or ``{"value": …}``."""
        if "probabilities" in outputs:
            p = outputs["probabilities"]
            pairs = zip(p.argmax(1).tolist(), p.tolist(), strict=True)
            return [{"label": label, "probabilities": row} for label, row in pairs]
        if "probability" in outputs:
            p = _single(outputs["probability"])
            pairs = zip((p > 0.5).long().tolist(), p.tolist(), strict=True)
            return [{"label": label, "probability": row} for label, row in pairs]
        return [{"value": v} for v in _single(outputs["value"]).tolist()]

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        plain: dict[str, JSON] = {n: {"type": p.type, "shape": list(p.shape)} for n, p in self.plain.items()}
        own: dict[str, JSON] = {"meaning": self.meaning, "classes": self.classes, "centre": list(self.centre)}
        return {"fields": plain, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.plain = {n: Plain(p["type"], tuple(p["shape"])) for n, p in state["fields"].items()}
        self.meaning, self.classes, self.centre = state["meaning"], state["classes"], list(state["centre"])

    def _kept(self, name: str, plain: Plain) -> Plain:
        """The type a target is compared in; class numbers that stand in an array of one are taken out of it."""
        if name not in self.targets or self.meaning == "own":
            return plain
        if self.meaning != "classes":
            return Plain("float32", plain.shape)
        shape = () if math.prod(plain.shape) == 1 else plain.shape
        return Plain("float32" if plain.type == "float32" and shape else "int64", shape)

    def _check(self, y: np.ndarray[Any, Any], where: str, known: bool = False) -> None:
        """`DataError` for a target that the loss cannot compare with."""
        name = self.targets[0] if self.targets else ""
        if self.meaning in ("binary", "probability") and bool(((y < 0) | (y > 1)).any()):
            raise DataError(where, f"'{name}' is {y[(y < 0) | (y > 1)].flat[0]}", "a yes or no is 0 or 1")
        if self.meaning != "classes" or (y.dtype.kind == "f" and y.size > 1):  # probabilities of the classes
            return
        if y.dtype.kind == "f" and bool((y != np.round(y)).any()):
            what = f"'{name}' is {y.flat[0]}, but classes are whole numbers"
            raise DataError(where, what, "number the classes from 0, or use a loss for numbers such as 'mse'")
        for label in np.unique(y[y < 0]).astype(np.int64).tolist():
            if float(self._weight(torch.tensor([label]))) != 0:
                raise DataError(where, f"the class '{name}' is {label}", "number the classes from 0")
        if known and self._largest(y) >= self.classes:
            what = f"the class '{name}' is {self._largest(y)}, the training records have 0 to {self.classes - 1}"
            raise DataError(where, what, "correct it, or see that training has every class")

    def _largest(self, y: np.ndarray[Any, Any]) -> int:
        """The largest class number, or the last class of probabilities; -1 where there are none."""
        if self.meaning != "classes":
            return -1
        return int(y.shape[0] - 1 if y.dtype.kind == "f" and y.size > 1 else y.max(initial=-1))
