"""A safetensors file as pieces of memory that are already there: nothing is copied while the interpreter is held.

The library's own `save` copies all tensors twice, and training stands still meanwhile. The format is theirs: eight
bytes with the length of a JSON header, the header, and the tensors one after another, those of wide numbers first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

_SMALL, _JOINED = 1 << 16, 1 << 20  # bytes: smaller pieces are joined until there are so many
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def pieces(tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """The content of a file with these tensors, in its order.

    Args:
        tensors: on the CPU, contiguous; they must not change until all was taken.
        about: texts about them, for the head of the file.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    if any(tensors[name].dtype not in _NAMES for name in names):  # rare ones, such as float8
        from safetensors.torch import save

        yield save(dict(tensors), dict(about) if about else None)
        return
    header: dict[str, object] = {"__metadata__": dict(about)} if about else {}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        kind, shape = _NAMES[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    yield from _joined(_bytes(tensors[name]) for name in names)


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    flat = tensor.reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


def _joined(parts: Iterator[memoryview]) -> Iterator[bytes | memoryview]:
    """Small pieces together, large ones alone: a system call each."""
    waiting = bytearray()
    for part in parts:
        if len(part) < _SMALL:
            waiting += part
        if waiting and (len(part) >= _SMALL or len(waiting) >= _JOINED):
            yield bytes(waiting)
            waiting.clear()
        if len(part) >= _SMALL:
            yield part
    if waiting:
        yield bytes(waiting)
