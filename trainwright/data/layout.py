"""Files in one folder per class, whole or in folders train, valid and test: which is of which class and part."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from trainwright.core.errors import DataError, did_you_mean
from trainwright.data import archive

_PARTS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"}
_PARTS |= {"dev": "valid", "test": "test", "testing": "test"}
_ORDER = {"": 0, "train": 0, "valid": 1, "test": 2}
Steps: TypeAlias = tuple[str, ...]  # a path as its names
Found: TypeAlias = Mapping[Steps, "archive.Member | None"]


@dataclass(frozen=True, slots=True)
class File:
    """One file, or one folder that stands for one."""

    part: str  # "" where there are none
    label: str
    path: str  # below the folder or in the archive, with /
    member: archive.Member | None


def walked(root: Path, what: str) -> dict[Steps, archive.Member | None]:
    """Every file below the folder; linked folders are followed, each folder once. An empty folder is a `DataError`.

    Args:
        root: the folder.
        what: is looked for, such as "images".
    """
    out: dict[Steps, archive.Member | None] = {}
    seen: set[tuple[int, int]] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = [name for name in below if not hidden(name)]
        steps = Path(folder).relative_to(root).parts
        out.update(dict.fromkeys((*steps, name) for name in files))
        if steps and not below and not files:
            raise DataError("data.path", f"the folder {folder} is empty", f"put {what} in it, or remove it")
    return out


def hidden(name: str) -> bool:
    """Whether a file or folder is not meant to be seen."""
    return name.startswith((".", "__MACOSX"))  # the latter: what macOS adds to its archives


def classified(found: Found, place: str, what: str) -> tuple[list[File], int]:
    """Each file with its part and class, in order, and how many lie beside the folders of classes."""
    outer = 0
    while _stepped_into(found, outer):
        outer += 1
    inner = {steps: steps[outer:] for steps in found}
    parts = _part_folders({s[0] for s in inner.values() if len(s) > 1}, place)
    files, loose = [], 0
    for steps, rest in inner.items():
        part = _PARTS[rest[0].lower()] if parts and rest[0] in parts else ""
        named = rest[1:] if part else rest
        if len(named) < 2:
            loose += 1
            continue
        files.append(File(part, named[0], "/".join(steps), found[steps]))
    if not files:
        trouble = f"the {loose} {what} of {place} lie in no folder of a class"
        raise DataError("data.path", trouble, "put each in a folder named after its class")
    return sorted(files, key=lambda f: (_ORDER[f.part], f.label, f.path)), loose


def documents(found: Found, place: str) -> list[File]:
    """Every file with its part and no class, in order."""
    parts = _part_folders({s[0] for s in found if len(s) > 1}, place)
    part = {steps: _PARTS[steps[0].lower()] if len(steps) > 1 and steps[0] in parts else "" for steps in found}
    files = [File(part[steps], "", "/".join(steps), member) for steps, member in found.items()]
    return sorted(files, key=lambda f: (_ORDER[f.part], f.path))


def _stepped_into(found: Iterable[Steps], outer: int) -> bool:
    """Whether one folder, itself no class and no part, holds everything at this depth."""
    tops = {s[outer] for s in found if len(s) > outer + 1}
    deep = all(len(s) > outer + 2 for s in found)
    return len(tops) == 1 and deep and tops.pop().lower() not in _PARTS


def _part_folders(tops: set[str], place: str) -> set[str]:
    """The folders that are parts; none where the names are classes (one may be named train, beside car and plane)."""
    parts = {t for t in tops if t.lower() in _PARTS}
    meant = [_PARTS[t.lower()] for t in sorted(parts)]
    if "train" not in meant or (len(parts) == 1 and len(tops) > 1):
        return set()
    if tops - parts:
        others = ", ".join(sorted(tops - parts))
        what = f"{place} holds folders {', '.join(sorted(parts))} beside {others}"
        raise DataError("data.path", what, "keep either folders of parts or folders of classes")
    twice = next((m for m in meant if meant.count(m) > 1), None)
    if twice:
        raise DataError("data.path", f"{place} holds two folders for the {twice} part", "keep one of them")
    return parts


def spans(files: Sequence[File]) -> dict[str, range]:
    """The numbers of each part's files."""
    counts = Counter(f.part for f in files)
    out: dict[str, range] = {}
    start = 0
    for part, n in counts.items():
        out[part] = range(start, start + n)
        start += n
    return out


def classes(files: Sequence[File], place: str, what: str) -> list[str]:
    """The classes of the training part, sorted."""
    first = files[0].part
    found = sorted({f.label for f in files if f.part == first})
    if len(found) == 1:
        trouble = f"{place} has one class only, '{found[0]}'"
        raise DataError("data.path", trouble, f"put the {what} of each class in a folder of their own, side by side")
    for file in files:
        if file.label not in found:
            trouble = f"the {file.part} part has a class '{file.label}' that the train part has not"
            raise DataError("data.path", trouble, did_you_mean(file.label, found))
    return found
