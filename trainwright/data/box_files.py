"""Pictures with boxes around the things in them, as COCO, Pascal VOC or YOLO write them, on disk or in a .zip file."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, final

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import archive, box_formats, paths
from trainwright.data.box_formats import Coco, Marks
from trainwright.data.fingerprint import digest, digests
from trainwright.data.folder import SUFFIXES
from trainwright.data.images import look
from trainwright.data.layout import hidden
from trainwright.data.source import Source

Form: TypeAlias = Literal["coco", "voc", "yolo"]
_PARTS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"}
_PARTS |= {"dev": "valid", "test": "test", "testing": "test"}
_ORDER = {"": 0, "train": 0, "valid": 1, "test": 2}
_FIELDS = ("image", "boxes", "labels", "ignored", "path")
_LOOKED_AT = 8  # .txt files that tell whether boxes are in them
_CLASSES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One picture."""

    part: str
    image: str | None  # below the folder or in the archive; None where it is not there
    name: str  # what it is called
    marks: str  # the file that says what is in it; "" where nothing is
    id: Any = None  # in a file for many pictures


@sources.add("boxes")
@final
class Boxes(Source):
    """Pictures with boxes: ``{"image": bytes, "boxes": [[x0, y0, x1, y1], …], "labels": […], "ignored": […], "path"}``.

    Edges are in pixels. A folder, or the .zip file of one, is read in one of three forms:

    - ``coco``: a .json file with images, annotations and categories, or one for each part, which its name or folder
      tells (instances_train2017.json, valid/_annotations.coco.json). Crowds are ignored.
    - ``voc``: an .xml file for each picture. Difficult things are ignored. Lists such as ImageSets/Main/train.txt, or
      train.txt, become parts; else folders train, valid and test do.
    - ``yolo``: a .txt file for each picture, beside it or in a folder labels where it is in images; a picture without
      one has no boxes. Names of the classes are in data.yaml, classes.txt or obj.names; else they are numbers. Folders
      train, valid (val) and test become parts.

    A picture that is not there, and a mark that cannot be read, make a bad sample. Other files are skipped.

    Args:
        path: the folder, the .zip file, or a .json file; a relative path is also looked up under $TRAINWRIGHT_DATA.
        form: how the boxes are written; "auto" finds it.
    """

    def __init__(self, *, path: str, form: Literal["auto"] | Form = "auto") -> None:
        self.path = paths.find(path, "data.path")
        self._home, only = _home(self.path)
        self._members: dict[str, archive.Member] = {}
        self._files = self._listed()
        self._images = {n for n in self._files if n.lower().endswith(SUFFIXES)}
        self._by_stem: dict[str, list[str]] = {}
        for name in sorted(self._images):
            self._by_stem.setdefault(PurePosixPath(name).stem, []).append(name)
        self.skipped: dict[str, int] = {}
        self._coco: dict[str, Coco] = {}
        self._names: Sequence[Any] | None = None
        self.form: Form = self._found_form() if form == "auto" and only is None else form if form != "auto" else "coco"
        if not self._images:
            raise DataError("data.path", f"{self.path} holds no images", "give the images beside their boxes")
        entries = {"coco": self._of_coco, "voc": self._of_voc, "yolo": self._of_yolo}[self.form](only)
        self._entries = sorted(entries, key=lambda e: (_ORDER[e.part], e.name))
        if not self._entries:
            raise DataError("data.path", f"{self.path} has no picture with boxes in the form '{self.form}'")

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._entries):
            raise IndexError(index)
        entry = self._entries[index]
        if entry.image is None:
            what = f"its picture '{entry.name}' is not there"
            raise DataError(f"{self._home.name}/{entry.marks}", what, "put it back, or leave the annotation out")
        image = self._read(entry.image)
        marks = self._marks(entry, image)
        return {"image": image, **marks._asdict(), "path": entry.image}

    def fingerprint(self) -> str:
        """Of every image and annotation, and of the form."""
        names = [(e.part, e.name, e.image) for e in self._entries]
        if self._home.is_file():
            return digest("boxes", self._home, names, self.form)
        used = sorted({f for e in self._entries for f in (e.image, e.marks) if f} | set(self._coco))
        return digest("boxes", digests(self._home / f for f in used), names, [self.form, list(self._names or [])])

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train, valid and test where lists, files or folders say so."""
        counts = Counter(e.part for e in self._entries)
        if len(counts) < 2 or "train" not in counts:
            return {}
        out: dict[str, range] = {}
        start = 0
        for part, n in sorted(counts.items(), key=lambda item: _ORDER[item[0]]):
            out[part] = range(start, start + n)
            start += n
        return out

    def fields(self) -> Sequence[str]:
        """image, boxes, labels, ignored and path."""
        return list(_FIELDS)

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record; labels and paths without opening a picture."""
        match field:
            case "path":
                return [e.image or e.name for e in self._entries]
            case "labels" | "ignored":
                return [getattr(self._marks(e, None), field) for e in self._entries]
            case "image" | "boxes":
                return [self[i][field] for i in range(len(self))]
        raise DataError(self.path.name, f"no field is named '{field}'", did_you_mean(field, _FIELDS))

    def where(self, index: int) -> str:
        """``blood/JPEGImages/17.jpg``."""
        entry = self._entries[index]
        return f"{self._home.name}/{entry.image or entry.marks}"

    def _listed(self) -> list[str]:
        """Every file that is meant to be seen."""
        if self._home.is_file():
            self._members = {m.name: m for m in archive.members(self._home)}
            found = [PurePosixPath(n).parts for n in self._members]
        else:
            found = list(_below(self._home))
        return sorted("/".join(steps) for steps in found if not any(hidden(s) for s in steps))

    def _read(self, name: str) -> bytes:
        if name in self._members:
            return archive.read(self._home, self._members[name])
        file = self._home / name
        try:
            if file.stat().st_size > archive.LARGEST and file.suffix.lower() != ".json":  # one for many images
                raise DataError(str(file), f"larger than {archive.LARGEST:,} bytes", "make it smaller, or remove it")
            return file.read_bytes()
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
            raise DataError(str(file), what, "check the file and its permissions") from None

    def _marks(self, entry: _Entry, image: bytes | None) -> Marks:
        """What is in a picture; without its bytes, boxes that are shares of its size stay so."""
        where = f"{self._home.name}/{entry.marks}"
        if not entry.marks:
            return Marks([], [], [])
        if self.form == "coco":
            return box_formats.of_image(self._coco[entry.marks], entry.id, where)
        data = self._read(entry.marks)
        if self.form == "voc":
            return box_formats.voc(data, where).marks
        seen = None if image is None else look(image)
        width, height = (1, 1) if seen is None else (seen.width, seen.height)
        return box_formats.yolo(data, width, height, self._names, where)

    def _found_form(self) -> Form:
        told = found_form(self._files, self._read)
        if told is None:
            raise DataError(
                "data.path",
                f"{self.path} holds no boxes in the form of COCO (.json), Pascal VOC (.xml) or YOLO (.txt)",
                "write data.form if they are in one of these",
            )
        return told

    def _of_coco(self, only: str | None) -> list[_Entry]:
        names = [only] if only else [f for f in self._files if f.lower().endswith(".json")]
        found = {n: self._read(n) for n in names}
        if only is None:
            found = {n: data for n, data in found.items() if box_formats.looks_like_coco(data)}
        if not found:
            raise DataError("data.path", f"{self.path} holds no .json file in the form of COCO", "name the file")
        parts = {n: _part_of(n) for n in found} if len(found) > 1 else dict.fromkeys(found, "")
        twice = [p for p, n in Counter(parts.values()).items() if n > 1 or (not p and len(parts) > 1)]
        if twice:
            what = f"several files say what is in the pictures: {', '.join(sorted(found))}"
            raise DataError("data.path", what, "name one of them as data.path, or keep one for each part")
        entries: list[_Entry] = []
        for name, data in found.items():
            told = self._coco[name] = box_formats.coco(data, f"{self._home.name}/{name}")
            for id_, image in told.images.items():
                file = str(image["file_name"])
                entries.append(_Entry(parts[name], self._picture(file, name), file, name, id_))
        return entries

    def _of_voc(self, only: str | None) -> list[_Entry]:
        marked = {n: PurePosixPath(n).stem for n in self._files if n.lower().endswith(".xml")}
        listed = self._lists(set(marked.values()))
        folders = {n: _folder_part(n) for n in marked}
        by_folder = not listed and all(folders.values())
        entries: list[_Entry] = []
        for name, stem in marked.items():
            if listed and stem not in listed:
                self._skip("in no list of a part")
                continue
            part = listed.get(stem, "") if listed else folders[name] if by_folder else ""
            image = self._picture(stem, name)
            told = stem
            if image is None:  # it may be called otherwise than its annotation
                told = _calls(self._read(name)) or stem
                image = self._picture(told, name)
            entries.append(_Entry(part, image, image or told, name))
        if lacking := sorted(set(listed) - set(marked.values())):
            what = f"'{lacking[0]}' is in the list of the {listed[lacking[0]]} part, and has no .xml file"
            raise DataError("data.path", what, "take it out of the list, or add the file")
        unmarked = len(self._images - {e.image for e in entries})
        self._skip("images without an annotation", 0 if listed else unmarked)
        return entries

    def _of_yolo(self, only: str | None) -> list[_Entry]:
        texts = {n for n in self._files if n.lower().endswith(".txt") and PurePosixPath(n).name not in _CLASSES}
        self._names = self._class_names()
        entries, used = [], set()
        folders = {n: _folder_part(n) for n in self._images}
        by_folder = all(folders.values())
        for image in sorted(self._images):
            marks = next((t for t in _yolo_places(image) if t in texts), "")
            used.add(marks)
            entries.append(_Entry(folders[image] if by_folder else "", image, image, marks))
        for name in sorted(texts - used):
            if box_formats.is_yolo(self._read(name)):  # boxes of a picture that is not there
                part = _folder_part(name) if by_folder else ""
                entries.append(_Entry(part or ("train" if by_folder else ""), None, PurePosixPath(name).stem, name))
        return entries

    def _class_names(self) -> Sequence[Any] | None:
        for name in self._files:
            last = PurePosixPath(name).name.lower()
            if last in _CLASSES or last.endswith((".names", ".yaml", ".yml")):
                yaml = last.endswith((".yaml", ".yml"))
                if yaml and b"names" not in self._read(name):
                    continue
                return box_formats.class_names(self._read(name), yaml, f"{self._home.name}/{name}")
        return None

    def _lists(self, stems: set[str]) -> dict[str, str]:
        """The part of each picture that a list names; nothing where there are no lists."""
        found: dict[str, dict[str, str]] = {}
        for name in self._files:
            place = PurePosixPath(name)
            part = _PARTS.get(place.stem.lower())
            if place.suffix.lower() != ".txt" or part is None:
                continue
            lines = self._read(name).decode("utf-8-sig", "replace").split("\n")
            words = [w[0] for w in (line.split() for line in lines) if w]
            members = {w if w in stems else PurePosixPath(w).stem: part for w in words}
            if part not in found and set(members) & stems:
                found[part] = members
        if "train" not in found:
            return {}
        out: dict[str, str] = {}
        for part, members in found.items():
            if both := set(out) & set(members):
                name = min(both)
                raise DataError("data.path", f"'{name}' is in the lists of the {out[name]} and the {part} part")
            out |= members
        return out

    def _picture(self, told: str, beside: str) -> str | None:
        """The file of a picture that an annotation calls so, nearest to the annotation."""
        place = PurePosixPath(told.replace("\\", "/"))
        named = told.lower().endswith(SUFFIXES)
        near = self._by_stem.get(place.stem if named else place.name, [])
        if named:
            near = [n for n in near if PurePosixPath(n).name == place.name]
        if len(near) < 2:
            return near[0] if near else None
        ways = (place.parts[:-1], PurePosixPath(beside).parts[:-1])
        return max(near, key=lambda n: (_ends(n, ways[0]), _shared(n, ways[1])))

    def _skip(self, why: str, count: int = 1) -> None:
        if count:
            self.skipped[why] = self.skipped.get(why, 0) + count


def found_form(files: Iterable[str], read: Any) -> Form | None:
    """In which form boxes are written in some files; None for none.

    Args:
        files: their paths.
        read: gives the bytes of one.
    """
    names = sorted(files)
    texts = [n for n in names if n.lower().endswith(".txt") and PurePosixPath(n).name not in _CLASSES]
    if any(box_formats.is_voc(read(n)) for n in [n for n in names if n.lower().endswith(".xml")][:_LOOKED_AT]):
        return "voc"
    if any(box_formats.looks_like_coco(read(n)) for n in names if n.lower().endswith(".json")):
        return "coco"
    stems = {PurePosixPath(n).stem for n in names if n.lower().endswith(SUFFIXES)}
    beside = [n for n in texts if PurePosixPath(n).stem in stems]
    return "yolo" if any(box_formats.is_yolo(read(n)) for n in beside[:_LOOKED_AT]) else None


def _home(path: Path) -> tuple[Path, str | None]:
    """The folder or archive of the files, and the .json file below it that was named."""
    if path.is_dir() or path.suffix.lower() == ".zip":
        return path, None
    if path.suffix.lower() != ".json":
        what = f"{path.name} is neither a folder, nor a .zip file, nor a .json file"
        raise UserError("data.path", what, "name the folder of the images and their boxes")
    folder = path.parent
    if folder.name.lower() in ("annotations", "labels") or not any(
        p.suffix.lower() in SUFFIXES for p in folder.rglob("*")
    ):
        return folder.parent, f"{folder.name}/{path.name}"
    return folder, path.name


def _below(root: Path) -> Iterator[tuple[str, ...]]:
    """Every file below a folder; linked folders are followed, each once. A folder of labels may well be empty."""
    seen: set[tuple[int, int]] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        steps = Path(folder).relative_to(root).parts
        yield from ((*steps, name) for name in files)


def _calls(data: bytes) -> str:
    """What an annotation calls its picture; "" where it cannot be read, which is told later."""
    try:
        return box_formats.voc(data, "").image
    except DataError:
        return ""


def _part_of(name: str) -> str:
    """The part that a path speaks of: instances_train2017.json, valid/_annotations.coco.json."""
    words = [w for w in re.split(r"[^a-z]+", name.lower()) if w]
    return next((_PARTS[w] for w in reversed(words) if w in _PARTS), "")


def _folder_part(name: str) -> str:
    steps = [s.lower() for s in PurePosixPath(name).parts[:-1]]
    return next((_PARTS[re.sub(r"\d+$", "", s)] for s in reversed(steps) if re.sub(r"\d+$", "", s) in _PARTS), "")


def _yolo_places(image: str) -> list[str]:
    """Where the boxes of a picture may be: in labels for images, or beside it."""
    place = PurePosixPath(image).with_suffix(".txt")
    steps = list(place.parts)
    inner = [i for i in range(len(steps) - 2, -1, -1) if steps[i].lower() == "images"]
    return [*("/".join([*steps[:i], "labels", *steps[i + 1 :]]) for i in inner), place.as_posix()]


def _ends(name: str, steps: Sequence[str]) -> bool:
    """Whether the folders of a file end with these."""
    folders = PurePosixPath(name).parts[:-1]
    return folders[len(folders) - len(steps) :] == tuple(steps)


def _shared(name: str, steps: Sequence[str]) -> int:
    """How many folders two ways have in common, from the first."""
    count = 0
    for a, b in zip(PurePosixPath(name).parts[:-1], steps, strict=False):
        if a != b:
            break
        count += 1
    return count
