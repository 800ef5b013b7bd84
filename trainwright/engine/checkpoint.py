"""Checkpoints: every part of the state in a folder that is either whole or not there.

A checkpoint is ``step-00000500/``: one safetensors file per part that holds tensors, ``state.json`` for all else, and
``manifest.json`` with the size and sha256 of each. It is written under a temporary name, flushed to the disk, and
renamed; readers verify it before they use a tensor. At every moment, also of a power cut, the newest one that was
finished can be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainwright.core.errors import CheckpointError
from trainwright.engine import disk, shards
from trainwright.engine.migrations import FORMAT, migrated, must_be_known
from trainwright.engine.owner import Owner
from trainwright.engine.packing import Snapshot, pack, unpack
from trainwright.engine.ranks.share import Share, joined
from trainwright.engine.shards import ALONE, Company
from trainwright.engine.tensorfile import pieces

_NAME = re.compile(r"step-(\d{8,})")
_REPLACED = re.compile(r"\.replaced-(\d{8,})")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")  # a file's name: no folder, nothing hidden
_LEFT = (".writing-", ".removing-")  # of interrupted writers
Join = Callable[[Sequence[Tensor]], "Tensor | Share"]  # what is made of rows that several ranks wrote


class ForeignError(CheckpointError):
    """A checkpoint that is sound and of another run, or of another step."""


def save(
    state: Mapping[str, Mapping[str, Any]], folder: Path, step: int, run: str = "", company: Company = ALONE
) -> Path:
    """Write ``state`` as ``folder/step-…``; OSError when the disk refuses, with nothing half-written left.

    Args:
        state: part -> its state_dict, from `TrainState.state_dict`.
        folder: the run's ``checkpoints`` folder; made if need be, within a run that is there.
        step: names the checkpoint; one of the same step is replaced.
        run: the identity of the run it belongs to.
        company: the ranks that write it together, each of which must call it with its own share of the state.
    """
    return write(pack(state), folder, step, run, company)


def write(snapshot: Snapshot, folder: Path, step: int, run: str = "", company: Company = ALONE) -> Path:
    """Write what `pack` made of a state, as `save` does; every rank of the company must call it.

    Of several ranks the first one returns when all of it is there, another one when its own rows are. Where one of them
    fails for good it must call `shards.give_up`, or the first one waits for minutes.
    """
    final = folder / f"step-{step:08d}"
    if company.rank:
        shards.contribute(snapshot, folder, step, company)
        return final
    return put(snapshot, final, step, run, company)


def put(snapshot: Snapshot, final: Path, step: int, run: str = "", company: Company = ALONE) -> Path:
    """Write a snapshot as a folder of any name, which is then whole or not there."""
    folder = final.parent
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)  # a run that was moved away is not begun anew here
        disk.settle(folder.parent)
    draft = company.draft(folder, step)
    with suppress(FileExistsError):  # another rank may have been first
        os.mkdir(draft)
    try:
        _write(snapshot, draft, step, run, company)
        if final.exists():
            _replace(final, draft, folder / f".replaced-{step:08d}")
        else:
            os.rename(draft, final)
            disk.settle(folder)
    except BaseException:
        if company.world == 1:  # else what the others wrote is wanted when it is tried again
            disk.remove(draft)
        raise
    shards.forget_notes(final, company)  # only now: until then it may be tried again
    return final


def _replace(final: Path, draft: Path, aside: Path) -> None:
    """Put a draft in the place of a checkpoint; `at` finds the old one in the moment between."""
    disk.remove(aside)
    os.rename(final, aside)
    os.rename(draft, final)
    disk.settle(final.parent)
    disk.remove(aside)


def load(path: Path, owner: Owner | None = None, join: Join = joined) -> dict[str, Any]:
    """The state of a checkpoint folder, verified; CheckpointError says what is wrong with it.

    Args:
        path: of the checkpoint.
        owner: the run that it must be of; any unless given.
        join: makes a tensor of rows that several ranks wrote; it is whole unless given.
    """
    manifest = verify(path, owner)
    with _sound(path):
        tree = json.loads((path / "state.json").read_text(encoding="utf-8"))
        state = {part: unpack(tree[part], _tensors(path, part, manifest, join)) for part in manifest["parts"]}
        return migrated(state, manifest["format"])


def load_part(path: Path, part: str, owner: Owner | None = None) -> Any:
    """One part of a checkpoint's state, such as "model"."""
    manifest = verify(path, owner)
    if part not in manifest["parts"]:
        raise CheckpointError(f"{path} has no part '{part}'; it has {', '.join(manifest['parts'])}")
    with _sound(path):
        tree = json.loads((path / "state.json").read_text(encoding="utf-8"))[part]
        return migrated({part: unpack(tree, _tensors(path, part, manifest, joined))}, manifest["format"])[part]


def verify(path: Path, owner: Owner | None = None) -> dict[str, Any]:
    """The manifest, after every file's size and sha256 were compared with it; ForeignError for one of another run."""
    manifest = _sealed(path, owner)
    for name, promised in manifest["files"].items():
        file = path / name
        if file.is_symlink():
            raise CheckpointError(f"{path} is damaged: {name} is a link to a file elsewhere")
        if not file.is_file():
            raise CheckpointError(f"{path} is damaged: {name} is missing")
        if file.stat().st_size != promised["size"] or _digest(file) != promised["sha256"]:
            raise CheckpointError(f"{path} is damaged: {name} is not what was written")
    return manifest


def _sealed(path: Path, owner: Owner | None) -> dict[str, Any]:
    """The manifest, which is as it was written and of the right run; the files are not looked at."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        version, _, seal = manifest["format"], manifest["files"], manifest.pop("seal")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a whole checkpoint: {error}") from error
    must_be_known(version, str(path))
    if seal != _seal(manifest):
        raise CheckpointError(f"{path} is damaged: manifest.json is not what was written")
    _well_formed(path, manifest)
    _of(path, manifest, owner)
    return dict(manifest)


def _of(path: Path, manifest: Mapping[str, Any], owner: Owner | None) -> None:
    """ForeignError for a sound checkpoint in another one's place: exchanged, or put there by somebody."""
    step, run, named = manifest.get("step"), manifest.get("run"), _NAME.fullmatch(path.name)
    if named and int(named.group(1)) != step:
        raise ForeignError(f"{path} is the checkpoint of step {step}, under another name; give it its own again")
    older = run is None and owner is not None and isinstance(step, int) and step <= owner.unsigned
    if owner is None or run == owner.run or older:
        return
    instead = "put this run's own there again, or begin a new run with its weights (init_from)"
    whose = f"another run ({run})" if run else "no run"
    raise ForeignError(f"{path} is of {whose}, not of this one ({owner.run}); {instead}")


def _well_formed(path: Path, manifest: Mapping[str, Any]) -> None:
    """CheckpointError unless every name is one of a file right here: a manifest may have been made by anybody."""
    files, parts = manifest["files"], manifest.get("parts")
    sized = isinstance(files, dict) and all(
        isinstance(f, dict) and {"size", "sha256"} <= f.keys() for f in files.values()
    )
    if not sized or not isinstance(parts, list) or not all(isinstance(p, str) for p in parts):
        raise CheckpointError(f"{path} is damaged: manifest.json does not say what a checkpoint holds")
    if strange := [name for name in (*files, *parts) if not _PLAIN.fullmatch(name)]:
        raise CheckpointError(f"{path} is damaged: its manifest names {strange[0]!r}, which is no file of a checkpoint")


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """What goes wrong with a state that is not of the form that `pack` makes, as CheckpointError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path} is damaged: state.json holds no state ({what[:200]})") from error


def steps(folder: Path) -> list[int]:
    """The steps of all finished checkpoints, ascending."""
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(p.name) or _REPLACED.fullmatch(p.name) for p in folder.iterdir())
    return sorted({int(m.group(1)) for m in found if m})


def at(folder: Path, step: int) -> Path:
    """The checkpoint of a step; CheckpointError lists those there are."""
    for path in (folder / f"step-{step:08d}", folder / f".replaced-{step:08d}"):
        if path.is_dir():
            return path
    there = ", ".join(map(str, steps(folder))) or "none"
    raise CheckpointError(f"{folder} has no checkpoint of step {step}; there are: {there}")


def newest(
    folder: Path, owner: Owner | None = None, join: Join = joined
) -> tuple[Path, dict[str, Any], list[str]] | None:
    """The newest checkpoint that verifies, its state, and what was wrong with newer ones; None where there is none.

    Raises `CheckpointError` when there are checkpoints and none of them is sound.
    """
    troubles: list[str] = []
    for step in reversed(steps(folder)):
        try:
            return at(folder, step), load(at(folder, step), owner, join), troubles
        except CheckpointError as error:
            troubles.append(str(error))
    if troubles:
        raise CheckpointError("no checkpoint of this run is sound:\n" + "\n".join(troubles))
    return None


def set_aside(folder: Path, owner: Owner | None = None) -> list[str]:
    """Rename what no resume may use or remove; what is wrong with each, and its new name.

    That is the damaged checkpoints that are newer than the newest sound one, and all those of another run. Nothing is
    renamed where none is sound. Only the one writer of a run may call it.
    """
    doomed: list[tuple[Path, CheckpointError]] = []
    sound = False
    for step in reversed(steps(folder)):
        path = at(folder, step)
        try:
            (_sealed if sound else verify)(path, owner)
            sound = True
        except CheckpointError as error:
            if not sound or isinstance(error, ForeignError):
                doomed.append((path, error))
    return [f"{error}; it is now {_renamed(path, error).name}" for path, error in doomed] if sound else []


def _renamed(path: Path, error: CheckpointError) -> Path:
    kind = "foreign" if isinstance(error, ForeignError) else "damaged"
    target = path.with_name(f"{path.name.lstrip('.')}.{kind}-{secrets.token_hex(2)}")
    os.rename(path, target)
    return target


def forget_after(folder: Path, step: int) -> None:
    """Remove the checkpoints that are newer than ``step``; what cannot be removed stays."""
    for later in steps(folder):
        if later > step:
            _removed(at(folder, later), later)


def prune(folder: Path, keep: Collection[int]) -> None:
    """Remove the checkpoints whose step is not in ``keep``, and what interrupted writers left.

    The newest one is never removed.
    """
    for path in folder.iterdir():
        old = _REPLACED.fullmatch(path.name)
        if path.name.startswith(_LEFT) or (old and (folder / f"step-{old.group(1)}").is_dir()):
            disk.remove(path)
    for step in steps(folder)[:-1]:
        if step not in keep:
            _removed(at(folder, step), step)


def _removed(path: Path, step: int) -> None:
    doomed = path.parent / f".removing-{step:08d}-{secrets.token_hex(4)}"
    os.rename(path, doomed)
    disk.remove(doomed)


def _write(snapshot: Snapshot, folder: Path, step: int, run: str, company: Company = ALONE) -> None:
    files: shards.Files = {}

    def put(name: str, content: Iterable[bytes | memoryview]) -> None:
        size, digest = disk.write(folder / name, content)
        files[name] = {"size": size, "sha256": digest}

    if company.world > 1:  # what an earlier try left
        for name in (*(f"{part}.safetensors" for part in snapshot.tensors), "state.json", "manifest.json"):
            (folder / name).unlink(missing_ok=True)
    for part, tensors in snapshot.tensors.items():
        if tensors:
            put(f"{part}.safetensors", pieces(tensors))
    files |= shards.write_own(snapshot, folder, company)
    put("state.json", [json.dumps(snapshot.tree, allow_nan=False).encode()])
    files |= shards.gathered(folder, company)
    facts = {"format": FORMAT, "run": run, "step": step, "torch": torch.__version__}
    manifest = {**facts, "parts": list(snapshot.tree), "files": files}
    disk.write(folder / "manifest.json", [json.dumps({**manifest, "seal": _seal(manifest)}, indent=1).encode()])
    disk.settle(folder)


def _tensors(path: Path, part: str, manifest: Mapping[str, Any], join: Join) -> dict[str, Tensor | Share]:
    """The tensors of a part; a file that the manifest does not vouch for is not read."""
    name = f"{part}.safetensors"
    whole = _read(path / name) if name in manifest["files"] else {}
    rows = shards.pieces_of(_read(path / file) for file in shards.of_part(part, manifest["files"], path))
    return {**whole, **{name: join(pieces) for name, pieces in rows.items()}}


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: {error}") from error


def _seal(manifest: Mapping[str, Any]) -> str:
    """The manifest's own sha256, since no other file vouches for it."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
