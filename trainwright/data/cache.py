"""Encoded columns as files: written to a temporary folder and renamed, mapped back, and trusted only after a check.

A folder holds ``index.json`` and, for column number k, ``k.values`` (the rows' bytes end to end) and, unless the column
is dense, ``k.offsets`` (int64). The index says the format version, the key the samples were encoded under, and of each
file its size and digest.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainwright.core.errors import CannotCreateError, UserError
from trainwright.core.rows import Column
from trainwright.core.task import Processor
from trainwright.data.columns import shaped
from trainwright.data.gather import Ints, Raw
from trainwright.data.source import Source
from trainwright.data.store import Kept

FORMAT = 2
_HOUR = 3600.0
_KEPT = 30 * 24 * _HOUR  # since it was last used
_WHOLE = 1 << 30  # files up to this size are digested whole
_BLOCKS, _BLOCK = 64, 1 << 24  # of larger ones, this many blocks of this size, evenly spaced: checking stays quick


def new_folder(beside: Path, label: str) -> Path:
    """An empty folder to write to in ``beside``; what dead processes left there for ``label`` is removed."""
    try:
        beside.mkdir(parents=True, exist_ok=True)
        host = socket.gethostname()
        for old in beside.glob(f".{label}-*"):
            if _abandoned(old, f".{label}-{host}-"):
                shutil.rmtree(old, ignore_errors=True)
        folder = beside / f".{label}-{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(mode=0o700)  # encoded records are their owner's data
    except OSError as error:
        raise unwritable(beside, error) from error
    return folder


def write_index(
    folder: Path,
    key: str,
    records: int,
    rows: Mapping[str, tuple[int, Path, Path | None]],
    skipped: Sequence[tuple[int, str, str]],
) -> dict[str, Any]:
    """Describe the columns of ``folder``, name -> (rows, values file, offsets file); all is durable afterwards.

    ``skipped`` are the records without a sample: (record, where, what).
    """
    columns = {
        name: {"rows": n, "values": _described(values), "offsets": None if offsets is None else _described(offsets)}
        for name, (n, values, offsets) in rows.items()
    }
    content = {"key": key, "records": records, "byteorder": sys.byteorder, "columns": columns}
    content["skipped"] = [list(told) for told in skipped]
    index = {"format": FORMAT, "digest": _digest_of(content), "content": content}
    write_durably(folder / "index.json", json.dumps(index, indent=1).encode())
    _sync(folder)
    return content


def publish(folder: Path, target: Path) -> None:
    """Rename a finished folder to ``target``; when another process was first, theirs stays and ours goes."""
    for _ in range(3):
        try:
            folder.rename(target)
            _sync(target.parent)
            return
        except OSError as error:
            if not target.exists():
                raise unwritable(target, error) from error
        if read_index(target) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            return
        discard(target)
    raise UserError(str(target), "cannot be replaced: another process keeps writing a damaged one", "remove it by hand")


def prune(cache: Path) -> None:
    """Remove what no run has used for a month."""
    for index in cache.glob("*/index.json"):
        if re.fullmatch("[0-9a-f]{32}", index.parent.name) and time.time() - index.stat().st_mtime > _KEPT:
            discard(index.parent)


def discard(folder: Path) -> None:
    """Remove a damaged or outdated folder, at once for other processes; those that have mapped it keep their data."""
    aside = folder.with_name(f".discarded-{uuid.uuid4().hex}")
    try:
        folder.rename(aside)
    except FileNotFoundError:  # another process was first, or there never was one
        return
    except OSError as error:
        raise unwritable(folder, error) from error
    shutil.rmtree(aside, ignore_errors=True)


def read_index(folder: Path, key: str | None = None) -> dict[str, Any] | None:
    """The content of a folder's index when every file is whole, and the key as expected; None otherwise."""
    try:
        index = json.loads((folder / "index.json").read_bytes())
        content = index["content"]
        if index["format"] != FORMAT or index["digest"] != _digest_of(content) or content["byteorder"] != sys.byteorder:
            return None
        if key is not None and content["key"] != key:
            return None
        files = [f for c in content["columns"].values() for f in (c["values"], c["offsets"]) if f is not None]
        if any(_described(folder / f["file"]) != f for f in files):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with suppress(OSError):  # a cache that others may only read
        os.utime(folder / "index.json")  # used now: see `prune`
    return dict(content)


def mapped(folder: Path, content: Mapping[str, Any], columns: Mapping[str, Column]) -> dict[str, Kept]:
    """The columns of a checked folder, mapped into memory."""
    out: dict[str, Kept] = {}
    for name, entry in content["columns"].items():
        offsets: Ints | None = None
        if entry["offsets"] is not None:
            offsets = np.frombuffer((folder / entry["offsets"]["file"]).read_bytes(), np.int64).copy()
        data = _map(folder / entry["values"]["file"])
        out[name] = Kept(columns[name], shaped(data, columns[name], entry["rows"]), offsets)
    return out


def key_of(source: Source, processor: Processor, extra: str) -> str:
    """A digest of all that decides what the samples are; the folder's name."""
    kind = type(processor)
    columns = {name: {**asdict(c), "dtype": str(c.dtype)} for name, c in processor.columns().items()}
    windows = None if processor.windows is None else asdict(processor.windows)
    try:
        code = inspect.getsource(inspect.getmodule(kind) or kind)
    except (OSError, TypeError):  # typed at a prompt
        code = ""
    parts = [FORMAT, source.fingerprint(), kind.__module__, kind.__qualname__, code, columns, windows, extra]
    return _digest_of([*parts, processor.state_dict()])


def write_durably(path: Path, data: bytes) -> None:
    """Write and fsync."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def unwritable(path: Path, error: OSError) -> CannotCreateError:
    """The message for a folder that cannot be written."""
    return CannotCreateError(
        str(path), f"cannot be written: {error.strerror or error}", "free space there or name another folder"
    )


def _map(path: Path) -> Raw:
    """The file as (bytes,) uint8. Private (copy on write): nothing is ever written to the file."""
    if not path.stat().st_size:  # nothing to map
        return np.empty(0, np.uint8)
    return torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8).numpy()


def _described(path: Path) -> dict[str, Any]:
    return {"file": path.name, "bytes": path.stat().st_size, "digest": _digest(path)}


def _digest(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    spacing = _BLOCK if size <= _WHOLE else (size - _BLOCK) // (_BLOCKS - 1)
    with path.open("rb") as file:
        for start in range(0, size, spacing):
            file.seek(start)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _digest_of(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _sync(folder: Path) -> None:
    """Make renames and new names durable; Windows has no such thing for folders."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _abandoned(folder: Path, prefix: str) -> bool:
    """Whether its process, of this host, is dead, and nothing was written for an hour (in case it is another host)."""
    pid = folder.name.removeprefix(prefix).split("-")[0]
    if not folder.name.startswith(prefix) or not pid.isdigit() or os.name == "nt":  # where signal 0 is Ctrl-C
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return time.time() - max(p.stat().st_mtime for p in (folder, *folder.iterdir())) > _HOUR
    except OSError:
        return False
    return False
