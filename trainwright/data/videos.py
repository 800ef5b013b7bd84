"""Films in one folder per class, or listed with their classes in a table: video files, and folders of pictures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, final

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import paths
from trainwright.data.fingerprint import digest, digests
from trainwright.data.layout import Steps, classes, classified, hidden, spans, walked
from trainwright.data.source import Source
from trainwright.data.table import Table
from trainwright.data.video import PICTURES, SUFFIXES, pictures_in

_TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq", ".jsonl", ".ndjson", ".gz")
Row: TypeAlias = dict[str, Any]


@sources.add("videos")
@final
class Videos(Source):
    """Films, one folder per class: ``{"video": path, "label": name of its folder, "path": below the folder}``.

    A film is a video file (.mp4, .mov, .avi, .mkv, .webm, .gif, …), read by PyAV, or a folder of pictures in the order
    of their names (2.png before 10.png). The folder holds the classes themselves, or folders train, valid (val,
    validation) and test that hold the same classes and become parts. A single folder around all this is stepped into;
    folders within a class belong to it. Hidden files and others are skipped and counted in ``skipped``.

    Instead of a folder, a table (.csv, .tsv, .parquet, .jsonl) may list one film per row, with a column for the path,
    relative to the table, and one for the class. Its further columns stay fields of the records, so that data.group
    can keep the films of one person together, and data.part can say train, valid or test.

    Args:
        path: the folder or the table; a relative path is also looked up under $TRAINWRIGHT_DATA.
        video: the column of a table with the paths of the films.
        label: the column of a table with their classes.
    """

    def __init__(self, *, path: str, video: str = "video", label: str = "label") -> None:
        self.path = paths.find(path, "data.path")
        self.skipped: dict[str, int] = {}
        self._parts: Mapping[str, Sequence[int]] = {}
        if self.path.is_dir():
            self._records = self._of_folder()
        elif self.path.suffix.lower() in _TABLES:
            self._records = _listed(self.path, video, label)
        else:
            what = f"{self.path.name} is neither a folder nor a table"
            raise DataError("data.path", what, "name a folder with one folder per class, or a table that lists films")

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._records):
            raise IndexError(index)
        return dict(self._records[index])

    def fingerprint(self) -> str:
        """Of every film's content, path and class."""
        files = [_files(Path(r["video"])) for r in self._records]
        said = [{k: v for k, v in r.items() if k != "video"} for r in self._records]
        return digest("videos", [digests(f) for f in files], [[p.name for p in f] for f in files], said)

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train, valid and test where there are such folders."""
        return self._parts

    def fields(self) -> Sequence[str]:
        """video, label and path, and a table's other columns."""
        return list(self._records[0])

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record, without opening a film."""
        if field not in self._records[0]:
            raise DataError(self.path.name, f"no field is named '{field}'", did_you_mean(field, self._records[0]))
        return [r[field] for r in self._records]

    def where(self, index: int) -> str:
        """``films/walk/17.mp4``."""
        return f"{self.path.name}/{self._records[index]['path']}"

    def _of_folder(self) -> list[Row]:
        place = str(self.path)
        found, self.skipped = _films(walked(self.path, "films"))
        if not found:
            held = ", ".join(f"{n} {why}" for why, n in self.skipped.items()) or "nothing"
            raise DataError("data.path", f"{place} holds no films ({held})", "put them in one folder per class")
        if all(not _is_video(steps) and len(steps) == 1 for steps in found):
            what = f"the pictures of {place} lie in the folders of classes themselves"
            instead = "put the pictures of each film in a folder of its own; for single images, use source = 'folder'"
            raise DataError("data.path", what, instead)
        films, loose = classified(dict.fromkeys(found), place, "films")
        if loose:
            self.skipped["beside the folders of classes"] = loose
        classes(films, place, "films")
        parts = spans(films)
        self._parts = parts if len(parts) > 1 else {}
        return [{"video": str(self.path / f.path), "label": f.label, "path": f.path} for f in films]


def records_in(path: Path) -> Iterator[Record]:
    """What a file or a folder holds to be predicted: one film, or all the films below a folder."""
    if path.is_dir() and not pictures_in(path):
        found, _ = _films(walked(path, "films"))
        if not found:
            raise DataError(str(path), "holds no films", "give video files, or folders of pictures")
        yield from ({"video": str(path.joinpath(*steps)), "path": str(path.joinpath(*steps))} for steps in found)
    else:
        yield {"video": str(path), "path": str(path)}


def _films(files: Mapping[Steps, Any]) -> tuple[list[Steps], dict[str, int]]:
    """The video files and the folders of pictures, and how many other files there are of which kind."""
    skipped: Counter[str] = Counter()
    found: dict[Steps, None] = {}
    for steps in sorted(files):
        if any(hidden(s) for s in steps):
            skipped["hidden"] += 1
        elif _is_video(steps):
            found[steps] = None
        elif steps[-1].lower().endswith(PICTURES) and len(steps) > 1:
            found[steps[:-1]] = None
        else:
            skipped["neither films nor pictures"] += 1
    return list(found), dict(skipped)


def _is_video(steps: Steps) -> bool:
    return steps[-1].lower().endswith(SUFFIXES)


def _files(film: Path) -> list[Path]:
    return pictures_in(film) if film.is_dir() else [film]


def _listed(table: Path, video: str, label: str) -> list[Row]:
    """The rows of a table, with the paths of their films made whole."""
    source = Table(path=str(table))
    for option, column in (("video", video), ("label", label)):
        if column not in source.fields():
            raise DataError(
                f"data.{option}", f"{table.name} has no column '{column}'", did_you_mean(column, source.fields())
            )
    records: list[Row] = []
    for i in range(len(source)):
        row = dict(source[i])
        name = row.pop(video)
        if not name:
            raise DataError(source.where(i), f"the column '{video}' is empty", "write the path of a film")
        place = Path(table.parent, os.path.expanduser(name)).absolute()
        if not os.path.exists(place):  # also where a name is too long to be one, or the person of ~name unknown
            raise DataError(source.where(i), f"nothing is at {place}", "paths are relative to the table")
        told = row.pop(label)
        records.append({**row, "video": str(place), "label": told, "path": str(name)})
    return records
