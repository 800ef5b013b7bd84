"""Plain texts as one long stream: files are read in pieces of a few lines, which follow one another without a gap."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
from pydantic import Field

from trainwright.core.errors import DataError
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import paths
from trainwright.data.fingerprint import digest
from trainwright.data.layout import hidden
from trainwright.data.source import Source

SUFFIXES = (".txt", ".text", ".md", ".rst", ".log", ".tex", ".py")
_LEAST, _PIECES = 256, 20_000  # bytes of a piece at least; pieces of a stream, about, at most
_SMALL = 100  # pieces of a short stream, at most: some of them can be held out
_LONG = 16  # pieces' sizes without the end of a line, after which a piece ends anyway
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class _Document:
    """A file, and where its pieces begin."""

    path: Path
    cuts: np.ndarray[tuple[int], np.dtype[np.int64]]  # bytes; the last is the end
    text: bytes | None  # in UTF-8, where the file is in another encoding


@sources.add("documents")
@final
class Documents(Source):
    """A text file, or every text file of a folder and the folders in it, in the order of their paths, to be continued.

    Records are ``{"text": a few lines, "end": whether another document follows}``; together they are the documents to
    the letter, but that lines end in one character. A split in stretches therefore cuts at a line, also within a
    document: the last tenth of one long text can be held out. Files are not kept in memory.

    Args:
        path: a file, or a folder with .txt, .text, .md, .rst, .log, .tex or .py files; a relative path is also looked
            up under $TRAINWRIGHT_DATA.
        encoding: of the files, such as "utf-8", "latin-1" or "utf-16".
        piece: bytes of a record at least; "auto" is 256, less for short texts, more beyond 5 MB.
    """

    def __init__(
        self, *, path: str, encoding: str = "utf-8", piece: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    ) -> None:
        self.path = paths.find(path, "data.path")
        self.encoding = _known(encoding)
        files = list(_files(self.path))
        size = sum(f.stat().st_size for f in files)
        least = max(1, min(_LEAST, size // _SMALL), size // _PIECES) if piece == "auto" else piece
        found = (_document(file, self.encoding, least) for file in files)
        self._documents = [d for d in found if len(d.cuts) > 1]
        if not self._documents:
            what = "holds no text" if files else f"holds no text file ({', '.join(SUFFIXES)})"
            raise DataError("data.path", f"{self.path} {what}", "name a file or a folder with text")
        self._ends = np.cumsum([len(d.cuts) - 1 for d in self._documents]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, place = self._at(index)
        document = self._documents[number]
        start, stop = (int(c) for c in document.cuts[place : place + 2])
        raw = _read(document.path, start, stop) if document.text is None else document.text[start:stop]
        try:
            text = raw.decode().replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError as error:
            what = f"byte {start + error.start:,} is no UTF-8"
            instead = 'write the encoding of the file: data.encoding = "latin-1", or save it as UTF-8'
            raise DataError(str(document.path), what, instead) from None
        last = place == len(document.cuts) - 2
        return {"text": text, "end": last and number < len(self._documents) - 1}

    def fingerprint(self) -> str:
        """Of every file and where it is cut."""
        return digest("documents", self.encoding, *((d.path, d.cuts) for d in self._documents))

    def fields(self) -> Sequence[str]:
        """Text, and end."""
        return ["text", "end"]

    def parts(self) -> Mapping[str, Sequence[int]]:
        """Files or folders named train, valid and test, where the folder has them."""
        found: dict[str, list[int]] = {}
        for document, end in zip(self._documents, self._ends, strict=True):
            name = _part(document.path.relative_to(self.path if self.path.is_dir() else self.path.parent))
            found.setdefault(name, []).extend(range(end - len(document.cuts) + 1, end))
        return found if "train" in found and "" not in found and len(found) > 1 else {}

    def where(self, index: int) -> str:
        """``poems.txt, bytes 512 to 790``."""
        number, place = self._at(index)
        document = self._documents[number]
        return f"{document.path.name}, bytes {document.cuts[place]:,} to {document.cuts[place + 1]:,}"

    def _at(self, index: int) -> tuple[int, int]:
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)


def pieces(raw: bytes, least: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where to cut UTF-8 text: behind the first end of a line after so many bytes, from 0 to the end."""
    lines = np.flatnonzero(np.frombuffer(raw, np.uint8) == ord("\n")) + 1
    cuts = [len(_BOM) if raw.startswith(_BOM) else 0]
    while cuts[-1] < len(raw):
        at = int(np.searchsorted(lines, cuts[-1] + least))
        stop = int(lines[at]) if at < len(lines) else len(raw)
        if stop - cuts[-1] > _LONG * least:
            stop = _in_line(raw, cuts[-1] + least, cuts[-1] + _LONG * least)
        cuts.append(stop)
    if len(cuts) > 2 and cuts[-1] - cuts[-2] < least:  # a rest goes with what is before it
        del cuts[-2]
    return np.array(cuts, np.int64)


def _in_line(raw: bytes, first: int, last: int) -> int:
    """Behind a blank where there is one, else between two characters."""
    blank = raw.find(b" ", first, last)
    if blank >= 0:
        return blank + 1
    while last < len(raw) and raw[last] & 0xC0 == 0x80:
        last += 1
    return last


def _document(path: Path, encoding: str, least: int) -> _Document:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "check the file and its permissions") from None
    if encoding in ("utf-8", "ascii"):
        if b"\0" in raw[:4096]:
            what = "is no text in UTF-8: it holds bytes that are 0"
            raise DataError(str(path), what, 'write data.encoding = "utf-16", or name a text file')
        return _Document(path, pieces(raw, least), None)
    try:
        text = raw.decode(encoding).encode()
    except UnicodeError as error:
        raise DataError(str(path), f"is not in the encoding {encoding} ({error})", "write another encoding") from None
    return _Document(path, pieces(text, least), text)


def _read(path: Path, start: int, stop: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "put it back") from None


def _files(path: Path) -> Iterator[Path]:
    """The file, or those of a folder with a suffix of texts, in the order of their paths."""
    if not path.is_dir():
        yield path
        return
    found = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    shown = (p for p in found if not any(hidden(step) for step in p.relative_to(path).parts))
    yield from sorted(p for p in shown if p.suffix.lower() in SUFFIXES)


def _part(path: Path) -> str:
    """What the first step of a path says: train, valid or test; "" where nothing."""
    name = Path(path.parts[0]).stem.lower()
    known = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"}
    return {**known, "dev": "valid", "test": "test"}.get(name, "")


def _known(encoding: str) -> str:
    import codecs

    try:
        return codecs.lookup(encoding).name
    except LookupError:
        what = f"'{encoding}' is no encoding that Python knows"
        raise DataError("data.encoding", what, 'write "utf-8", "latin-1" or "utf-16"') from None
