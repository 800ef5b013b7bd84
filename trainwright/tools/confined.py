"""The confined side of `trainwright import`: unpickles weights, and nothing but weights, and writes them plainly.

It is started by `trainwright.tools.convert` as a process of its own, with an empty environment, and is given three open
files: the foreign file, the new file, and a pipe for what it has to tell. Before a byte of the foreign file is
unpickled the process is closed in (see `trainwright.tools.jail`). The reader is torch's own with ``weights_only=True``,
which builds tensors and plain values; there is no other way of reading behind it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple

from trainwright.tools.jail import confine

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_ROOM = 128 << 20  # bytes of memory beside twice the file
_DEEPEST = 20  # mappings within mappings
_MOST = 100_000  # tensors, and values beside them
_PIECE = 8 << 20
_LATE = range(0x8C, 0x99)  # operands that came with pickle's protocols 4 and 5 (Lib/pickletools.py)
_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip


class RefusedError(Exception):
    """What is wrong with the file, and what to do."""

    def __init__(self, what: str, instead: str = "") -> None:
        super().__init__(what)
        self.what, self.instead = what, instead


class Inert:
    """Stands for an object whose class the person asked to leave out: it holds nothing and does nothing."""

    def __new__(cls, *given: Any, **named: Any) -> Inert:
        """Whatever it was made of is forgotten."""
        return super().__new__(cls)

    def __init__(self, *given: Any, **named: Any) -> None:
        """See `__new__`."""

    def __setstate__(self, state: Any) -> None:
        """Forgotten as well."""


def main(arguments: Sequence[str]) -> None:
    """Convert: the numbers of the three open files, the size of the first, seconds, and the wishes as JSON."""
    source, target, report, size, seconds = map(int, arguments[:5])
    wishes = json.loads(arguments[5])
    try:
        reader, file = _warmed(), os.fdopen(source, "rb")
        fences = confine(report, memory=2 * size + _ROOM, seconds=seconds, output=2 * size + _ROOM)
        told = {**_converted(reader, file, target, size, wishes), "fences": fences}
    except RefusedError as refused:
        told = {"refused": refused.what, "instead": refused.instead}
    except MemoryError:
        told = {"refused": "needs far more memory than its size allows", "instead": "a sound file does not"}
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        told = {"full" if full else "refused": error.strerror or f"cannot be read ({error})"}
    except Exception as error:
        told = {"refused": f"cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:300]})"}
    data = json.dumps(told).encode()
    while data:
        data = data[os.write(report, data) :]
    os._exit(0)  # nothing of the file's is tidied up, since that would be one more chance


class Reader(NamedTuple):
    """torch's, and what it says of a file without reading it: the names in it that it does not know."""

    read: Callable[[IO[bytes], Sequence[str]], Any]
    strangers: Callable[[IO[bytes]], list[str]]


def _warmed() -> Reader:
    """torch's reader, with all that it loads on first use: afterwards nothing more can be imported."""
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # to show one, Python opens the source it comes from; torch warns of protocol 4
    samples = (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16), torch.eye(2).to_sparse())

    def read(file: IO[bytes], inert: Sequence[str]) -> Any:
        with safe_globals([(Inert, name) for name in inert]):
            return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251 - closed in, see `main`

    def strangers(file: IO[bytes]) -> list[str]:
        return list(get_unsafe_globals_in_checkpoint(file))

    for new in (True, False):
        memory = io.BytesIO()
        content = {"a": samples, "p": torch.nn.Parameter(samples[0]), "o": complex}
        torch.save(content, memory, _use_new_zipfile_serialization=new)  # noqa: TID251 - our own, in memory
        for data in (memory.getvalue(), memory.getvalue()[:-40], b"", b"PK\x03\x04", b"\x80\x02cos\nsystem\n."):
            for act in (lambda file: read(file, ["builtins.complex"]), lambda file: read(file, []), strangers):
                with suppress(Exception):  # the ways of failing load modules as well
                    act(io.BytesIO(data))
    list(_bytes(torch.zeros(2)))
    torch.quantize_per_tensor(samples[0], 0.1, 0, torch.qint8).dequantize()
    json.dumps({"a": [1.5, "ü"]})
    return Reader(read, strangers)


def _converted(reader: Reader, file: IO[bytes], target: int, size: int, wishes: Mapping[str, Any]) -> dict[str, Any]:
    content = _read(reader, file, wishes["leave_out"])
    notes: list[str] = []
    found = _chosen(content, wishes["key"], notes)
    tensors = _plain(found, size, notes)
    _write(tensors, target)
    rows = [[name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in tensors.items()]
    return {"tensors": rows, "notes": notes}


def _read(reader: Reader, file: IO[bytes], inert: Sequence[str]) -> Any:
    """What torch makes of the file; `RefusedError` in words where it cannot or must not."""
    start = file.read(512)
    if what := _other_kind(start):
        raise RefusedError(*what)
    try:
        file.seek(0)
        return reader.read(file, inert)
    except MemoryError:
        raise
    except Exception as error:
        text, kind = " ".join(str(error).split()), type(error).__name__
        if "allocate" in text.lower() or "std::bad_alloc" in text:
            raise MemoryError from None
    names = []
    if "GLOBAL" in text:
        with suppress(Exception):
            file.seek(0)
            names = [name for name in reader.strangers(file) if name not in inert]
    raise RefusedError(*_reason(text, kind, names))


def _other_kind(start: bytes) -> tuple[str, str] | None:
    """What it is instead of a torch file, and what to do."""
    if not start:
        return "is empty", "name a file of weights"
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        return "is an HDF5 file, as Keras writes", "open the model in Keras, and train it with tw.fit"
    if start[:4] == b"GGUF":
        return "is a GGUF file", "take the original weights"
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 30:
        return "is a .safetensors file already", "name it in init_from as it is"
    if start[:4] != b"PK\x03\x04" and start[:1] != b"\x80" and start[257:262] != b"ustar":
        return "is no file of torch.save", "name a .pt, .pth, .bin or .ckpt file"
    return None


def _reason(text: str, kind: str, names: Sequence[str]) -> tuple[str, str]:
    """torch's message in our words; ``names`` are the classes and functions in the file that it does not know."""
    if named := re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", text):
        names = list(names) or [named.group(1)]
        what = f"holds objects of {_listed(names)}, which only code could build, and no code of a file is ever run here"
        if "is blocked" in text:
            return what, "take the weights from somewhere else: this file was made to run a program"
        return what, f"to take its tensors without them: {' '.join(f'--leave-out {name}' for name in names[:6])}"
    if "TorchScript" in text:
        return "is a TorchScript archive: a program, not weights", "save its state_dict() with torch.save"
    if ".tar" in text:
        return "is in torch's oldest format (.tar, before 2017), which is not read", "save it anew with a newer torch"
    if "PytorchStreamReader" in text or "zip" in text or "central directory" in text:
        return "is damaged: not a whole zip archive of torch.save", "take a sound copy"
    operand = re.search(r"Unsupported operand (\d+)", text)
    if operand and int(operand.group(1)) in _LATE:
        what = "is pickled in protocol 4 or later, which torch does not use and its reader for weights only cannot read"
        return what, "save its state_dict() with torch.save, without pickle_protocol"
    if "Unsupported operand" in text or "Unsupported class" in text or "Weights only load failed" in text:
        short = text.split("WeightsUnpickler error:")[-1].split("Please file")[0].split("Check the doc")[0].strip()
        what = f"holds more than tensors and plain values ({short[:160]}), and nothing in a file is ever run here"
        return what, "save its state_dict() alone"
    return f"cannot be read ({kind}: {text[:200]})", "save its state_dict() with torch.save"


def _chosen(content: Any, key: str | None, notes: list[str]) -> dict[str, Any]:
    """The state dict within whatever stands around it, flat."""
    import torch

    if isinstance(content, torch.Tensor):
        return {"tensor": content}
    if not isinstance(content, Mapping):
        raise RefusedError(f"holds a {type(content).__name__}, no table of tensors", "save its state_dict()")
    if key is not None:
        content = _under(content, key)
    else:
        for _ in range(_DEEPEST):
            name = next((w for w in WRAPPERS if isinstance(content.get(w), Mapping) and _any(content[w])), None)
            if name is None or any(isinstance(v, torch.Tensor) for v in content.values()):
                break
            others = [str(k) for k in content if k != name]
            notes.append(f"taken from '{name}'" + (f"; left out: {_listed(others)}" if others else ""))
            content = content[name]
    if set(content) == {"state", "param_groups"}:
        raise RefusedError("holds the state of an optimizer, no weights", "name the file of the model")
    flat = dict(_flat(content, "", 0, notes, set()))
    if not flat:
        raise RefusedError("holds no tensors", "save a model's state_dict() with torch.save")
    return _unprefixed(flat, notes)


def _any(value: Any) -> bool:
    """Whether a mapping has a tensor, at most two levels down."""
    import torch

    inner = list(value.values())[:1000]
    more = [v for m in inner if isinstance(m, Mapping) for v in list(m.values())[:1000]]
    return any(isinstance(v, torch.Tensor) for v in (*inner, *more))


def _under(content: Mapping[Any, Any], key: str) -> Mapping[Any, Any]:
    here: Any = content
    for part in [key] if key in content else key.split("."):
        if not isinstance(here, Mapping) or part not in here:
            there = _listed(map(str, here)) if isinstance(here, Mapping) else type(here).__name__
            raise RefusedError(f"has nothing under '{key}'", f"there is: {there}")
        here = here[part]
    if not isinstance(here, Mapping):
        raise RefusedError(f"has a {type(here).__name__} under '{key}'", "name what holds the tensors")
    return here


def _flat(value: Mapping[Any, Any], before: str, depth: int, notes: list[str], seen: set[int]) -> Iterator[Any]:
    """(dotted name, tensor) of a table of tables; notes say what is no tensor."""
    import torch

    if depth > _DEEPEST or id(value) in seen or len(seen) > _MOST:
        raise RefusedError("holds tables within tables without end", "save a model's state_dict() with torch.save")
    seen.add(id(value))
    others = []
    for key, inner in value.items():
        name = f"{before}{key}"
        if not isinstance(key, str | int) or len(name) > 1000:
            raise RefusedError(f"has a {type(key).__name__} or a very long text for a name", "save its state_dict()")
        if isinstance(inner, torch.Tensor):
            yield name, inner
        elif isinstance(inner, Mapping):
            yield from _flat(inner, name + ".", depth + 1, notes, seen)
        else:
            others.append(f"{name} ({type(inner).__name__})")
    if others:
        notes.append(f"left out, since no tensors: {_listed(others)}")


def _unprefixed(flat: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Names without what wrappers of modules put before all of them."""
    if len(flat) > _MOST:
        raise RefusedError(f"holds more than {_MOST:,} tensors", "no model has so many")
    while before := next((p for p in PREFIXES if all(n.startswith(p) and n != p for n in flat)), None):
        flat = {name.removeprefix(before): x for name, x in flat.items()}
        notes.append(f"'{before}' before every name is left out")
    first = next(iter(flat)).partition(".")[0] + "."
    if len(flat) > 1 and all(name.startswith(first) for name in flat):
        notes.append(f'every name begins with \'{first}\'; where the model\'s do not: map = {{ "{first}" = "" }}')
    return flat


def _plain(found: Mapping[str, Any], size: int, notes: list[str]) -> dict[str, Any]:
    """Dense tensors of types that safetensors knows, not more bytes of them than the file can mean."""
    import torch

    total, out, left = 0, {}, []
    for name, x in found.items():
        total += x.numel() * x.element_size() if x.layout == torch.strided else x._nnz()
        if total > 2 * size + _ROOM // 2:
            what = f"unfolds to {total:,} bytes or more, from {size:,}"
            raise RefusedError(what, "save it anew, each tensor with .contiguous().clone()")
        if x.is_quantized:
            notes.append(f"{name} was quantized, and is float32")
            x = x.dequantize()
        if x.layout != torch.strided:
            if x.numel() * x.element_size() > 2 * size + _ROOM // 2:
                raise RefusedError(f"{name} is sparse and too large to be written out", "leave it out of the file")
            notes.append(f"{name} was sparse, and is dense")
            x = x.to_dense()
        if x.device.type != "cpu":
            raise RefusedError(f"{name} has no values (device {x.device.type})", "save the model after loading it")
        if str(x.dtype).removeprefix("torch.") in _NAMES:
            out[name] = x.detach().resolve_conj().resolve_neg()
        else:
            left.append(f"{name} ({x.dtype})")
    if left:
        notes.append(f"left out, since safetensors has no such type: {_listed(left)}")
    if not out:
        raise RefusedError("holds no tensors that can be written", "save a model's state_dict() with torch.save")
    return out


def _write(tensors: Mapping[str, Any], target: int) -> None:
    """The safetensors format: the length of a header, the header as JSON, the bytes of all tensors end to end."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, x in tensors.items():
        end = start + x.numel() * x.element_size()
        kind = _NAMES[str(x.dtype).removeprefix("torch.")]
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    for piece in (len(text).to_bytes(8, "little"), text, *(p for x in tensors.values() for p in _bytes(x))):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view[:_PIECE]) :]


def _bytes(x: Any) -> Iterator[Any]:
    """A tensor's values in their order, as bytes."""
    import torch

    flat = x.contiguous().reshape(-1)
    if flat.numel():
        yield memoryview(flat.view(torch.uint8).numpy().data)


def _listed(names: Any) -> str:
    shown = [str(n)[:80] for n in names]
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")


if __name__ == "__main__":
    main(sys.argv[1:])
