"""Checkpoints: every part of the state in a folder that is either whole or not there.

A checkpoint is ``step-00000500/``: one safetensors file per part that holds tensors, ``state.json`` for all else, and
``manifest.json`` with the size and sha256 of each. It is written under a temporary name, flushed to the disk, and
renamed; readers verify it before they use a tensor.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainwright.core.errors import CheckpointError

FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})")


def save(state: Mapping[str, Mapping[str, Any]], folder: Path, step: int) -> Path:
    """Write ``state`` as ``folder/step-…``; OSError when the disk refuses, with nothing half-written left.

    Args:
        state: part -> its state_dict, from `TrainState.state_dict`.
        folder: the run's ``checkpoints`` folder; made if need be.
        step: names the checkpoint; one of the same step is replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:08d}"
    draft = folder / f".writing-{step:08d}-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        _write(state, draft, step)
        if final.exists():
            replaced = folder / f".replaced-{step:08d}-{os.getpid()}"
            final.rename(replaced)
            draft.rename(final)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            draft.rename(final)
        _flush(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return final


def load(path: Path) -> dict[str, Any]:
    """The state of a checkpoint folder, verified; CheckpointError says what is wrong with it."""
    manifest = verify(path)
    tree = json.loads((path / "state.json").read_text())
    state: dict[str, Any] = {}
    for part in manifest["parts"]:
        file = path / f"{part}.safetensors"
        try:
            tensors = load_file(file) if file.exists() else {}
        except SafetensorError as error:
            raise CheckpointError(f"{file}: {error}") from error
        state[part] = _unpacked(tree[part], tensors)
    return state


def load_part(path: Path, part: str) -> Any:
    """One part of a checkpoint's state, such as "model"."""
    manifest = verify(path)
    if part not in manifest["parts"]:
        raise CheckpointError(f"{path} has no part '{part}'; it has {', '.join(manifest['parts'])}")
    file = path / f"{part}.safetensors"
    tree = json.loads((path / "state.json").read_text())[part]
    return _unpacked(tree, load_file(file) if file.exists() else {})


def verify(path: Path) -> dict[str, Any]:
    """The manifest, after every file's size and sha256 were compared with it."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        version, files, seal = manifest["format"], manifest["files"], manifest.pop("seal")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a whole checkpoint: {error}") from error
    if version != FORMAT:
        raise CheckpointError(f"{path} is of format {version}; this version reads format {FORMAT}")
    if seal != _seal(manifest):
        raise CheckpointError(f"{path} is damaged: manifest.json is not what was written")
    for name, promised in files.items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{path} is damaged: {name} is missing")
        if file.stat().st_size != promised["size"] or _digest(file) != promised["sha256"]:
            raise CheckpointError(f"{path} is damaged: {name} is not what was written")
    return dict(manifest)


def steps(folder: Path) -> list[int]:
    """The steps of all finished checkpoints, ascending."""
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(p.name) for p in folder.iterdir())
    return sorted(int(m.group(1)) for m in found if m)


def at(folder: Path, step: int) -> Path:
    """The checkpoint of a step; CheckpointError lists those there are."""
    path = folder / f"step-{step:08d}"
    if not path.is_dir():
        there = ", ".join(map(str, steps(folder))) or "none"
        raise CheckpointError(f"{folder} has no checkpoint of step {step}; there are: {there}")
    return path


def newest(folder: Path) -> tuple[Path, dict[str, Any], list[str]] | None:
    """The newest checkpoint that verifies, its state, and what was wrong with newer ones; None where there is none.

    Raises `CheckpointError` when there are checkpoints and none of them is sound.
    """
    troubles: list[str] = []
    for step in reversed(steps(folder)):
        try:
            return at(folder, step), load(at(folder, step)), troubles
        except CheckpointError as error:
            troubles.append(str(error))
    if troubles:
        raise CheckpointError("no checkpoint of this run is sound:\n" + "\n".join(troubles))
    return None


def prune(folder: Path, keep: Sequence[int]) -> None:
    """Remove the checkpoints whose step is not in ``keep``, and what interrupted writers left."""
    for step in steps(folder):
        if step not in keep:
            doomed = folder / f".removing-{step:08d}"
            at(folder, step).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
    for path in folder.iterdir():
        if path.name.startswith((".writing-", ".replaced-", ".removing-")):
            shutil.rmtree(path, ignore_errors=True)


def _write(state: Mapping[str, Mapping[str, Any]], folder: Path, step: int) -> None:
    tree: dict[str, Any] = {}
    for part, content in state.items():
        tensors: dict[str, Tensor] = {}
        tree[part] = _packed(content, "", tensors, {})
        if tensors:
            save_file(tensors, folder / f"{part}.safetensors")
    (folder / "state.json").write_text(json.dumps(tree, allow_nan=False))
    mode = (folder / "state.json").stat().st_mode  # the umask's; safetensors gives its files to the owner alone
    files = {}
    for file in sorted(folder.iterdir()):
        file.chmod(mode)
        _flush(file)
        files[file.name] = {"size": file.stat().st_size, "sha256": _digest(file)}
    manifest = {"format": FORMAT, "step": step, "torch": torch.__version__, "parts": list(state), "files": files}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "seal": _seal(manifest)}, indent=1))
    _flush(folder / "manifest.json")
    _flush(folder)


def _packed(value: Any, name: str, tensors: dict[str, Tensor], seen: dict[Any, str]) -> Any:
    """JSON with tensors moved out: ``{"$": "tensor", "name": …}``; tied tensors are stored once."""
    if isinstance(value, Tensor):
        key = (value.data_ptr(), value.dtype, value.shape, value.stride()) if value.numel() else (name,)
        if key not in seen:
            seen[key] = name
            tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"$": "tensor", "name": seen[key]}
    if isinstance(value, Mapping):
        pairs = {str(k): _packed(v, f"{name}.{k}" if name else str(k), tensors, seen) for k, v in value.items()}
        keys = list(value)
        if any(not isinstance(k, str) for k in keys) or "$" in pairs:
            return {"$": "pairs", "keys": keys, "values": list(pairs.values())}
        return pairs
    if isinstance(value, list | tuple):
        items = [_packed(v, f"{name}.{i}", tensors, seen) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$": "tuple", "items": items}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": "float", "value": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name}: a checkpoint cannot keep a {type(value).__name__}")


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    match value.get("$"):
        case "tensor":
            return tensors[value["name"]]
        case "tuple":
            return tuple(_unpacked(v, tensors) for v in value["items"])
        case "float":
            return float(value["value"])
        case "pairs":
            return dict(zip(value["keys"], (_unpacked(v, tensors) for v in value["values"]), strict=True))
    return {k: _unpacked(v, tensors) for k, v in value.items()}


def _seal(manifest: Mapping[str, Any]) -> str:
    """The manifest's own sha256, since no other file vouches for it."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """fsync a file or folder; folders cannot be synced on every system."""
    flags = os.O_RDONLY
    try:
        handle = os.open(path, flags)
    except PermissionError:  # Windows does not open folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
