"""Files that lie in their headers or nest without end, beside those of `hostile_files`."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from benchmarks.hostile_files import _written, hostile


def _safetensors(header: bytes | dict[str, Any], body: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


@hostile("safetensors with a header of 100 MB")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "header.safetensors", _safetensors(b"{" + b" " * (100 << 20) + b"}"))


@hostile("safetensors that declares a header of 2^63 bytes")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "size.safetensors", _safetensors({}, size=2**63))


@hostile("safetensors whose tensors overlap")
def _(place: Path, canary: Path) -> Path:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    return _written(place / "overlap.safetensors", _safetensors({"a": entry, "b": entry}, bytes(8)))


@hostile("safetensors with a shape of 2^63")
def _(place: Path, canary: Path) -> Path:
    entry = {"dtype": "F32", "shape": [2**63, 2**63], "data_offsets": [0, 8]}
    return _written(place / "shape.safetensors", _safetensors({"a": entry}, bytes(8)))


@hostile("safetensors with a name twice")
def _(place: Path, canary: Path) -> Path:
    entry = json.dumps({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]})
    text = f'{{"a": {entry}, "a": {entry.replace("0, 8", "8, 16")}}}'.encode()
    return _written(place / "twice.safetensors", _safetensors(text, bytes(16)))


@hostile("safetensors with a header nested 100,000 deep")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "deep.safetensors", _safetensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000))


@hostile("ONNX file whose weights lie outside")
def _(place: Path, canary: Path) -> Path:
    return _written(
        place / "outside.onnx", b"\x08\x07:" + bytes([60]) + b"location" + b"../../../../etc/passwd".ljust(52)
    )


@hostile("JSON lines nested 100,000 deep")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "deep.jsonl", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")


@hostile("JSON lines with a number of a million digits")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "digits.jsonl", b'{"a": ' + b"9" * 1_000_000 + b"}\n")
