"""Recordings in one folder per class, named by what is in them, or listed in a table; on disk or in a .zip file."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, final

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import archive, paths
from trainwright.data.audio import SUFFIXES
from trainwright.data.fingerprint import digest, digests
from trainwright.data.layout import Found, Steps, classes, classified, documents, hidden, spans, walked
from trainwright.data.source import Source
from trainwright.data.table import Table

TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq", ".jsonl", ".ndjson", ".gz")
COLUMNS = ("audio", "file", "path", "audio_filepath", "filename", "file_name", "wav", "recording")
_PARTS = ("train", "valid", "test")
Row: TypeAlias = dict[str, Any]


@sources.add("audio")
@final
class Audio(Source):
    """Recordings: ``{"audio": path, or bytes out of a .zip, "path": below the folder}``, and what is known of them.

    - A folder, or the .zip file of one, with one folder per class, or with folders train, valid (val, validation, dev)
      and test that hold the same classes and become parts: a ``"label"`` each.
    - Files named by what is in them, with a ``pattern`` such as "{label}_{speaker}_{take}": each name in braces becomes
      a field.
    - A table (.csv, .tsv, .parquet, .jsonl) that lists one recording per row, with a column for the path, and others,
      such as ``text``, which stay fields: so data.group can keep a speaker's recordings together, and data.part can say
      train, valid or test.

    Records are in the order of part, class and path, or of the table. Hidden files and files that are no recordings by
    their name are skipped and counted in ``skipped``.

    Args:
        path: the folder, .zip file or table; a relative path is also looked up under $TRAINWRIGHT_DATA.
        pattern: what the names of files say, without folders and suffix.
        words: how a field ``text`` that names of files say is spelled: it is cut at _, - and blanks, and each piece is
            replaced, such as { "0" = "no", "1" = "yes" }.
        parts: files that are a part of their own, by patterns of their names, such as { test = "*_[0-4].wav" }; the
            others are for training.
        column: of a table, with the paths; left out, one with a usual name (audio, file, path, …).
        files: the folder or .zip file that the paths of a table lie in; left out, the folder of the table.
        table: the name of such a table within the folder or .zip file that path names.
    """

    def __init__(
        self,
        *,
        path: str,
        pattern: str | None = None,
        words: dict[str, str] | None = None,
        parts: dict[str, str] | None = None,
        column: str | None = None,
        files: str | None = None,
        table: str | None = None,
    ) -> None:
        self.path = paths.find(path, "data.path")
        self.skipped: Mapping[str, int] = {}
        self._parts: Mapping[str, Sequence[int]] = {}
        self._members: Mapping[str, archive.Member] = {}
        self._home = self.path
        self._options = (pattern, words, parts, column, table)
        if table is not None or (self.path.is_file() and self.path.suffix.lower() in TABLES):
            if pattern is not None:
                raise UserError("data.pattern", "a table says what its recordings are", "leave it out")
            if table is not None and files is not None:
                raise UserError("data.files", "the table lies among its recordings", "leave it out")
            if table is None:
                self._home = self.path.parent if files is None else paths.find(files, "data.files")
            self._rows = self._listed(Table(path=str(self.path)) if table is None else self._within(table), column)
        else:
            _no_table({"column": column, "files": files})
            self._rows = self._of_folder(pattern)
        if words is not None:
            self._rows = [{**r, "text": _spelled(r, words)} for r in self._rows]
        if parts is not None:
            self._parts = _by_name(self._rows, parts)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._rows):
            raise IndexError(index)
        row = self._rows[index]
        member = self._members.get(row["path"])
        audio = str(self._home / row["path"]) if member is None else archive.read(self._home, member)
        return {"audio": audio, **row}

    def fingerprint(self) -> str:
        """Of every recording's content, path and fields, and of every option."""
        if self._home.is_file():
            return digest("audio", self._home, self._rows, self._options)
        return digest("audio", digests(self._home / r["path"] for r in self._rows), self._rows, self._options)

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train, valid and test where folders or ``parts`` say so."""
        return self._parts

    def fields(self) -> Sequence[str]:
        """audio, path, and what is known of the recordings."""
        return ["audio", *self._rows[0]]

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record, without opening a recording unless that is the field."""
        if field not in self.fields():
            raise DataError(self.path.name, f"no field is named '{field}'", did_you_mean(field, self.fields()))
        return [self[i]["audio"] if field == "audio" else r[field] for i, r in enumerate(self._rows)]

    def where(self, index: int) -> str:
        """``digits/seven/17.wav``."""
        return f"{self._home.name}/{self._rows[index]['path']}"

    def _of_folder(self, pattern: str | None) -> list[Row]:
        place = str(self.path)
        found, self.skipped = _sorted_out(self._files_of(self.path))
        if not found:
            held = ", ".join(f"{n} {why}" for why, n in self.skipped.items()) or "nothing"
            raise DataError(
                "data.path", f"{place} holds no recordings ({held})", f"give {', '.join(SUFFIXES[:4])} files"
            )
        if pattern is not None:
            files = documents(found, place)
            self._kept_parts(spans(files))
            return [{**_told(pattern, f.path, self.path.name), "path": f.path} for f in files]
        try:
            files, loose = classified(found, place, "recordings")
            classes(files, place, "recordings")
        except DataError as error:
            instead = 'where their names say it, write data.pattern, such as "{label}_{speaker}_{take}"'
            raise DataError(error.where, error.what, f'{error.instead}; {instead}, or "{{text}}"') from None
        if loose:
            self.skipped = {**self.skipped, "beside the folders of classes": loose}
        self._kept_parts(spans(files))
        return [{"label": f.label, "path": f.path} for f in files]

    def _files_of(self, place: Path) -> Found:
        """Every file of a folder or an archive; members of the latter are remembered."""
        if place.is_dir():
            return walked(place, "recordings")
        if place.suffix.lower() != ".zip":
            what = f"{place.name} is neither a folder, nor a .zip file, nor a table"
            raise DataError("data.path", what, "name a folder of recordings, or a table that lists them")
        self._members = {m.name: m for m in archive.members(place)}
        return {PurePosixPath(name).parts: m for name, m in self._members.items()}

    def _kept_parts(self, parts: Mapping[str, Sequence[int]]) -> None:
        self._parts = parts if len(parts) > 1 else {}

    def _within(self, name: str) -> Table:
        """A table in the folder or in the archive."""
        if self.path.is_dir():
            return Table(path=str(self.path / name))
        self._files_of(self.path)
        inside = _inside(self._members)
        if name not in inside:
            there = [n for n in inside if n.lower().endswith(TABLES)]
            raise DataError("data.table", f"{self.path.name} holds no file '{name}'", did_you_mean(name, there))
        with tempfile.TemporaryDirectory() as place:  # a table is read whole when it is opened
            file = Path(place, PurePosixPath(name).name)
            file.write_bytes(archive.read(self.path, self._members[inside[name]]))
            return Table(path=str(file))

    def _listed(self, table: Table, column: str | None) -> list[Row]:
        """The rows of a table, each with the path of a file that is there."""
        fields = list(table.fields())
        name = column or next((c for c in COLUMNS if c in fields), None)
        if name is None or name not in fields:
            place = table.path.name
            what = f"{place} has no column '{name}'" if name else f"no column of {place} is named so"
            raise DataError("data.column", what, did_you_mean(name or "audio", fields))
        if self._home.is_file() and not self._members:
            self._files_of(self._home)
        inside = _inside(self._members)
        rows: list[Row] = []
        for i in range(len(table)):
            row = dict(table[i])
            told = row.pop(name)
            if not isinstance(told, str) or not told:
                raise DataError(table.where(i), f"the column '{name}' is empty", "write the path of a recording")
            rows.append({**row, "path": self._placed(told, inside, table.where(i))})
        return rows

    def _placed(self, told: str, inside: Mapping[str, str], where: str) -> str:
        """The path below the home of what a table calls so."""
        if self._members:
            name = PurePosixPath(told).as_posix()
            if name not in inside:
                raise DataError(where, f"{self._home.name} holds no file '{told}'", "write the path within the archive")
            return inside[name]
        if not os.path.exists(self._home / os.path.expanduser(told)):
            raise DataError(where, f"nothing is at {self._home / told}", f"paths are relative to {self._home}")
        return os.path.expanduser(told)


def records_in(path: Path) -> Iterator[Record]:
    """What a file or a folder holds to be predicted: one recording, or all below a folder."""
    if not path.is_dir():
        yield {"audio": str(path), "path": str(path)}
        return
    found, _ = _sorted_out(walked(path, "recordings"))
    if not found:
        raise DataError(str(path), "holds no recordings", f"give {', '.join(SUFFIXES[:4])} files")
    yield from ({"audio": str(path.joinpath(*steps)), "path": str(path.joinpath(*steps))} for steps in found)


def _sorted_out(files: Found) -> tuple[dict[Steps, archive.Member | None], dict[str, int]]:
    """The recordings in order, and how many other files there are of which kind."""
    skipped: Counter[str] = Counter()
    kept = {}
    for steps in sorted(files):
        if any(hidden(s) for s in steps):
            skipped["hidden"] += 1
        elif not steps[-1].lower().endswith(SUFFIXES):
            skipped["no recordings"] += 1
        else:
            kept[steps] = files[steps]
    return kept, dict(skipped)


def _inside(members: Mapping[str, archive.Member]) -> dict[str, str]:
    """Each member by its name, and below the one folder that holds everything, where there is one."""
    tops = {PurePosixPath(name).parts[0] for name in members}
    short = {}
    if len(tops) == 1:
        short = {PurePosixPath(*PurePosixPath(n).parts[1:]).as_posix(): n for n in members}
    return {**short, **{n: n for n in members}}


def _told(pattern: str, path: str, place: str) -> Row:
    """The fields that the name of a file says."""
    stem = PurePosixPath(path).stem
    match = re.fullmatch(_expression(pattern), stem)
    if match is None:
        what = f"the name '{stem}' does not fit the pattern '{pattern}'"
        raise DataError(f"{place}/{path}", what, "rename the file, or write data.pattern otherwise")
    return dict(match.groupdict())


def _expression(pattern: str) -> str:
    """``{label}_{take}`` as a regular expression: a field holds as little as it can, the last one all that is left."""
    pieces = re.split(r"\{(\w+)\}", pattern)
    names = pieces[1::2]
    if not names or len(set(names)) < len(names) or any(not n.isidentifier() for n in names):
        raise UserError(
            "data.pattern", f"'{pattern}' names no fields, or one twice", 'write "{label}_{speaker}_{take}"'
        )
    taken = {"audio", "path"} & set(names)
    if taken:
        raise UserError("data.pattern", f"every record has a field '{taken.pop()}' already", "name it otherwise")
    return "".join(re.escape(p) if not i % 2 else f"(?P<{p}>.+?)" for i, p in enumerate(pieces))


def _spelled(row: Row, words: Mapping[str, str]) -> str:
    """The text of a name, in words."""
    if not isinstance(row.get("text"), str):
        raise UserError("data.words", "there is no field 'text' to spell", 'write pattern = "{text}"')
    pieces = [p for p in re.split(r"[\s_-]+", row["text"]) if p]
    unknown = next((p for p in pieces if p not in words), None)
    if unknown is not None:
        raise DataError(row["path"], f"the piece '{unknown}' of its name is no word", did_you_mean(unknown, words))
    return " ".join(words[p] for p in pieces)


def _by_name(rows: Sequence[Row], parts: Mapping[str, str]) -> dict[str, list[int]]:
    """Record numbers by part; `UserError` for a pattern that no file fits, or a part of another name."""
    for part in parts:
        if part not in _PARTS[1:]:
            raise UserError(f"data.parts.{part}", "is no part that files are taken out for", "write valid or test")
    out: dict[str, list[int]] = {"train": [], **{part: [] for part in _PARTS[1:] if part in parts}}
    for i, row in enumerate(rows):
        name = PurePosixPath(row["path"]).name
        out[next((p for p, wanted in parts.items() if fnmatch(name, wanted)), "train")].append(i)
    for part, ids in out.items():
        if not ids:
            what = "leaves nothing to train on" if part == "train" else f"no file is named like '{parts[part]}'"
            raise DataError("data.parts", what, "write other patterns")
    return out


def _no_table(options: Mapping[str, str | None]) -> None:
    for name, value in options.items():
        if value is not None:
            raise UserError(f"data.{name}", "is for a table that lists recordings", "leave it out, or name a table")
