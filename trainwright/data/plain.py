"""Arrays of a person's own as samples: each field with one shape and one type, learned from the training records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import Criterion, samples
from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample

Array: TypeAlias = NDArray[Any]
Type: TypeAlias = Literal["float32", "int64", "bool"]
Meaning: TypeAlias = Literal["classes", "binary", "probability", "numbers", "own"]  # of a model's output

_CLASSES = 2**24  # more of them are no classes but numbers of something else
FEW = 64  # numbers compared with in each sample, up to which their means are kept

_ORDER: tuple[Type, ...] = ("bool", "int64", "float32")  # each holds what stands before it
_TORCH = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}


@final
class Fields(Processor):
    """Fields that are arrays, as tensors of one shape: floats of 32 bits, whole numbers of 64, truth values as such.

    Args:
        inputs: fields that the model gets, in this order.
        targets: fields that the loss compares with.
        meaning: of the model's output, which says what a target may be.
        criterion: says how much targets weigh.
    """

    def __init__(
        self,
        inputs: tuple[str, ...],
        targets: tuple[str, ...],
        meaning: Meaning,
        criterion: Criterion,
    ) -> None:
        self.inputs, self.targets, self.meaning = inputs, targets, meaning
        self.plain: dict[str, Plain] = {}
        self.classes = 0  # one more than the largest class number of the training records
        self.centre: list[float] = []  # the mean of each number that is compared with, where they are few
        self.counts: list[float] = []  # how often the training records have each class
        self._criterion = criterion

    def fit(self, records: Iterable[Record]) -> None:
        """Learn shapes and types. A bad record is told of as soon as it is read."""
        self._fit(records)
        self._criterion.learn(self.counts)

    def fit_blocks(self, blocks: Iterable[Mapping[str, Array]]) -> bool:
        """Shapes, types and classes of arrays; False where one holds what `fit` may have a word about."""
        columns = {name: Learning(name) for name in (*self.inputs, *self.targets)}
        truth, classes, counts, n = (*self.targets, *self.inputs)[0], 0, np.zeros(0, np.int64), 0
        total: Array | None = None
        for block in blocks:
            if not (columns.keys() <= block.keys() and all(c.meet_all(block[name]) for name, c in columns.items())):
                return False
            y = block[truth]
            n += len(y)
            if self.targets and not self._sound(y):
                return False
            if self.targets and self.meaning == "classes":
                if y.dtype.kind == "f" and math.prod(y.shape[1:]) > 1:  # shares of the classes, added one by one
                    return False
                more = np.bincount(y.astype(np.int64).ravel())
                counts = np.pad(counts, (0, max(0, len(more) - len(counts))))
                counts[: len(more)] += more
                classes = len(counts)
            if self.meaning == "numbers" and math.prod(y.shape[1:]) <= FEW:
                before = y[:0].astype(np.float64) if total is None else total[None]
                total = np.cumsum(np.concatenate([before, y.astype(np.float64)]), 0)[-1]  # in the order of `fit`
        if not n:
            return False
        self.classes, self.counts = classes, counts.astype(float).tolist()
        self._learned(columns, truth, np.zeros(()) if total is None else total / n)
        self._criterion.learn(self.counts)
        return True

    def encode_block(self, records: Mapping[str, Array]) -> dict[str, Tensor] | None:
        """Every field of many records, as `encode` gives them; None where one holds what that may have a word about."""
        sample = {}
        for name, plain in self.plain.items():
            if name not in records:
                if name in self.targets:
                    continue
                return None
            rows = records[name]
            if name in self.targets and not self._sound(rows, known=True):
                return None
            if (tensor := tensor_of_all(rows, plain)) is None:
                return None
            sample[name] = tensor
        return sample

    def learn(self, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """What `fit` learns, from one batch of a foreign loader: shapes and types; labels are not all known yet."""
        n = next(iter(inputs.values())).shape[0]
        self._fit({name: t[i] for name, t in (*inputs.items(), *targets.items())} for i in range(n))
        self.counts = []

    def columns(self) -> Mapping[str, Column]:
        """Every field, dense."""
        return {n: Column("dense", p.dtype, p.shape, target=n in self.targets) for n, p in self.plain.items()}

    def served(self, record: Record) -> Record:
        """Without the targets."""
        return {name: value for name, value in record.items() if name not in self.targets}

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
            if array.size == 1 == math.prod(plain.shape):  # one class in an array of its own
                array = array.reshape(plain.shape)
            sample[name] = tensor_of(array, plain, name, where)
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """The inputs in their order, and the targets, as they are."""
        targets = {n: rows.dense(n) for n in self.targets if n in rows.columns}
        alone = len(targets) == len(self.targets) == 1
        weight = self._criterion.weight(targets[self.targets[0]]) if alone else samples(rows.ids)
        return Batch({n: rows.dense(n) for n in self.inputs}, targets, weight, rows.ids, len(rows))

    def weigh(self, targets: Mapping[str, Tensor]) -> Tensor:
        """The weight of a batch (0-d) by its targets: the loss's own count for one, else the number of samples."""
        first = next(iter(targets.values()))
        return self._criterion.weight(first) if len(targets) == 1 else samples(first)

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
        return {"fields": plain, **own, "counts": list(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.plain = {n: Plain(p["type"], tuple(p["shape"])) for n, p in state["fields"].items()}
        self.meaning, self.classes, self.centre = state["meaning"], state["classes"], list(state["centre"])
        self.counts = list(state["counts"])
        if self.counts:
            self._criterion.learn(self.counts)

    def _fit(self, records: Iterable[Record]) -> None:
        columns = {name: Learning(name) for name in (*self.inputs, *self.targets)}
        truth = (*self.targets, *self.inputs)[0]
        self.classes, self.counts, n, total = 0, [], 0, np.zeros(())
        for n, record in enumerate(records, 1):
            where = f"training record {n - 1}"
            met = {name: column.meet(record, where) for name, column in columns.items()}
            y = met[truth]
            if self.targets:
                self._check(y, where)
                self.classes = max(self.classes, self._largest(y) + 1)
                self._tally(y)
            total = total + (y.astype(np.float64) if y.size <= FEW else 0.0)
        if not n:
            raise DataError("data", "the training part has no records", "give it a larger share")
        self._learned(columns, truth, total / n)

    def _learned(self, columns: Mapping[str, Learning], truth: str, mean: Array) -> None:
        self.plain = {name: self._kept(name, column.plain()) for name, column in columns.items()}
        few = self.meaning == "numbers" and math.prod(self.plain[truth].shape) <= FEW
        self.centre = np.ravel(mean).tolist() if few else []

    def _kept(self, name: str, plain: Plain) -> Plain:
        """The type a target is compared in; class numbers that stand in an array of one are taken out of it."""
        if name not in self.targets or self.meaning == "own":
            return plain
        if self.meaning != "classes":
            return Plain("float32", plain.shape)
        shape = () if math.prod(plain.shape) == 1 else plain.shape
        return Plain("float32" if plain.type == "float32" and shape else "int64", shape)

    def _check(self, y: Array, where: str, known: bool = False) -> None:
        """`DataError` for a target that the loss cannot compare with."""
        name = self.targets[0] if self.targets else ""
        if self.meaning in ("binary", "probability") and bool(((y < 0) | (y > 1)).any()):
            raise DataError(where, f"'{name}' is {y[(y < 0) | (y > 1)].flat[0]}", "a yes or no is 0 or 1")
        if self.meaning != "classes" or (y.dtype.kind == "f" and y.size > 1):  # probabilities of the classes
            return
        if y.dtype.kind == "f" and bool((y != np.round(y)).any()):
            what = f"'{name}' is {y.flat[0]}, but classes are whole numbers"
            raise DataError(where, what, "number the classes from 0, or use a loss for numbers such as 'mse'")
        for label in {int(v) for v in y[y < 0].flat} if bool((y < 0).any()) else ():
            if float(self._criterion.weight(torch.tensor([label]))) != 0:
                raise DataError(where, f"the class '{name}' is {label}", "number the classes from 0")
        if bool((y >= _CLASSES).any()):
            what = f"the class '{name}' is {y.max()}, and no network tells so many apart"
            raise DataError(where, what, "number the classes from 0, without gaps")
        if known and self._largest(y) >= self.classes:
            what = f"the class '{name}' is {self._largest(y)}, the training records have 0 to {self.classes - 1}"
            raise DataError(where, what, "correct it, or see that training has every class")

    def _sound(self, y: Array, known: bool = False) -> bool:
        """Whether `_check` surely says nothing of any row."""
        if not len(y):
            return False
        if self.meaning in ("binary", "probability"):
            return bool(((y >= 0) & (y <= 1)).all())
        if self.meaning != "classes" or (y.dtype.kind == "f" and math.prod(y.shape[1:]) > 1):
            return True
        whole = y.dtype.kind != "f" or bool((y == np.round(y)).all())
        most = self.classes if known else _CLASSES
        return whole and y.size > 0 and y.min() >= 0 and y.max() < min(most, _CLASSES)

    def _tally(self, y: Array) -> None:
        """Count the classes of a target, or add up their probabilities."""
        if self.meaning != "classes":
            return
        shares = y.dtype.kind == "f" and y.size > 1
        y = y.reshape(len(y), -1).sum(1) if shares else np.bincount(y[y >= 0].astype(np.int64).ravel())
        self.counts += [0.0] * (len(y) - len(self.counts))
        for i in np.flatnonzero(y):
            self.counts[i] += float(y[i])

    def _largest(self, y: Array) -> int:
        """The largest class number, or the last class of probabilities; -1 where there are none."""
        if self.meaning != "classes":
            return -1
        return int(y.shape[0] - 1 if y.dtype.kind == "f" and y.size > 1 else y.max(initial=-1))


@dataclass(frozen=True, slots=True)
class Plain:
    """One column: the type it is kept in and the shape of one record's part."""

    type: Type
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """As torch has it."""
        return _TORCH[self.type]


@final
class Learning:
    """A column while training records go by: one shape, and the narrowest type that holds them all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.type: Type = "bool"
        self.shape: tuple[int, ...] | None = None

    def meet(self, record: Record, where: str) -> Array:
        """The next record's part; `DataError` where its shape is another than the first one's."""
        array = read(record, self.name, where)
        if self.shape is None:
            self.shape = array.shape
        check_shape(array, self.shape, self.name, where, "the first record")
        self.type = max(self.type, type_of(array), key=_ORDER.index)
        return array

    def meet_all(self, rows: Array) -> bool:
        """The parts of many records; False where one of them must be looked at by itself."""
        if rows.dtype.kind == "f" and not np.isfinite(rows).all():
            return False
        if self.shape not in (None, rows.shape[1:]):
            return False
        self.shape = rows.shape[1:]
        self.type = max(self.type, type_of(rows), key=_ORDER.index)
        return True

    def plain(self) -> Plain:
        """What was learned."""
        return Plain(self.type, self.shape or ())


def read(record: Record, name: str, where: str) -> Array:
    """A field as an array of finite numbers or truth values; `DataError` otherwise."""
    if name not in record:
        raise DataError(where, f"the record has no field '{name}'", did_you_mean(name, record))
    value = record[name]
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty((), dtype=object)
    if array.dtype.kind not in "fiub":
        what = "has rows of different lengths" if array.shape == () and isinstance(value, list | tuple) else ""
        what = what or ("is missing" if value is None else f"is {type(value).__name__} {str(value)[:20]!r}, no numbers")
        raise DataError(where, f"'{name}' {what}", "give arrays of numbers, the same shape for every record")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = array[~np.isfinite(array)].flat[0]
        raise DataError(where, f"'{name}' holds {bad}", "fill it in, or leave the record out")
    return array


def type_of(array: Array) -> Type:
    """The type an array is kept in: floats of 32 bits, whole numbers of 64, truth values as they are."""
    return {"f": "float32", "b": "bool"}.get(array.dtype.kind, "int64")  # type: ignore[return-value]


def check_shape(array: Array, shape: tuple[int, ...], name: str, where: str, others: str) -> None:
    """`DataError` unless the array has the shape."""
    if array.shape != shape:
        what = f"'{name}' has the shape {array.shape}, but {others} has {shape}"
        raise DataError(where, what, "all records must have one shape; pad or cut them")


def tensor_of(array: Array, plain: Plain, name: str, where: str) -> Tensor:
    """An array in the column's type; `DataError` for what that type cannot hold."""
    check_shape(array, plain.shape, name, where, "every training record")
    if _ORDER.index(type_of(array)) > _ORDER.index(plain.type):
        held = {"bool": "truth values", "int64": "whole numbers", "float32": "numbers"}[plain.type]
        with np.errstate(invalid="ignore"):
            turned = array.astype(plain.type)
        if not np.array_equal(turned, array):
            what = f"'{name}' holds {array[turned != array].flat[0]}, but the training records hold {held}"
            raise DataError(where, what, "give one kind of number throughout")
        array = turned
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and bool((array > np.iinfo(np.int64).max).any()):
        raise DataError(where, f"'{name}' holds whole numbers beyond 64 bits", "give them as floats")
    with np.errstate(over="ignore"):
        array = np.array(array, dtype=plain.type)  # a copy: the store keeps what the caller may change
    if plain.type == "float32" and not np.isfinite(array).all():
        raise DataError(where, f"'{name}' holds a number beyond the range of float32", "rescale it")
    return torch.from_numpy(array)


def tensor_of_all(rows: Array, plain: Plain) -> Tensor | None:
    """Many records' arrays in the column's type, a copy; None where `tensor_of` may have a word about one of them."""
    if math.prod(rows.shape[1:]) == 1 == math.prod(plain.shape):
        rows = rows.reshape(len(rows), *plain.shape)
    beyond = rows.dtype.kind == "u" and rows.dtype.itemsize == 8
    if rows.shape[1:] != plain.shape or beyond or _ORDER.index(type_of(rows)) > _ORDER.index(plain.type):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.array(rows, dtype=plain.type)
    sound = plain.type != "float32" or bool(np.isfinite(rows).all())
    return torch.from_numpy(rows) if sound else None


def _single(x: Tensor) -> Tensor:
    """(N, 1) as (N,); anything else as it is."""
    return x.squeeze(1) if x.ndim == 2 and x.shape[1] == 1 else x
