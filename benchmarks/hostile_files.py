"""Files that somebody made to do harm when they are opened: what each is, and how it is written."""

from __future__ import annotations

import gzip
import io
import json
import pickle  # noqa: TID251 - what attackers write
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

Make = Callable[[Path, Path], Path]  # (folder, canary) -> the file; whatever runs makes the canary


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file, folder or recipe.

    Args:
        name: says what it tries.
        make: writes it.
        kind: "file" for any door that takes a file, "recipe" for a recipe, "run" for a change of a run folder.
        runs: whether an unsafe reader runs a program of it: the control.
        harmless: doors that may take it, since what is hostile in it is text to them.
    """

    name: str
    make: Make
    kind: str = "file"
    runs: bool = False
    harmless: tuple[str, ...] = ()


FILES: list[Hostile] = []


def hostile(
    name: str, kind: str = "file", runs: bool = False, harmless: tuple[str, ...] = ()
) -> Callable[[Make], Make]:
    """Add to `FILES`."""

    def keep(make: Make) -> Make:
        FILES.append(Hostile(name, make, kind, runs, harmless))
        return make

    return keep


class _Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *given: Any, state: Any = None) -> None:
        self.call = (function, given) if state is None else (function, given, state)

    def __reduce__(self) -> Any:
        return self.call


def _touch(canary: Path) -> _Call:
    return _Call(exec, f"open({str(canary)!r}, 'w').close()")


def _pickled(canary: Path) -> bytes:
    return pickle.dumps(_touch(canary))


def _saved(content: Any, path: Path, new: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=new)  # noqa: TID251 - what attackers write
    return path


def _written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


WEIGHTS = {"w": torch.zeros(2)}


@hostile("torch file that calls exec", runs=True)
def _(place: Path, canary: Path) -> Path:
    return _saved({**WEIGHTS, "x": _touch(canary)}, place / "exec.pt")


@hostile("torch file of the old format that calls exec", runs=True)
def _(place: Path, canary: Path) -> Path:
    return _saved({**WEIGHTS, "x": _touch(canary)}, place / "old.pth", new=False)


@hostile("torch file that calls os.system", runs=True)
def _(place: Path, canary: Path) -> Path:
    import os

    return _saved([_Call(os.system, f"touch {canary}")], place / "system.bin")


@hostile("torch file that calls eval deep within a state dict", runs=True)
def _(place: Path, canary: Path) -> Path:
    deep: Any = _Call(eval, f"open({str(canary)!r}, 'w').close()")
    for _ in range(30):
        deep = {"a": [WEIGHTS["w"], (deep,)]}
    return _saved({"state_dict": {**WEIGHTS, "deep": deep}}, place / "nested.ckpt")


@hostile("torch file that starts a process", runs=True)
def _(place: Path, canary: Path) -> Path:
    import subprocess

    return _saved({"model": WEIGHTS, "p": _Call(subprocess.check_call, ["touch", str(canary)])}, place / "popen.pt")


@hostile("torch file that hands a dict to a class of its own", runs=True)
def _(place: Path, canary: Path) -> Path:
    from functools import partial

    call = partial(exec, f"open({str(canary)!r}, 'w').close()")
    return _saved(
        {**WEIGHTS, "x": _Call(map, call, [{}])} | {"y": _Call(list, _Call(map, call, [{}]))}, place / "map.pt"
    )


@hostile("Lightning checkpoint with an _instantiator", harmless=("import",))
def _(place: Path, canary: Path) -> Path:
    code = {"_instantiator": "os.system", "_class_path": "os.system", "command": f"touch {canary}"}
    content = {"state_dict": WEIGHTS, "hyper_parameters": code, "pytorch-lightning_version": "2.5.0"}
    return _saved({**content, "callbacks": {"x": code}}, place / "instantiator.ckpt")


@hostile("bare pickle of protocol 2", runs=True)
def _(place: Path, canary: Path) -> Path:
    return _written(place / "two.pkl", pickle.dumps(_touch(canary), 2))


@hostile("bare pickle of protocol 5", runs=True)
def _(place: Path, canary: Path) -> Path:
    return _written(place / "five.pt", pickle.dumps({"w": _touch(canary)}, 5))


@hostile("pickle written by hand, with a global of two dots", runs=True)
def _(place: Path, canary: Path) -> Path:
    text = f"open({str(canary)!r}, 'w').close()"
    return _written(
        place / "hand.bin", b"\x80\x02c__builtin__\nexec\n(X" + struct.pack("<I", len(text)) + text.encode() + b"tR."
    )


@hostile("pickle that says it is a table", runs=True)
def _(place: Path, canary: Path) -> Path:
    return _written(place / "table.csv", _pickled(canary))


@hostile("pickle that says it is a picture", runs=True)
def _(place: Path, canary: Path) -> Path:
    return _written(place / "photo.png", _pickled(canary))


@hostile("pickle that grows without end")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "laughs.pt", b"\x80\x02]q\x00" + b"(h\x00h\x00e0" * 50 + b"X\xff\xff\xff\x7f" + b"." * 9)


@hostile("torch file whose tensor reaches out of its storage")
def _(place: Path, canary: Path) -> Path:
    path = _saved(WEIGHTS, place / "reach.pt")
    return _patched(path, "data.pkl", lambda data: data.replace(b"K\x02\x85", b"J\xff\xff\xff\x7f\x85", 1))


@hostile("torch file whose one number is spread over terabytes")
def _(place: Path, canary: Path) -> Path:
    return _saved({"w": torch.ones(1).expand(1 << 20, 1 << 20)}, place / "spread.pt")


@hostile("torch file packed so that it unfolds without end")
def _(place: Path, canary: Path) -> Path:
    path = place / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x/data.pkl", "w", force_zip64=True) as entry:
            for _ in range(500):
                entry.write(bytes(1 << 20))
        archive.writestr("x/version", "3")
    return path


@hostile("TorchScript archive")
def _(place: Path, canary: Path) -> Path:
    path = _saved(WEIGHTS, place / "script.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("script/constants.pkl", _pickled(canary))
        archive.writestr("script/code/__torch__.py", "import os")
    return path


@hostile("safetensors file that is a torch file as well", harmless=("init_from",), runs=True)
def _(place: Path, canary: Path) -> Path:
    from safetensors.torch import save

    return _written(place / "both.safetensors", save(WEIGHTS) + _saved(_touch(canary), place / "inner.pt").read_bytes())


@hostile("picture that is an archive as well")
def _(place: Path, canary: Path) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../evil.py", f"open({str(canary)!r}, 'w')")
    return _written(place / "polyglot.png", _png(4, 4) + buffer.getvalue())


@hostile("npz of pickled objects", runs=True)
def _(place: Path, canary: Path) -> Path:
    np.savez(place / "objects.npz", x=np.array([_touch(canary)], object), y=np.zeros(1))
    return place / "objects.npz"


@hostile("npy of pickled objects", runs=True)
def _(place: Path, canary: Path) -> Path:
    np.save(place / "objects.npy", np.array([_touch(canary)], object))
    return place / "objects.npy"


@hostile("npz that unfolds without end")
def _(place: Path, canary: Path) -> Path:
    np.savez_compressed(place / "bomb.npz", x=np.zeros(500 << 20, np.uint8), y=np.zeros(3))
    return place / "bomb.npz"


@hostile("npz whose array has 2^63 numbers")
def _(place: Path, canary: Path) -> Path:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**63},), }}"
    head = text.encode() + b" " * (53 - len(text)) + b"\n"
    with zipfile.ZipFile(place / "endless.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
    return place / "endless.npz"


@hostile("DCP folder with a hostile .metadata", runs=True)
def _(place: Path, canary: Path) -> Path:
    _written(place / "dcp" / ".metadata", _pickled(canary))
    return _written(place / "dcp" / "__0_0.distcp", b"x" * 64).parent


@hostile("Keras model in HDF5 with a Lambda layer")
def _(place: Path, canary: Path) -> Path:
    config = json.dumps({"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}})
    return _written(place / "lambda.h5", b"\x89HDF\r\n\x1a\n" + bytes(64) + config.encode())


@hostile("Keras archive whose config names a function")
def _(place: Path, canary: Path) -> Path:
    with zipfile.ZipFile(place / "model.keras", "w") as archive:
        code = {"module": "builtins", "class_name": "exec", "config": f"open({str(canary)!r}, 'w')"}
        archive.writestr("config.json", json.dumps(code))
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
    return place / "model.keras"


@hostile("archive of pictures with a name that climbs out")
def _(place: Path, canary: Path) -> Path:
    with zipfile.ZipFile(place / "slip.zip", "w") as archive:
        archive.writestr("cat/1.png", _png(4, 4))
        archive.writestr(f"../../../../../../../../{canary}", b"x")
        archive.writestr("dog/../../../1.png", _png(4, 4))
    return place / "slip.zip"


@hostile("archive of pictures with a link")
def _(place: Path, canary: Path) -> Path:
    link = zipfile.ZipInfo("dog/1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(place / "link.zip", "w") as archive:
        archive.writestr("cat/1.png", _png(4, 4))
        archive.writestr(link, "/etc/passwd")
    return place / "link.zip"


@hostile("archive of pictures that unfolds without end")
def _(place: Path, canary: Path) -> Path:
    with zipfile.ZipFile(place / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("cat/1.png", "dog/1.png"):
            archive.writestr(name, bytes(250 << 20))
    return place / "bomb.zip"


@hostile("tar that climbs out")
def _(place: Path, canary: Path) -> Path:
    with tarfile.open(place / "slip.tar", "w") as archive:
        entry = tarfile.TarInfo(f"../../../../../../..{canary}")
        archive.addfile(entry, io.BytesIO())
        link = tarfile.TarInfo("cat")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    return place / "slip.tar"


@hostile("packed tar that says it is a table")
def _(place: Path, canary: Path) -> Path:
    with tarfile.open(place / "slip.csv.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(f"../..{canary}"), io.BytesIO())
    return place / "slip.csv.gz"


@hostile("table packed so that it unfolds without end")
def _(place: Path, canary: Path) -> Path:
    with gzip.open(place / "bomb.csv.gz", "wb") as file:
        for _ in range(2000):
            file.write(b"1,2\n" * (1 << 18))
    return place / "bomb.csv.gz"


@hostile("picture of 900 million points in 2 kB", harmless=("new",))  # which tells it, and what a recipe may say
def _(place: Path, canary: Path) -> Path:
    for label in ("cat", "dog"):
        _written(place / "bombs" / label / "1.png", _png(30_000, 30_000))
    return place / "bombs"


@hostile("IDX file that declares 2^96 images")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\xff" * 12 + b"x" * 100)


def _patched(path: Path, name: str, act: Callable[[bytes], bytes]) -> Path:
    """One entry of a zip archive changed; the others as they were, not packed."""
    with zipfile.ZipFile(path) as archive:
        entries = {i.filename: archive.read(i) for i in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, act(data) if entry.endswith(name) else data)
    return path


def _png(height: int, width: int) -> bytes:
    """A grey picture of one tone, at most two megabytes of it written out."""
    rows = bytes(1 + width) * min(height, (2 << 20) // width)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


from benchmarks import hostile_headers as _headers  # noqa: E402, F401 - theirs come with these, in this order
from benchmarks import hostile_runs as _runs  # noqa: E402, F401
