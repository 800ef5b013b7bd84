"""What a person asks a run's model about: files, folders, tables, lines on standard input, or a part of its data."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.rows import Windows
from trainwright.core.task import Record
from trainwright.data.folder import SUFFIXES
from trainwright.data.lines import Lines
from trainwright.data.series import Series
from trainwright.data.source import Source, source_of
from trainwright.data.table import SUFFIXES as TABLES
from trainwright.data.unpacked import OPENED as PACKED
from trainwright.runs.directory import read_manifest
from trainwright.runs.elsewhere import source_elsewhere
from trainwright.runs.gathered import divided, open_source, same_data, skipping
from trainwright.runs.recipe import Recipe, read

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Item:
    """One record to answer for."""

    origin: Mapping[str, Any]  # where it comes from, the first columns of its answer
    place: str  # the same for messages
    read: Callable[[], Record]  # reads it when its turn comes; DataError where that cannot be


def items_from(paths: Sequence[str], folder: Path) -> Iterator[Item]:
    """The records of files and folders, read as the data of the run in ``folder`` was; ``-`` is standard input."""
    recipe = _readable(folder)
    own = tasks.tags(recipe.config.task["name"]).get("records")  # of a task with files of its own kind
    for name in paths:
        path = Path(name).expanduser()
        try:
            if name == STDIN:
                yield from _lines(sys.stdin.buffer, recipe, folder)
            elif not path.exists():
                reads_text = tasks.tags(recipe.config.task["name"]).get("reads_text")
                raise DataError(
                    name, "no such file or folder", "a text to judge is given by --text" if reads_text else ""
                )
            elif own is not None:
                yield from (_known(str(r.get("path", name)), r) for r in own(path))
            else:
                yield from _in(path, name, recipe, folder)
        except DataError as error:
            yield Item({"input": name}, name, _raising(error))


def items_typed(texts: Sequence[str], folder: Path) -> Iterator[Item]:
    """Texts that a person typed, for a run whose task reads texts."""
    name = _readable(folder).config.task["name"]
    if not tasks.tags(name).get("reads_text"):
        raise UserError("--text", f"this run does {name}, which reads no text", "name a file or a folder")
    yield from (Item({"text": text}, f"text {i}", _given({"text": text})) for i, text in enumerate(texts, 1))


def items_of(folder: Path, part: str) -> Iterator[Item]:
    """The records of a part of the run's own data."""
    from trainwright.runs.predict import reopened

    recipe = _readable(folder)
    facts = read_manifest(folder)["data"]
    source = open_source(recipe, lambda what, done, total: None)
    same_data(facts, {"fingerprint": source.fingerprint()}, folder)
    bad = set(facts.get("bad_samples", {}).get("records", []))
    task, _ = reopened(folder, None)
    skipped = skipping(recipe.config, len(source), sorted(bad))
    parts = divided(source, task, recipe.split, recipe.config.seed, skipped).parts
    if part not in parts:
        raise UserError("--part", f"the run has no part '{part}'", f"it has: {', '.join(parts)}")
    if task.processor.windows is not None and isinstance(source, Series):
        ids = parts[part].tolist()
        yield from _windows(source, {"part": part}, task.processor.windows, ids[0], ids[-1] + 1)
        return
    for i in parts[part].tolist():
        if i not in bad:
            yield Item({"part": part, "record": i}, source.where(i), _reader(source, i))


def _in(path: Path, name: str, recipe: Recipe, folder: Path) -> Iterator[Item]:
    """An image, a folder of images, or a file of records."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if files:
            yield from map(_image, files)
            return
    elif path.suffix.lower() in SUFFIXES:
        yield _image(path)
        return
    tags = tasks.tags(recipe.config.task["name"])
    if tags.get("reads_lines") and path.is_file() and not _tabular(path, recipe):
        yield from _each_line(path, name, recipe)
        return
    if tags.get("reads_text") and (texts := _texts(path, recipe)) is not None:
        yield from _rows(texts, name)
        return
    yield from _asked(path, name, recipe, folder)


def _asked(path: Path, name: str, recipe: Recipe, folder: Path) -> Iterator[Item]:
    """The records of a file; of series that a run reads in windows, the windows."""
    windows = tasks.make(recipe.config.task["name"], recipe.task).processor.windows
    own, options = recipe.reader()
    if windows is None or own != "series":
        yield from _rows(_source(path, recipe, folder), name)
        return
    label = recipe.task.get("label")  # which a file to ask about need not have
    if options.get("columns"):
        options = {**options, "columns": [name for name in options["columns"] if name != label]}
    source = source_of(own, {**options, "path": str(path)})
    assert isinstance(source, Series)
    yield from _windows(source, {"input": name}, windows, 0, len(source))


def _windows(source: Series, origin: Mapping[str, Any], windows: Windows, first: int, stop: int) -> Iterator[Item]:
    """Every window of some times, as records of lists; the last ends where they do, whatever the stride."""
    size, cells = windows.lead + windows.length, source.stretch()
    if stop - first < size:
        what = f"has {stop - first:,} times, and a window of this run has {size}"
        raise DataError(source.path.name, what, "give a longer stretch")
    for start in dict.fromkeys([*range(first, stop - size + 1, windows.stride), stop - size]):
        record = {name: values[start : start + size] for name, values in cells.items()}
        yield Item({**origin, "row": start + 1}, source.where(start), _given(record))


def _texts(path: Path, recipe: Recipe) -> Source | None:
    """A text file or a folder of them: a text is a line where it was so in training, else a file; None for others."""
    if _tabular(path, recipe) or (path.is_file() and path.suffix.lower() == ".gz"):
        return None
    own, options = recipe.reader()
    lines = own != "texts" or options.get("classes") is not None or options.get("per") == "line"
    kept: dict[str, Any] = {key: options[key] for key in ("endings", "encoding") if own == "texts" and key in options}
    return source_of("texts", {"path": str(path), "per": "line" if lines else "file", "labels": "none", **kept})


def _tabular(path: Path, recipe: Recipe) -> bool:
    """Whether a file is a table by its name, packed or not, or named as the one that the run was trained on."""
    own, options = recipe.reader()
    if own == "table" and path.suffix and Path(str(options.get("path", ""))).suffix == path.suffix:
        return True
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return path.is_file() and name.suffix.lower() in TABLES


def _each_line(path: Path, name: str, recipe: Recipe) -> Iterator[Item]:
    """Every line of a file that may be packed, blank ones too, so that answer i belongs to line i."""
    lines = Lines(path, str(recipe.reader()[1].get("encoding", "utf-8")), blank=True)
    for i in range(len(lines)):
        yield Item({"input": name, "row": i + 1}, lines.where(i), _line(lines, i))


def _line(lines: Lines, index: int) -> Callable[[], Record]:
    return lambda: {"text": lines[index]}


def _readable(folder: Path) -> Recipe:
    if read_manifest(folder)["kind"] == "own":
        raise UserError(
            str(folder),
            "this run trained a module of your own, which its files cannot name",
            f'in Python, write tw.open("{folder}", model=net).predict(x)',
        )
    return read(folder)


def _image(path: Path) -> Item:
    def bytes_of() -> Record:
        try:
            return {"image": path.read_bytes(), "path": str(path)}
        except OSError as error:
            raise DataError(str(path), f"cannot be read ({error.strerror})") from None

    return Item({"input": str(path)}, str(path), bytes_of)


def _source(path: Path, recipe: Recipe, folder: Path) -> Source:
    """A table, or a file of the kind the run was trained on."""
    own, options = recipe.reader()
    name = "table" if own == "table" or path.suffix.lower() in TABLES else own
    if "path" not in options and name == own:
        raise DataError(
            str(path), f"the source '{own}' reads no files", "give a table (.csv, .parquet, .jsonl) or images"
        )
    read_so = {**options, "path": str(path)} if name == own else {"path": str(path)}
    return source_elsewhere(folder, name, read_so, recipe.task.get("target"))


def _rows(source: Source, name: str) -> Iterator[Item]:
    """The records of a file, counted from 1."""
    for i in range(len(source)):
        yield Item({"input": name, "row": i + 1}, source.where(i), _reader(source, i))


def _reader(source: Source, index: int) -> Callable[[], Record]:
    return lambda: source[index]


def _given(record: Record) -> Callable[[], Record]:
    return lambda: record


def _known(name: str, record: Record) -> Item:
    """A record of a file; of a film, with the number of the frame and its second."""
    when = {key: record[key] for key in ("frame", "second") if key in record}
    place = f"{name}, frame {when['frame']}" if when else name
    return Item({"input": name, **when}, place, lambda: record)


def _raising(error: DataError) -> Callable[[], Record]:
    def fail() -> Record:
        raise error

    return fail


def _lines(stream: BinaryIO, recipe: Recipe, folder: Path) -> Iterator[Item]:
    """JSON lines one by one, as they come; or CSV with a header, which ends before the first answer."""
    first = next((line for line in stream if line.strip()), b"")
    if not first:
        raise DataError("standard input", "is empty", "give JSON lines, or CSV with a header")
    if first.lstrip().startswith(b"{"):
        yield from _objects(first, stream)
        return
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "standard-input.csv"
        with path.open("wb") as file:
            file.write(first)
            file.writelines(stream)
        yield from _asked(path, STDIN, recipe, folder)


def _objects(first: bytes, rest: Iterable[bytes]) -> Iterator[Item]:
    yield _object(first, 1)  # the line that was read to see what this is
    for number, line in enumerate((line for line in rest if line.strip()), 2):
        yield _object(line, number)


def _object(line: bytes, number: int) -> Item:
    def parsed() -> Record:
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(place, f"not JSON ({error})", "write one object per line") from None
        if not isinstance(record, dict):
            raise DataError(place, f"is a {type(record).__name__}", "write one object per line")
        return record

    place = f"standard input, record {number}"
    return Item({"input": STDIN, "row": number}, place, parsed)
