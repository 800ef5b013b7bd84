"""NPZ: arrays that NumPy saved under names, such as x_train, y_train, x_test, y_test."""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import paths
from trainwright.data.fingerprint import digest
from trainwright.data.source import Source
from trainwright.data.unpacked import plausible

Array: TypeAlias = NDArray[Any]
_PAIRS = (("x", "y"), ("images", "labels"), ("data", "target"), ("features", "labels"))  # names that go without saying
_PART = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid", "test": "test"}


@sources.add("npz")
@final
class Npz(Source):
    """Arrays in one .npz file; dim 0 is the record.

    Names are matched without regard to case: x_train, y_train, x_test, y_test (also x_valid, x_val) give parts, x and
    y alone do not; train_images, test_labels and the like are found as well. What a record holds depends on the array:

    - bytes (uint8) of 3 or 4 dimensions are images: ``{"image": (H, W) or (H, W, C) uint8, "label": …}``; channels
      that come first, (N, C, H, W) with 1, 3 or 4 of them, are moved last.
    - anything else is numbers: ``{"x": one row, "y": …}``, or with rows = "columns" one field per column of the table:
      ``{"x_1": …, "x_2": …, "y": …}``, named by an array ``feature_names`` where the file has one.

    A label is a Python number or text; where the file has an array ``class_names``, whole numbers become those names.
    Objects (pickled) are not read.

    Args:
        path: the file; a relative path is also looked up under $TRAINWRIGHT_DATA.
        x: name of the inputs, without train or test; found by itself when left out.
        y: name of the labels, likewise; when only x is given, records have no label.
        rows: whether a row of a two-dimensional array is one field or one field per column.
    """

    def __init__(
        self, *, path: str, x: str | None = None, y: str | None = None, rows: Literal["vector", "columns"] = "vector"
    ) -> None:
        self.path = paths.find(path, "data.path")
        arrays = _arrays(self.path)
        self._pieces = _chosen(arrays, x, y, self.path.name)
        first = next(iter(self._pieces.values()))[0]
        self._image = first.dtype == np.uint8 and first.ndim in (3, 4)
        self._x = _stacked({p: x for p, (x, _) in self._pieces.items()}, self.path.name)
        labels = {p: y for p, (_, y) in self._pieces.items() if y is not None}
        self._y = (
            _labels(_stacked(labels, self.path.name), arrays.get("class_names"), self.path.name) if labels else None
        )
        if self._image:
            self._x = _channels_last(self._x)
        self._columns = _names(self._x, arrays.get("feature_names"), self.path.name) if rows == "columns" else None
        self._options = (x, y, rows)

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._x):
            raise IndexError(index)
        row = self._x[index]
        record: dict[str, Any] = {"image" if self._image else "x": row if row.ndim else row.item()}
        if self._columns is not None:
            record = dict(zip(self._columns, row.tolist(), strict=True))
        if self._y is not None:
            record[self._label] = self._y[index]
        return record

    def fingerprint(self) -> str:
        """Of the file's content and every option."""
        return digest("npz", self.path, self._options)

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train, valid and test, as far as the file has arrays of their own for them."""
        if len(self._pieces) < 2:
            return {}
        out: dict[str, range] = {}
        start = 0
        for part, (x, _) in self._pieces.items():
            out[part] = range(start, start + len(x))
            start += len(x)
        return out

    def fields(self) -> Sequence[str]:
        """image and label; x and y; or the columns and y."""
        inputs = self._columns if self._columns is not None else ["image" if self._image else "x"]
        return [*inputs, self._label] if self._y is not None else list(inputs)

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record."""
        if field not in self.fields():
            raise DataError(self.path.name, f"no field is named '{field}'", did_you_mean(field, self.fields()))
        if field == self._label and self._y is not None:
            return list(self._y)
        column = self._x if self._columns is None else self._x[:, self._columns.index(field)]
        return list(column) if column.ndim > 1 else column.tolist()

    def where(self, index: int) -> str:
        """``cifar10.npz, row 17 of train``, from 0."""
        for part, span in self.parts().items():
            if index <= span[-1]:
                return f"{self.path.name}, row {index - span[0]} of {part}"
        return f"{self.path.name}, row {index}"

    @property
    def _label(self) -> str:
        return "label" if self._image else "y"


def _arrays(path: Path) -> dict[str, Array]:
    """Every array of the file by its name in small letters."""
    if not path.is_file():
        raise DataError("data.path", f"{path} is a folder", "name one .npz file")
    if not zipfile.is_zipfile(path):
        raise DataError(path.name, "not an NPZ file", "save arrays with np.savez(path, x=…, y=…)")
    try:
        with zipfile.ZipFile(path) as archive:
            plausible(sum(entry.file_size for entry in archive.infolist()), path.stat().st_size, path.name)
        with np.load(path, allow_pickle=False) as file:
            return {name.lower(): _legible(np.asarray(file[name])) for name in file.files}
    except DataError:
        raise
    except (
        Exception
    ) as error:  # NumPy reads the head of an array as Python's own text, and meets a bad one in many ways
        what = "holds objects, which only unpickling reads" if "pickle" in str(error) else f"cannot be read ({error})"
        raise DataError(path.name, what, "save arrays of numbers or text with np.savez(path, x=…, y=…)") from None


def _legible(array: Array) -> Array:
    """The same; ValueError for text with numbers that are no characters, which Python cannot even show."""
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        number = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
        if np.ascontiguousarray(array).reshape(-1).view(number).max() > sys.maxunicode:
            raise ValueError("its text holds numbers that are no characters")
    return array


def _chosen(
    arrays: Mapping[str, Array], x: str | None, y: str | None, name: str
) -> dict[str, tuple[Array, Array | None]]:
    """Inputs and labels by part; the single part of a file without parts is named ""."""
    if x is None and y is not None:
        raise DataError("data.y", "names the labels but x does not name the inputs", "name both")
    pairs = [(x.lower(), y.lower() if y else None)] if x is not None else list(_PAIRS)
    for inputs, labels in pairs:
        found = _by_part(arrays, inputs)
        if not found:
            continue
        targets = _by_part(arrays, labels) if labels else {}
        if targets or not labels or x is None:
            return {part: (found[part], _beside(found, targets, part, labels, name)) for part in found}
        raise DataError("data.y", f"{name} has no array '{y}'", did_you_mean(labels, arrays))
    held = ", ".join(f"{k} {v.shape}" for k, v in arrays.items()) or "nothing"
    if x is not None:
        raise DataError("data.x", f"{name} has no array '{x}'", f"it holds {held}")
    raise DataError(name, f"no x and y among its arrays ({held})", "write x = … and y = … to name them")


def _by_part(arrays: Mapping[str, Array], base: str) -> dict[str, Array]:
    if base in arrays:
        return {"": arrays[base]}
    words = "|".join(_PART)
    pattern = re.compile(rf"{re.escape(base)}_?(?P<end>{words})|(?P<begin>{words})_?{re.escape(base)}")
    found = {_PART[m["end"] or m["begin"]]: a for k, a in arrays.items() if (m := pattern.fullmatch(k))}
    return {part: found[part] for part in ("train", "valid", "test") if part in found}


def _beside(
    inputs: Mapping[str, Array], labels: Mapping[str, Array], part: str, label: str | None, name: str
) -> Array | None:
    """The labels of one part, as many as inputs."""
    x = inputs[part]
    if x.ndim == 0 or not len(x):
        raise DataError(name, f"the inputs of {part or 'the file'} are empty", "save one row per record")
    if not labels:
        return None
    if part not in labels:
        raise DataError(name, f"{part or 'the inputs'} have no '{label}'", "save labels for every part, or for none")
    y = labels[part]
    if y.ndim == 0 or len(y) != len(x):
        what = f"{len(x)} inputs and {y.shape[0] if y.ndim else 1} labels" + (f" in {part}" if part else "")
        raise DataError(name, what, "save one label per input")
    return y


def _stacked(arrays: Mapping[str, Array], name: str) -> Array:
    """All parts end to end."""
    shapes = {a.shape[1:] for a in arrays.values()}
    if len(shapes) > 1:
        told = ", ".join(f"{p} {a.shape}" for p, a in arrays.items())
        raise DataError(name, f"the parts do not fit together: {told}", "save rows of one shape")
    for part, array in arrays.items():
        if array.dtype.kind not in "biufUS":
            raise DataError(name, f"{part or 'an array'} is of type {array.dtype}", "save numbers or text")
    values = list(arrays.values())
    return np.concatenate(values) if len(values) > 1 else values[0]


def _channels_last(images: Array) -> Array:
    """(N, C, H, W) -> (N, H, W, C) where dim 1 and not dim 3 looks like channels."""
    if images.ndim == 4 and images.shape[3] not in (1, 3, 4) and images.shape[1] in (1, 3, 4):
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    return images


def _labels(y: Array, names: Array | None, name: str) -> list[Any]:
    """One Python value per record, or one row where labels have several numbers."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim > 1:
        return list(y)
    if names is None or y.dtype.kind not in "iu":
        plain: list[Any] = y.tolist()
        return plain
    words = [str(n) for n in names.reshape(-1).tolist()]
    if y.min() < 0 or y.max() >= len(words):
        what = f"labels run from {y.min()} to {y.max()}, but class_names has {len(words)}"
        raise DataError(name, what, "save one name per class")
    return [words[i] for i in y.tolist()]


def _names(x: Array, names: Array | None, name: str) -> list[str]:
    if x.ndim != 2:
        raise DataError(
            "data.rows", f"{name} holds inputs of shape {x.shape}, no table", 'leave rows out, or write "vector"'
        )
    if names is None:
        return [f"x_{i}" for i in range(1, x.shape[1] + 1)]
    words = [str(n) for n in names.reshape(-1).tolist()]
    if not len(words) == len(set(words)) == x.shape[1] or "y" in words:
        raise DataError(name, f"{x.shape[1]} columns need as many different feature_names", "save one name per column")
    return words
