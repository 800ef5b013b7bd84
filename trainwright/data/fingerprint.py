"""A short name for data by its content: the same bytes and options, the same digest, on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, file_digest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainwright.core.errors import DataError

_BYTES = 16  # 128 bits: two different data sets never meet
_READERS = 8  # threads that read files; hashing releases the interpreter


def digest(*values: object) -> str:
    """Hex digest of plain values, arrays, tensors and files (a `Path` stands for the file's content), in any nesting.

    The order of a mapping's keys does not matter. TypeError for anything else.
    """
    state = blake2b(digest_size=_BYTES)
    for value in values:
        _add(state, value)
    return state.hexdigest()


def digests(files: Iterable[Path]) -> list[str]:
    """The content of many files, one hex digest each, read by several threads; "" for one that cannot be read.

    Whoever reads the record of such a file is told then, and may be allowed to pass over it.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(_file_or_none, files))


def _file_or_none(path: Path) -> str:
    try:
        return _file(path)
    except DataError:
        return ""


def _file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, lambda: blake2b(digest_size=_BYTES)).hexdigest()
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "check the file and its permissions") from None


def _add(state: blake2b, value: object) -> None:
    """Every value is led by its type and length, so that no two nestings write the same bytes."""
    match value:
        case None | bool() | int() | float():
            _write(state, type(value).__name__, repr(value).encode())
        case str():
            _write(state, "str", value.encode("utf-8", "surrogatepass"))
        case bytes() | bytearray() | memoryview():
            _write(state, "bytes", value)
        case Path():
            _write(state, "file", _file(value).encode())
        case Tensor():
            flat = value.detach().cpu().contiguous().reshape(-1)
            _write(state, f"tensor {value.dtype} {tuple(value.shape)}", flat.view(torch.uint8).numpy().data)
        case np.ndarray():
            _write(
                state, f"array {value.dtype.str} {value.shape}", np.ascontiguousarray(value).reshape(-1).view("u1").data
            )
        case np.generic():
            _add(state, value.item())
        case Mapping():
            _write(state, "mapping", str(len(value)).encode())
            for key in sorted(value, key=str):
                _add(state, key)
                _add(state, value[key])
        case Sequence():
            _write(state, "sequence", str(len(value)).encode())
            for item in value:
                _add(state, item)
        case _:
            raise TypeError(f"{type(value).__name__} has no fingerprint")


def _write(state: blake2b, kind: str, data: bytes | bytearray | memoryview) -> None:
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    state.update(f"\x1e{kind}\x1f{size}\x1f".encode())
    state.update(data)
