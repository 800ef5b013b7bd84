"""A checkpoint that several ranks write together: each its own rows, the first one all else, and that it is whole.

Every rank writes the rows it holds of a part, as ``model.shard-2-of-4.safetensors``, into the same draft, flushes them,
and leaves a note of their size and sha256. When the first one has all notes it writes the manifest, which names
every file, and gives the draft its name. A rank that dies in between leaves a draft that nobody reads.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from trainwright.core.errors import CheckpointError
from trainwright.engine import disk
from trainwright.engine.packing import Snapshot
from trainwright.engine.tensorfile import pieces

_SHARD = re.compile(r"(.+)\.shard-(\d+)-of-(\d+)\.safetensors")
_LOOK = 0.02  # seconds between two looks for a note
_SILENCE = 300.0  # seconds without any news of the others, after which they are given up

Files = dict[str, dict[str, Any]]  # name -> size and sha256


@dataclass(frozen=True, slots=True)
class Company:
    """Who writes a checkpoint together.

    Args:
        rank: of this process; the first one brings the shares together.
        world: how many they are.
        name: the same on all of them, and never used before; any where there is one.
    """

    rank: int = 0
    world: int = 1
    name: str = ""

    def draft(self, folder: Path, step: int) -> Path:
        """Where the checkpoint is written until it is whole."""
        name = self.name or f"{os.getpid()}-{secrets.token_hex(4)}"
        return folder / f".writing-{step:08d}-{name}"


ALONE = Company()


def write_own(snapshot: Snapshot, draft: Path, company: Company) -> Files:
    """This rank's rows, a file for each part that has some; again, where an earlier try failed."""
    files: Files = {}
    for part, shares in snapshot.shares.items():
        if shares:
            name = f"{part}.shard-{company.rank + 1}-of-{company.world}.safetensors"
            (draft / name).unlink(missing_ok=True)
            size, digest = disk.write(draft / name, pieces({n: share.rows for n, share in shares.items()}))
            files[name] = {"size": size, "sha256": digest}
    return files


def contribute(snapshot: Snapshot, folder: Path, step: int, company: Company) -> None:
    """What a rank that is not the first does for a checkpoint: its rows are on the disk, and told."""
    folder.mkdir(exist_ok=True)
    draft = company.draft(folder, step)
    draft.mkdir(exist_ok=True)
    _tell(draft, company, {"files": write_own(snapshot, draft, company)})


def give_up(folder: Path, step: int, company: Company, error: OSError) -> None:
    """Take away what was written of a checkpoint that cannot be; the first rank is told."""
    draft = company.draft(folder, step)
    if company.rank == 0:
        disk.remove(draft)
        return
    with suppress(OSError):
        for own in draft.glob(f"*.shard-{company.rank + 1}-of-{company.world}.safetensors"):
            own.unlink()
        _tell(draft, company, {"error": [error.errno, error.strerror or str(error)]})


def gathered(draft: Path, company: Company, pause: Callable[[float], None] = time.sleep) -> Files:
    """The files of all other ranks, once they are on the disk; OSError where one of them cannot write its own."""
    files: Files = {}
    for rank in range(1, company.world):
        note = _note(draft, rank)
        told = json.loads(_awaited(note, draft, pause).read_bytes())
        if "error" in told:
            number, why = told["error"]
            raise OSError(number, f"{why} (process {rank + 1} of {company.world})")
        files |= told["files"]
    return files


def forget_notes(draft: Path, company: Company) -> None:
    """What the ranks told each other is in the manifest now."""
    for rank in range(1, company.world):
        with suppress(OSError):  # one that is left says what is so
            _note(draft, rank).unlink()


def _awaited(note: Path, draft: Path, pause: Callable[[float], None]) -> Path:
    """A note, once it is there; as long as anything in the draft grows, who writes is alive."""
    seen, since = -1, time.monotonic()
    while not note.is_file():
        now = _size(draft)
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > _SILENCE:
            raise OSError(errno.ETIME, f"another process did not write its share within {_SILENCE:.0f} s")
        pause(_LOOK)
    return note


def _size(draft: Path) -> int:
    """Bytes that are written by now; files come and go meanwhile."""
    total = 0
    for name in os.listdir(draft):
        with suppress(FileNotFoundError):
            total += (draft / name).stat().st_size
    return total


def _note(draft: Path, rank: int) -> Path:
    return draft / f".told-{rank + 1}.json"


def _tell(draft: Path, company: Company, what: Mapping[str, Any]) -> None:
    disk.put(_note(draft, company.rank), json.dumps(what).encode())


def of_part(part: str, files: Iterable[str], where: Path) -> list[str]:
    """The files with the rows of a part, in their order; CheckpointError unless all are there."""
    found = sorted((int(m[2]), int(m[3]), name) for name in files if (m := _SHARD.fullmatch(name)) and m[1] == part)
    counts = {count for _, count, _ in found}
    if found and (counts != {len(found)} or [number for number, _, _ in found] != [*range(1, len(found) + 1)]):
        raise CheckpointError(f"{where} is damaged: it has {len(found)} of {found[0][1]} shards of '{part}'")
    return [name for _, _, name in found]


def pieces_of(files: Iterable[Mapping[str, Tensor]]) -> dict[str, list[Tensor]]:
    """Name -> the rows that each rank wrote, in the order of the ranks."""
    found: dict[str, list[Tensor]] = {}
    for tensors in files:
        for name, rows in tensors.items():
            found.setdefault(name, []).append(rows)
    return found
