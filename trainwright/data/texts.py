"""Texts in files: one text per file or per line, in one folder per class or without classes."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, Literal, final

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import archive, encodings, paths
from trainwright.data.fingerprint import digest, digests
from trainwright.data.layout import File, Found, classes, classified, documents, hidden, spans, walked
from trainwright.data.lines import Lines
from trainwright.data.source import Source

Per = Literal["auto", "file", "line"]


@sources.add("texts")
@final
class Texts(Source):
    """Text files: ``{"text": …, "path": …}``, with a ``"label"`` where the folder or the file says a class.

    - A folder, or the .zip file of one, with one folder per class, or with folders train, valid (val, validation, dev)
      and test that hold the same classes and become parts: each file is a text.
    - A folder of files without classes: documents, such as those a language model learns from.
    - A single file: one document, or one text per line.
    - One file per class with one text per line, named in ``classes``.

    Records are in the order of part, class and path. Hidden files and those of other names are skipped and counted in
    ``skipped``, and so are blank lines. A text that is not in the encoding is a bad sample.

    Args:
        path: the folder, .zip file or text file; a relative path is also looked up under $TRAINWRIGHT_DATA.
        per: what a text is: a whole "file", or a "line"; "auto" is a line where classes are named, else a file.
        classes: the file of each class below the folder, such as { neg = "reviews.neg", pos = "reviews.pos" }.
        labels: whether the names of folders are classes; "auto" says so where there are two at least, and hardly a file
            lies beside them.
        endings: of the names of text files.
        encoding: of the texts, by Python's name: utf-8, latin-1, cp1252, utf-16.
    """

    def __init__(
        self,
        *,
        path: str,
        per: Per = "auto",
        classes: dict[str, str] | None = None,
        labels: Literal["auto", "folders", "none"] = "auto",
        endings: tuple[str, ...] = (".txt",),
        encoding: str = "utf-8",
    ) -> None:
        encodings.known(encoding)
        self.path = paths.find(path, "data.path")
        self.encoding = encoding
        self.skipped: Mapping[str, int] = {}
        self._files = self._found(classes, labels, endings)
        self._lined = per == "line" or (per == "auto" and classes is not None)
        if classes is not None and not self._lined:
            raise UserError("data.per", "files named in data.classes hold a text per line", 'write "line"')
        self.labelled = any(f.label for f in self._files)
        self._lines: list[Lines] = self._read_lines() if self._lined else []
        self._stops = list(accumulate(len(x) for x in self._lines)) if self._lined else []
        self._options = (self._lined, classes, labels, endings, encoding)
        if not len(self):
            raise DataError("data.path", f"{self.path} holds no text", "give files with text in them")

    def __len__(self) -> int:
        return self._stops[-1] if self._lined else len(self._files)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        k, line = self._at(index)
        file = self._files[k]
        text = self._lines[k][line] if self._lined else self._read(file)
        label = {"label": file.label} if self.labelled else {}
        return {"text": text, **label, "path": file.path}

    def fingerprint(self) -> str:
        """Of every file's content and path, and of every option."""
        names = [f.path for f in self._files]
        if self.path.is_file():
            return digest("texts", self.path, names, self._options)
        return digest("texts", digests(self.path / n for n in names), names, self._options)

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train, valid and test where there are such folders."""
        by_file = spans(self._files)
        if len(by_file) < 2:
            return {}
        if not self._lined:
            return by_file
        starts = [0, *self._stops]
        return {part: range(starts[r.start], starts[r.stop]) for part, r in by_file.items()}

    def fields(self) -> Sequence[str]:
        """text, label and path; no label where there are no classes."""
        return ["text", "label", "path"] if self.labelled else ["text", "path"]

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record; labels and paths without opening a file."""
        if field not in self.fields():
            raise DataError(self.path.name, f"no field is named '{field}'", did_you_mean(field, self.fields()))
        if field == "text":
            return [self[i]["text"] for i in range(len(self))]
        each = [f.label if field == "label" else f.path for f in self._files]
        return [value for value, n in zip(each, self._counts(), strict=True) for _ in range(n)]

    def where(self, index: int) -> str:
        """``reviews/pos/17.txt``, or ``reviews.pos, line 17``."""
        k, line = self._at(index)
        return self._lines[k].where(line) if self._lined else self._place(self._files[k])

    def _at(self, index: int) -> tuple[int, int]:
        """The file of a record, and its line there."""
        if not self._lined:
            return index, 0
        k = bisect_right(self._stops, index)
        return k, index - (self._stops[k - 1] if k else 0)

    def _counts(self) -> list[int]:
        return [len(x) for x in self._lines] if self._lined else [1] * len(self._files)

    def _place(self, file: File) -> str:
        return self.path.name if self.path.is_file() and file.member is None else f"{self.path.name}/{file.path}"

    def _read(self, file: File) -> str:
        place = self._place(file)
        if file.member is not None:
            data = archive.read(self.path, file.member)
            return encodings.decoded(encodings.recoded(data, self.encoding, place), place)
        whole = self.path if self.path.is_file() else self.path / file.path
        return encodings.decoded(encodings.utf8(whole, self.encoding), place)

    def _read_lines(self) -> list[Lines]:
        if any(f.member is not None for f in self._files):
            raise UserError("data.per", "lines are not read out of a .zip file", "unpack it, and name the folder")
        whole = [self.path if self.path.is_file() else self.path / f.path for f in self._files]
        lines = [Lines(path, self.encoding, blank=False) for path in whole]
        if blank := sum(x.blank for x in lines):
            self.skipped = {**self.skipped, "blank lines": blank}
        return lines

    def _found(self, named: Mapping[str, str] | None, labels: str, endings: Sequence[str]) -> list[File]:
        if named is not None:
            return _of_classes(self.path, named)
        if self.path.is_file() and self.path.suffix.lower() != ".zip":
            return [File("", "", self.path.name, None)]
        if not endings or not all(endings):
            raise UserError("data.endings", "is empty", 'write ["."] to read every file with an ending, or [".txt"]')
        every: Found = _zipped(self.path) if self.path.is_file() else walked(self.path, "texts")
        found, self.skipped = _sorted_out(every, tuple(e.lower() for e in endings))
        if not found:
            held = ", ".join(f"{n} {why}" for why, n in self.skipped.items()) or "nothing"
            what = f"{self.path} holds no files named {' or '.join(endings)} ({held})"
            raise DataError("data.path", what, "name the endings of your text files: endings = [...]")
        return self._classed(found, labels)

    def _classed(self, found: Found, labels: str) -> list[File]:
        place = str(self.path)
        loose = documents(found, place)
        beside = sum(f.path.count("/") <= int(bool(f.part)) for f in loose)
        if labels == "none" or (labels == "auto" and beside > len(loose) / 10):
            return loose
        files, beside = classified(found, place, "texts")
        if labels == "auto" and len({f.label for f in files}) == 1:
            return loose
        if beside:
            self.skipped = {**self.skipped, "beside the folders of classes": beside}
        classes(files, place, "texts")
        return files


def _of_classes(folder: Path, named: Mapping[str, str]) -> list[File]:
    """The file of each class."""
    if not folder.is_dir():
        raise DataError("data.path", f"{folder} is no folder", "name the folder of the files in data.classes")
    if len(named) < 2:
        raise UserError("data.classes", "names fewer than two classes", 'write { neg = "FILE", pos = "FILE" }')
    for label, name in named.items():
        if not os.path.isfile(folder / name) or ".." in PurePosixPath(name).parts:
            there = sorted(p.name for p in folder.iterdir() if p.is_file())
            raise DataError(f"data.classes.{label}", f"{folder} holds no file '{name}'", did_you_mean(name, there))
    return [File("", label, named[label], None) for label in sorted(named)]


def _zipped(path: Path) -> Found:
    return {PurePosixPath(m.name).parts: m for m in archive.members(path)}


def _sorted_out(files: Found, endings: tuple[str, ...]) -> tuple[Found, dict[str, int]]:
    """The text files in order, and how many other files there are of which kind."""
    skipped: Counter[str] = Counter()
    texts = {}
    for steps in sorted(files):
        if any(hidden(s) for s in steps):
            skipped["hidden"] += 1
        elif not steps[-1].lower().endswith(endings):
            skipped[f"not named {' or '.join(endings)}"] += 1
        else:
            texts[steps] = files[steps]
    return texts, dict(skipped)
