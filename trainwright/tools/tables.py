"""Tables as people keep them: one file, or a training and a test file in a folder, in whatever dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import sources
from trainwright.data import paths
from trainwright.data.joined import Joined
from trainwright.data.source import Source
from trainwright.data.table import PACKED
from trainwright.data.unpacked import contents

_KINDS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson")
TABLES = (*_KINDS, *(kind + packed for kind in _KINDS for packed in PACKED), ".parquet", ".pq")
_PLAIN = (".txt", ".data", ".dat")  # names of many things, some of them tables
_HEAD = 1 << 14  # bytes of a file that are looked at for its separator
_PARTS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"}
_PARTS |= {"dev": "valid", "test": "test", "testing": "test"}


@dataclass(slots=True)
class Read:
    """A table that was read, or several that are parts of one."""

    spec: dict[str, Any]  # of the recipe's data section; paths are Path
    source: Source
    told: str
    target: str | None = None
    unlabelled: Path | None = None
    unsure: list[str] = field(default_factory=list)


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name, or by a mark that stands equally often in each of its first lines."""
    name = path.name.lower()
    return name.endswith(TABLES) or (name.endswith(_PLAIN) and _separator(path, {}) is not None)


def of_file(path: Path) -> Read:
    """One table, read in the dialect it is written in."""
    options, source, unsure = _opened(path)
    read = Read({"source": "table", "path": path, **options}, source, "a table", unsure=unsure)
    beside = _twin(path)
    if beside:
        read.unsure.append(f"{beside.name} lies beside it; to use both: trainwright new {path.parent}")
    return read


def in_folder(folder: Path, names: Sequence[str]) -> Read:
    """The tables of a folder: the only one, or one for each part."""
    if len(names) == 1:
        return of_file(folder / names[0])
    parts: dict[str, Path] = {}
    for name in names:
        part = _part(name)
        if part is None or part in parts:
            raise _ask(folder, names)
        parts[part] = folder / name
    if "train" not in parts:
        raise _ask(folder, names)
    options, train, unsure = _opened(parts["train"])
    spec: dict[str, Any] = {"source": "table", "path": parts["train"], **options}
    others: dict[str, Source] = {
        p: sources["table"](path=str(parts[p]), **options) for p in ("valid", "test") if p in parts
    }
    read = Read(
        spec, train, "tables for " + " and ".join(p for p in ("train", "valid", "test") if p in parts), unsure=unsure
    )
    lacking = {p: [f for f in train.fields() if f not in s.fields()] for p, s in others.items()}
    if len(lacking.get("test", [])) == 1:
        read.target, read.unlabelled = lacking["test"][0], parts["test"]
        del others["test"]
    spec.update({p: parts[p] for p in others})
    if others:
        read.source = Joined({"train": train, **others})
    return read


def _opened(path: Path) -> tuple[dict[str, Any], Source, list[str]]:
    """The options of the source `table` that read a file, the records, and what is guessed of them."""
    options: dict[str, Any] = {}
    unsure: list[str] = []
    for _ in range(5):  # each round settles one option
        try:
            source: Source = sources["table"](path=str(path), **options)
            break
        except DataError as error:
            more = _cure(str(error), path, options)
            if more is None:
                raise
            options |= more
            unsure += [f"the file is taken to be written with {key} = {value!r}" for key, value in more.items()]
    else:
        raise AssertionError("four options cure all there is")
    if _headless(source) and "header" not in options and path.name.lower().endswith((".csv", ".tsv", ".tab", *_PLAIN)):
        options["header"] = False
        source = sources["table"](path=str(path), **options)
        unsure.append("the first line looks like a record, so the columns are named column_1, column_2, …")
    if options.get("separator") == ";" and _commas(source):
        options["decimal"] = ","
        source = sources["table"](path=str(path), **options)
    return options, source, unsure


def _cure(trouble: str, path: Path, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The option that a message of the reader's asks for."""
    if "separator" not in options and "separator" in trouble and (mark := _separator(path, options)):
        return {"separator": mark}
    if "quote" not in options and "quote" in trouble and path.name.lower().endswith((".tsv", ".tab")):
        return {"quote": ""}  # tabs are rare in text, so those who use them seldom quote
    if "encoding" not in options and "not UTF-8" in trouble:
        return {"encoding": "cp1252"}
    if "encoding" not in options and "UTF-16" in trouble:
        return {"encoding": "utf-16"}
    if options.get("encoding") == "cp1252":
        return {"encoding": "latin-1"}
    return None


def _separator(path: Path, options: Mapping[str, Any]) -> str | None:
    """The mark that stands equally often in each of the first lines."""
    real = paths.find(str(path), "PATH")
    data = contents(real)
    head = data[:_HEAD].decode(options.get("encoding", "utf-8"), "replace")
    lines = [line for line in head.splitlines()[:-1] if line.strip()] or head.splitlines()
    counts = {mark: {line.count(mark) for line in lines} for mark in (";", "\t", "|", ",")}
    return next((mark for mark, found in counts.items() if len(found) == 1 and found != {0}), None)


def _headless(source: Source) -> bool:
    """Whether half of the names are numbers, and not ones that count up, as years do."""
    names = source.fields()
    numbers = [float(n) for n in names if _is_number(n)]
    counting = len(numbers) > 1 and all(a < b and b == int(b) for a, b in pairwise(numbers))
    return 2 * len(numbers) >= len(names) and not counting


def _commas(source: Source) -> bool:
    """Whether some column of text holds numbers with a decimal comma."""
    for name in source.fields():
        some = [v for v in source.values(name) if v is not None][:100]
        if some and all(isinstance(v, str) and re.fullmatch(r"-?\d+,\d+", v) for v in some):
            return True
    return False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _part(name: str) -> str | None:
    """The part that a file's name tells: adult_train.csv, test.csv."""
    words = re.split(r"[^a-z]+", name.lower().partition(".")[0])
    told = {_PARTS[w] for w in words if w in _PARTS}
    return told.pop() if len(told) == 1 else None


def _twin(path: Path) -> Path | None:
    """A test file beside a training file."""
    real = paths.find(str(path), "PATH")
    if _part(path.name) != "train":
        return None
    beside = (p for p in sorted(real.parent.iterdir()) if p != real and p.name.lower().endswith(TABLES))
    return next((p for p in beside if _part(p.name) == "test"), None)


def _ask(folder: Path, names: Sequence[str]) -> UserError:
    what = f"holds {len(names)} tables, and their names do not tell which is for training: {', '.join(names)}"
    return UserError(str(folder), what, f"name one of them: trainwright new {folder / names[0]}")
