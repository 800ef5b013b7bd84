"""Files of a checkpoint that changed on the disk: whether it is told, and which older checkpoint is taken instead."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file, save_file

from benchmarks.faults_row import Row, paced
from trainwright.core.errors import CheckpointError
from trainwright.engine import checkpoint
from trainwright.runs.directory import CHECKPOINTS

Damage = Callable[[Path], None]  # of a checkpoint's folder


def corruptions(place: Path, whole: Path, dice: random.Random, flips: int = 1000, cuts: int = 200) -> Iterator[Row]:
    """Flipped bits, truncations, swapped and removed files in the checkpoints of a real run."""
    began = time.perf_counter()
    pristine = checkpoint.at(whole / CHECKPOINTS, checkpoint.steps(whole / CHECKPOINTS)[-1])
    folder = place / "bits"
    for step in (1, 2, 3):
        checkpoint.save(checkpoint.load(pristine), folder, step)
    sound = shutil.copytree(folder, place / "sound")
    told, right = _tried(folder, sound, list(_damages(pristine, dice, flips, cuts)), dice)
    seconds = time.perf_counter() - began
    silent = _silent(pristine, place, dice, max(50, flips // 5))
    with mock.patch.object(checkpoint, "verify", _unverified):
        some = list(_damages(pristine, dice, max(50, flips // 5), 0))[: max(50, flips // 5)]
        bare, astray = _tried(folder, sound, some, dice)
    shutil.rmtree(folder), shutil.rmtree(sound)
    control = [f"{name} of the same weights: {n} of {of} flips silent" for name, (n, of) in silent.items()]
    control += [f"ours unverified: {bare.count(False)} of {len(bare)}"]
    note = f"{flips} bits flipped, {cuts} truncations, {len(told) - flips - cuts} times files swapped or removed"
    blind = not all(n for n, _ in silent.values()) or all(bare)
    wrong = f"unverified: {astray.count(False)} of {len(astray)} wrong"
    what = "the newest sound checkpoint is taken instead"
    first = "corruptions of a checkpoint that are told"
    yield Row(first, sum(told), len(told), "; ".join(control), seconds, note, blind)
    yield Row(what, sum(right), len(right), wrong, seconds, "the same corruptions, of one or two of three", all(astray))


def _tried(folder: Path, sound: Path, damages: Sequence[Damage], dice: random.Random) -> tuple[list[bool], list[bool]]:
    """For each damage to the newest one or two of three checkpoints: whether it is told, and the right one is read."""
    told, right = [], []
    for damage in paced("corruptions", damages):
        broken = [checkpoint.at(folder, step) for step in dice.choice([(3,), (3, 2)])]
        for path in broken:
            damage(path)
        told.append(all(map(_is_told, broken)))
        right.append(_taken(folder) == 3 - len(broken))
        for path in broken:
            shutil.rmtree(path)
            shutil.copytree(sound / path.name, path)
    return told, right


def _unverified(path: Path, owner: checkpoint.Owner | None = None) -> dict[str, Any]:
    """The manifest, believed."""
    try:
        content: dict[str, Any] = json.loads((path / "manifest.json").read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(str(error)) from error
    return content


def _damages(path: Path, dice: random.Random, flips: int, cuts: int) -> Iterator[Damage]:
    """Ways to damage a checkpoint; positions are uniform over the bytes of all its files."""
    names = sorted(p.name for p in path.iterdir())
    content = {name: (path / name).read_bytes() for name in names}
    sizes = [len(content[name]) for name in names]
    for name in dice.choices(names, sizes, k=flips):
        yield partial(_write, name=name, data=flipped(content[name], dice))
    for name in dice.choices(names, k=cuts):
        yield partial(_write, name=name, data=content[name][: dice.randrange(len(content[name]))])
    for i, name in enumerate(names):
        yield partial(_write, name=name, data=None)
        for other in names[i + 1 :]:
            if content[name] != content[other]:
                yield partial(_swap, one=name, other=other)


def flipped(data: bytes, dice: random.Random) -> bytes:
    """One bit of it the other way round."""
    changed, at = bytearray(data), dice.randrange(len(data) * 8)
    changed[at // 8] ^= 1 << (at % 8)
    return bytes(changed)


def _write(folder: Path, name: str, data: bytes | None) -> None:
    """A file's new content; None removes it."""
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)


def _swap(folder: Path, one: str, other: str) -> None:
    (folder / one).rename(folder / "between")
    (folder / other).rename(folder / one)
    (folder / "between").rename(folder / other)


def _is_told(path: Path) -> bool:
    """Whether reading ends in our own error; any other one is a fault that nobody foresaw, and is raised."""
    try:
        checkpoint.load(path)
    except CheckpointError:
        return True
    except (ValueError, KeyError, TypeError):
        if checkpoint.verify is _unverified:
            return True
        raise
    return False


def _taken(folder: Path) -> int:
    """The step of the checkpoint that a resumed run would read; 0 where it cannot be read at all."""
    try:
        found = checkpoint.newest(folder)
    except (ValueError, KeyError, TypeError):
        if checkpoint.verify is _unverified:
            return 0
        raise
    return int(found[0].name.split("-")[1]) if found else 0


def _silent(pristine: Path, place: Path, dice: random.Random, tries: int) -> dict[str, tuple[int, int]]:
    """What other formats say of one flipped bit in the same weights: how many read something else in silence."""
    weights = {f"{i}": x for i, x in enumerate(checkpoint.load_part(pristine, "model").values())}
    formats: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
        "torch.save": (lambda p: torch.save(weights, p), lambda p: torch.load(p, weights_only=True)),  # noqa: TID251
        "safetensors": (lambda p: save_file(weights, p), load_file),
    }
    found = {}
    for name, (save, load) in formats.items():
        file = place / "other-format"
        save(file)
        good = file.read_bytes()
        silent = 0
        for _ in range(tries):
            file.write_bytes(flipped(good, dice))
            silent += _reads(load, file)
        found[name] = (silent, tries)
        file.unlink()
    return found


def _reads(load: Callable[[Path], Any], file: Path) -> bool:
    try:
        load(file)
    except Exception:
        return False
    return True
