"""Arrays of a person's own as columns: each with one shape and one type, learned from the training records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.task import Record

Array: TypeAlias = NDArray[Any]
Type: TypeAlias = Literal["float32", "int64", "bool"]

_ORDER: tuple[Type, ...] = ("bool", "int64", "float32")  # each holds what stands before it
_TORCH = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}


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
        what = "has rows of different lengths" if isinstance(value, list | tuple) else f"is {_said(value)}, no numbers"
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


def _said(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__} {str(value)[:20]!r}"
