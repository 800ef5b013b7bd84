"""Reads run folders and nothing else: files of fixed names, through no link, never more than a file may hold."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from trainwright.core.redaction import each_text, redacted, without_secrets
from trainwright.runs.directory import CONFIG, EVENTS, FOLDS, MANIFEST, NOTES, STUDY, TRIALS, run_places
from trainwright.runs.lock import LOCK, locked

CONFUSION = "confusion.csv"
_LARGEST = {
    CONFIG: 1 << 20, MANIFEST: 16 << 20, CONFUSION: 16 << 20, LOCK: 1 << 12, STUDY: 1 << 20, FOLDS: 1 << 20,
    "result.json": 32 << 20, "trials.csv": 32 << 20, NOTES: 1 << 20,
}  # bytes that are read  # fmt: skip
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_FENCED = os.open in os.supports_dir_fd


class UnreadableError(Exception):
    """A file of a run that is not there, is a link, is too large or is not what a run writes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A run folder below the folder that was opened: nothing outside of it is ever read."""

    root: Path
    parts: tuple[str, ...]  # names below the root; none where the root is the run

    @property
    def path(self) -> Path:
        """Of the run folder."""
        return self.root.joinpath(*self.parts)

    @property
    def name(self) -> str:
        """As a person tells the run from others."""
        return "/".join(self.parts) or self.root.name

    @property
    def key(self) -> str:
        """By which a page asks for the run: says nothing of the disk, and is the same tomorrow."""
        return sha256("\0".join(("run", *self.parts)).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def training(self) -> bool:
        """Whether a process is writing the run."""
        return locked(self.path)

    def config(self) -> dict[str, Any]:
        """The recipe with its defaults, secrets hidden."""
        try:
            content = tomllib.loads(self.text(CONFIG))
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"{CONFIG}: {error}") from None
        hidden: dict[str, Any] = each_text(without_secrets(content, named=True), redacted)
        return hidden

    def manifest(self) -> dict[str, Any]:
        """Versions, machine, data and model of the run."""
        return self.object(MANIFEST)

    def owner(self) -> dict[str, Any]:
        """Who writes the run: its process and host."""
        return self.object(LOCK)

    def confusion(self) -> tuple[list[str], list[list[int]]]:
        """Labels, and ``counts[i][j]`` samples of the class i that were called j."""
        try:
            (_, *labels), *rows = csv.reader(io.StringIO(self.text(CONFUSION)))
            counts = [[int(n) for n in row[1:]] for row in rows]
        except (ValueError, csv.Error) as error:
            raise UnreadableError(f"{CONFUSION}: {error}") from None
        if len(counts) != len(labels) or any(len(row) != len(labels) for row in counts):
            raise UnreadableError(f"{CONFUSION}: is no square table")
        return labels, counts

    @contextmanager
    def events(self) -> Iterator[BinaryIO]:
        """The log of what happened, open for reading; UnreadableError where it is none."""
        with self._opened(EVENTS) as file:
            yield file

    @contextmanager
    def folder(self) -> Iterator[int]:
        """A handle of the run folder, through no link."""
        if not _FENCED:
            raise NotImplementedError
        handle = _through_no_link(self.root, self.parts or (".",), os.O_DIRECTORY)
        try:
            yield handle
        finally:
            os.close(handle)

    def object(self, name: str) -> dict[str, Any]:
        """The JSON object in a file of a known name; UnreadableError where there is none."""
        try:
            content = json.loads(self.text(name))
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"{name}: {error}") from None
        if not isinstance(content, dict):
            raise UnreadableError(f"{name}: holds no object")
        return content

    def text(self, name: str) -> str:
        """The content of a file of a known name; UnreadableError where it is none, or too large."""
        with self._opened(name) as file:
            data = file.read(_LARGEST[name] + 1)
        if len(data) > _LARGEST[name]:
            raise UnreadableError(f"{name}: has more than {_LARGEST[name]:,} bytes")
        return data.decode("utf-8")

    @contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        try:
            handle = _through_no_link(self.root, (*self.parts, name))
            with open(handle, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise UnreadableError(f"{name}: is no file")
                yield file
        except OSError as error:
            raise UnreadableError(f"{name}: {error.strerror or error}") from None


def places(root: Path) -> Iterator[Place]:
    """The run folders of a folder: itself, those directly in it, those of several seeds or folds, the best of searches.

    Links are not followed.
    """
    if _is_run(root):
        yield Place(root, ())
        return
    for entry in _folders(root):
        if _is_run(Path(entry.path)):
            yield Place(root, (entry.name,))
        else:
            held = [p.name for p in run_places(Path(entry.path)) if p.parent == Path(entry.path)]
            below = [e for e in _folders(Path(entry.path)) if e.name in held] if held else []
            yield from (Place(root, (entry.name, e.name)) for e in below if _is_run(Path(e.path)))


def trials(root: Path) -> Iterator[Place]:
    """The run folders of the trials of all searches in a folder, or of the search that it is."""
    for parts in [(), *((entry.name,) for entry in _folders(root))]:
        yield from trials_of(Place(root, parts))


def trials_of(search: Place) -> Iterator[Place]:
    """The run folders of the trials of a search; none where it is no search. Links are not followed."""
    if os.path.isfile(search.path / STUDY) and TRIALS in [entry.name for entry in _folders(search.path)]:
        for entry in _folders(search.path / TRIALS):
            if _is_run(Path(entry.path)):
                yield Place(search.root, (*search.parts, TRIALS, entry.name))


def _is_run(folder: Path) -> bool:
    return os.path.isfile(folder / MANIFEST)


def _folders(root: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(root) as entries:
        return [e for e in entries if e.is_dir(follow_symlinks=False)]
    return []


def _through_no_link(root: Path, parts: tuple[str, ...], more: int = 0) -> int:
    """A handle of the file; OSError where any part of the way below the root is a link.

    Args:
        root: the folder that was opened.
        parts: names below it.
        more: flags; O_DIRECTORY for a folder.
    """
    if not _FENCED:  # Windows
        if any(root.joinpath(*parts[: i + 1]).is_symlink() for i in range(len(parts))):
            raise OSError("is a link")
        return os.open(root.joinpath(*parts), _FLAGS | more)
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(parts[-1], _FLAGS | more, dir_fd=here)
    finally:
        os.close(here)
