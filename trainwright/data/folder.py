"""Images in one folder per class, on disk or in a .zip file, whole or in folders train, valid and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, final

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import archive, paths
from trainwright.data.fingerprint import digest, digests
from trainwright.data.layout import File, Found, Steps, classes, classified, hidden, spans, walked
from trainwright.data.source import Source

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
_FIELDS = ("image", "label", "path")


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
        found, self.skipped = _sorted_out(_zipped(self.path) if self.path.is_file() else walked(self.path, "images"))
        if not found:
            held = ", ".join(f"{n} {why}" for why, n in self.skipped.items()) or "nothing"
            raise DataError("data.path", f"{self.path} holds no images ({held})", "put them in one folder per class")
        self._images, loose = classified(found, str(self.path), "images")
        if loose:
            self.skipped = {**self.skipped, "beside the folders of classes": loose}
        self._parts = spans(self._images)
        self.classes = classes(self._images, str(self.path), "images")

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

    def _read(self, image: File) -> bytes:
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


def _sorted_out(files: Found) -> tuple[dict[Steps, archive.Member | None], dict[str, int]]:
    """The images in order, and how many other files there are of which kind."""
    skipped: Counter[str] = Counter()
    images = {}
    for steps in sorted(files):
        if any(hidden(s) for s in steps):
            skipped["hidden"] += 1
        elif not steps[-1].lower().endswith(SUFFIXES):
            skipped["not images"] += 1
        else:
            images[steps] = files[steps]
    return images, dict(skipped)
