"""IDX: the format MNIST and its relatives come in, images and labels in files of their own."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.typing import NDArray

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import paths
from trainwright.data.fingerprint import digest
from trainwright.data.source import Source
from trainwright.data.unpacked import plausible

# The third byte of the magic number; http://yann.lecun.com/exdb/mnist (the page that defines the format)
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"(?:.*-)?(?P<part>train|t10k|test)-(?P<what>images|labels)[.-]idx[134]-ubyte(?:\.gz)?")
_PARTS = {"train": "train", "t10k": "test", "test": "test"}
_PIECE = 1 << 20  # bytes read at once: what a file declares is believed only as far as it delivers


@sources.add("idx")
@final
class Idx(Source):
    """MNIST's format: ``{"image": (H, W) or (H, W, C) uint8, "label": whole number}``.

    A folder with the classical names (train-images-idx3-ubyte, t10k-labels-idx1-ubyte, …, also with a dot before idx,
    also gzipped) gives the parts train and test; two named files give records without parts.

    Args:
        path: a folder with files of the classical names; a relative path is also looked up under $TRAINWRIGHT_DATA.
        images: a file of images, in place of path.
        labels: the file of their labels; left out, records have no label.

    Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", file formats.
    """

    def __init__(self, *, path: str | None = None, images: str | None = None, labels: str | None = None) -> None:
        if (path is None) == (images is None):
            raise UserError(
                "data", "an idx source needs either a folder or a file of images", "give path, or images and labels"
            )
        if path is not None and labels is not None:
            raise UserError("data.labels", "goes with images, not with path", "leave it out, or name images as well")
        if path is not None:
            self.files = _classical(paths.find(path, "data.path"))
        else:
            named = {"images": images, "labels": labels}
            self.files = {"": {k: paths.find(v, f"data.{k}") for k, v in named.items() if v is not None}}
        pieces = {part: _pair(files) for part, files in self.files.items()}
        self._images, self._labels = _joined(pieces, self.files)
        self._parts = _ranges({part: len(images) for part, (images, _) in pieces.items()})

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._images):
            raise IndexError(index)
        if self._labels is None:
            return {"image": self._images[index]}
        return {"image": self._images[index], "label": self._labels.item(index)}

    def fingerprint(self) -> str:
        """Of the pixels and labels, packed or not."""
        return digest("idx", self._images, self._labels, {k: [r.start, r.stop] for k, r in self._parts.items()})

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train and test where the folder has both."""
        return self._parts if len(self._parts) > 1 else {}

    def fields(self) -> Sequence[str]:
        """image and label."""
        return ["image"] if self._labels is None else ["image", "label"]

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record."""
        if field not in self.fields():
            raise DataError("idx", f"no field is named '{field}'", did_you_mean(field, self.fields()))
        if field == "image" or self._labels is None:
            return list(self._images)
        labels: list[Any] = self._labels.tolist()
        return labels

    def where(self, index: int) -> str:
        """``train-images-idx3-ubyte.gz, image 17``, from 0."""
        part, span = next((p, r) for p, r in self._parts.items() if index < r.stop)
        return f"{self.files[part]['images'].name}, image {index - span.start}"


def _classical(folder: Path) -> dict[str, dict[str, Path]]:
    """``{"train": {"images": …, "labels": …}, "test": …}``; an unpacked file is taken before its packed twin."""
    if not folder.is_dir():
        raise DataError("data.path", f"{folder} is a file", "name its folder, or write images = … and labels = …")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        files = found.setdefault(_PARTS[match["part"]], {})
        other = files.setdefault(match["what"], path)
        if other.name.removesuffix(".gz") != path.name.removesuffix(".gz"):
            instead = "write images = … and labels = … to choose"
            raise DataError("data.path", f"{folder} holds {other.name} and {path.name}", instead)
    if "train" not in found:
        names = ", ".join(p.name for p in sorted(folder.iterdir())[:8])
        what = f"{folder} has no train-images-idx3-ubyte[.gz]"
        raise DataError(
            "data.path", what, f"it holds {names or 'nothing'}; write images = … and labels = … for other names"
        )
    for part, files in found.items():
        for missing in {"images", "labels"} - set(files):
            raise DataError(
                "data.path", f"{folder} has no {missing} of the {part} part", "put the file beside the others"
            )
    return {part: found[part] for part in ("train", "test") if part in found}


def _pair(files: Mapping[str, Path]) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
    images = read(files["images"])
    if images.ndim not in (3, 4) or images.dtype != np.uint8 or 0 in images.shape:
        what = f"holds {images.dtype} numbers of shape {images.shape}, not images"
        raise DataError(files["images"].name, what, "images are bytes of shape (images, rows, columns)")
    if "labels" not in files:
        return images, None
    labels = read(files["labels"])
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        what = f"holds {labels.dtype} numbers of shape {labels.shape}, not labels"
        raise DataError(files["labels"].name, what, "labels are whole numbers of shape (images,)")
    if len(labels) != len(images):
        what = f"{len(labels)} labels for {len(images)} images of {files['images'].name}"
        raise DataError(files["labels"].name, what, "take both files from the same data set")
    return images, labels


def _joined(
    pieces: Mapping[str, tuple[NDArray[np.uint8], NDArray[Any] | None]], files: Mapping[str, Mapping[str, Path]]
) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
    first, *others = pieces
    for part in others:
        a, b = pieces[first][0].shape[1:], pieces[part][0].shape[1:]
        if a != b:
            name = files[part]["images"].name
            raise DataError(
                name, f"its images are {b}, those of the {first} part {a}", "take both from the same data set"
            )
    images = np.concatenate([i for i, _ in pieces.values()]) if others else pieces[first][0]
    labels = [x for _, x in pieces.values() if x is not None]
    return images, np.concatenate(labels) if labels else None


def _ranges(sizes: Mapping[str, int]) -> dict[str, range]:
    out: dict[str, range] = {}
    start = 0
    for part, size in sizes.items():
        out[part] = range(start, start + size)
        start += size
    return out


def read(path: Path) -> NDArray[Any]:
    """One IDX file, gzipped or not, in the machine's byte order; `DataError` unless it is whole."""
    try:
        with path.open("rb") as packed, gzip.open(packed) if path.suffix == ".gz" else packed as file:
            return _array(file, path.name, packed.tell)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(path.name, f"cannot be read ({error})", "get the file again") from None


def _array(file: IO[bytes] | gzip.GzipFile, name: str, taken: Callable[[], int]) -> NDArray[Any]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 4:
        raise DataError(name, f"not an IDX file (it begins with {magic.hex(' ') or 'nothing'})", "check the path")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(name, "the file ends within its header", "get the file again")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    kind = np.dtype(_TYPES[magic[2]])
    data = _exactly(file, prod(shape) * kind.itemsize, name, taken)
    array = np.frombuffer(data, kind).reshape(shape)
    return array.astype(kind.newbyteorder("="), copy=False)


def _exactly(file: IO[bytes] | gzip.GzipFile, size: int, name: str, taken: Callable[[], int]) -> bytearray:
    data = bytearray()
    while len(data) < size and (piece := file.read(min(_PIECE, size - len(data)))):
        data += piece
        plausible(len(data), taken(), name)
    if len(data) < size:
        raise DataError(name, f"truncated: {len(data)} of {size} bytes are there", "get the file again")
    if file.read(1):
        raise DataError(name, f"longer than the {size} bytes its header declares", "get the file again")
    return data
