"""Images in one folder per class, on disk or in a .zip file, whole or in folders train, valid and test."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, final

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import archive, paths
from trainwright.data.fingerprint import digest, digests
from trainwright.data.source import Source

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
_PARTS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"}
_PARTS |= {"dev": "valid", "test": "test", "testing": "test"}
_FIELDS = ("image", "label", "path")
Steps = tuple[str, ...]  # a path as its names


@dataclass(frozen=True, slots=True)
class Image:
    """One file."""

    part: str  # "" where there are none
    label: str
    path: str  # below the folder or in the archive, with /
    member: archive.Member | None


@sources.add("folder")
@final
class Folder(Source):
    """Images, one folder per class: ``{"image": bytes of the file, "label": name of its folder, "path": …}``.

    The folder, or the .zip file of one, holds the classes themselves, or folders train, valid (val, validation) and
    test that hold the same classes and become parts. A single folder around all this is stepped into; folders within a
    class belong to it. Records are in the order of part, class and path. Hidden files and files that are no images by
    their name are skipped and counted in ``skipped``.

    Args:
        path: the folder or .zip file; a relative path is also looked up under $TRAINWRIGHT_DATA.
    """

    def __init__(self, *, path: str) -> None:
        self.path = paths.find(path, "data.path")
        found, self.skipped = _sorted_out(_zipped(self.path) if self.path.is_file() else _walked(self.path))
        if not found:
            held = ", ".join(f"{n} {why}" for why, n in self.skipped.items()) or "nothing"
            raise DataError("data.path", f"{self.path} holds no images ({held})", "put them in one folder per class")
        self._images, loose = _classified(found, str(self.path))
        if loose:
            self.skipped = {**self.skipped, "beside the folders of classes": loose}
        self._parts = _spans(self._images)
        self.classes = _classes(self._images, str(self.path))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._images):
            raise IndexError(index)
        image = self._images[index]
        return {"image": self._read(image), "label": image.label, "path": image.path}

    def fingerprint(self) -> str:
        """Of every image's content and path."""
        paths_ = [i.path for i in self._images]
        if self.path.is_file():
            return digest("folder", self.path, paths_)
        return digest("folder", digests(self.path / p for p in paths_), paths_)

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train, valid and test where there are such folders."""
        return self._parts if len(self._parts) > 1 else {}

    def fields(self) -> Sequence[str]:
        """image, label and path."""
        return list(_FIELDS)

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record; labels and paths without opening a file."""
        match field:
            case "label":
                return [i.label for i in self._images]
            case "path":
                return [i.path for i in self._images]
            case "image":
                return [self._read(i) for i in self._images]
        raise DataError(self.path.name, f"no field is named '{field}'", did_you_mean(field, _FIELDS))

    def where(self, index: int) -> str:
        """``flowers/rose/17.jpg``."""
        return f"{self.path.name}/{self._images[index].path}"

    def _read(self, image: Image) -> bytes:
        if image.member is not None:
            return archive.read(self.path, image.member)
        file = self.path / image.path
        try:
            if file.stat().st_size > archive.LARGEST:
                raise DataError(
                    str(file), f"larger than {archive.LARGEST:,} bytes", "an image is smaller: remove the file"
                )
            return file.read_bytes()
        except OSError as error:
            raise DataError(
                str(file), f"cannot be read ({error.strerror})", "check the file and its permissions"
            ) from None


def _zipped(path: Path) -> dict[Steps, archive.Member | None]:
    if path.suffix.lower() != ".zip":
        raise DataError("data.path", f"{path.name} is neither a folder nor a .zip file", "name a folder of images")
    return {PurePosixPath(m.name).parts: m for m in archive.members(path)}


def _walked(root: Path) -> dict[Steps, archive.Member | None]:
    """Every file below the folder; linked folders are followed, each folder once. An empty folder is a `DataError`."""
    out: dict[Steps, archive.Member | None] = {}
    seen: set[tuple[int, int]] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = [name for name in below if not _hidden(name)]
        steps = Path(folder).relative_to(root).parts
        out.update(dict.fromkeys((*steps, name) for name in files))
        if steps and not below and not files:
            raise DataError("data.path", f"the folder {folder} is empty", "put images in it, or remove it")
    return out


def _sorted_out(
    files: Mapping[Steps, archive.Member | None],
) -> tuple[dict[Steps, archive.Member | None], dict[str, int]]:
    """The images in order, and how many other files there are of which kind."""
    skipped: Counter[str] = Counter()
    images = {}
    for steps in sorted(files):
        if any(_hidden(s) for s in steps):
            skipped["hidden"] += 1
        elif not steps[-1].lower().endswith(SUFFIXES):
            skipped["not images"] += 1
        else:
            images[steps] = files[steps]
    return images, dict(skipped)


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))  # the latter: what macOS adds to its archives


def _classified(found: Mapping[Steps, archive.Member | None], place: str) -> tuple[list[Image], int]:
    """Each image with its part and class, and how many lie beside the folders of classes."""
    outer = 0
    while _stepped_into(found, outer):
        outer += 1
    inner = {steps: steps[outer:] for steps in found}
    parts = _part_folders({s[0] for s in inner.values() if len(s) > 1}, place)
    images, loose = [], 0
    for steps, rest in inner.items():
        part = _PARTS[rest[0].lower()] if parts and rest[0] in parts else ""
        named = rest[1:] if part else rest
        if len(named) < 2:
            loose += 1
            continue
        images.append(Image(part, named[0], "/".join(steps), found[steps]))
    if not images:
        what = f"the {loose} images of {place} lie in no folder of a class"
        raise DataError("data.path", what, "put each in a folder named after its class")
    order = {"": 0, "train": 0, "valid": 1, "test": 2}
    return sorted(images, key=lambda i: (order[i.part], i.label, i.path)), loose


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


def _spans(images: Sequence[Image]) -> dict[str, range]:
    counts = Counter(i.part for i in images)
    out: dict[str, range] = {}
    start = 0
    for part, n in counts.items():
        out[part] = range(start, start + n)
        start += n
    return out


def _classes(images: Sequence[Image], place: str) -> list[str]:
    """The classes of the training part, sorted."""
    first = images[0].part
    classes = sorted({i.label for i in images if i.part == first})
    if len(classes) == 1:
        what = f"{place} has one class only, '{classes[0]}'"
        raise DataError("data.path", what, "put the images of each class in a folder of their own, side by side")
    for image in images:
        if image.label not in classes:
            what = f"the {image.part} part has a class '{image.label}' that the train part has not"
            raise DataError("data.path", what, did_you_mean(image.label, classes))
    return classes
