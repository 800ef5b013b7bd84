"""Writes what happens into the run folder: events.jsonl, and metrics.csv beside it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainwright.core.errors import StorageError
from trainwright.core.events import EvalDone, Event, RunEnded, RunStarted, StepDone, View, advance, dump
from trainwright.core.redaction import Hide, each_text, redacted
from trainwright.data.bad import Bad
from trainwright.engine import disk
from trainwright.runs.directory import EVENTS, METRICS, read_view


class Recorder:
    """An observer that appends every event, whole lines only, and keeps the view of them.

    A disk that takes no more does not stop a training: lines wait until they can be written, in their order.
    """

    def __init__(self, folder: Path, hide: Hide = redacted) -> None:
        self.folder, self.hide = folder, hide
        path = folder / EVENTS
        self.view: View = read_view(folder)
        torn = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self.trouble = ""  # why the newest lines are not on the disk yet
        self._columns: list[str] = []  # of metrics.csv; none: it is to be written anew
        self._told = -1  # the last step that it has
        self._waiting = b"\n" if torn else b""  # what a crash left of a line stays, ended, and readers pass over it

    def __call__(self, event: Event) -> None:
        """Append one line in one write."""
        advance(self.view, event)
        if isinstance(event, RunStarted) or (isinstance(event, EvalDone) and event.step <= self._told):
            self._columns, self._told = [], -1
        self._waiting += (self._line(event) + "\n").encode()
        try:
            self._write()
            if isinstance(event, EvalDone | RunEnded):
                self._table()
            self.trouble = ""
        except OSError as error:
            self.trouble = error.strerror or str(error)

    def close(self) -> None:
        """Flush to the disk; StorageError where it does not take the last lines."""
        try:
            self._write()
            os.fsync(self.file)
        except OSError as error:
            what = f"{self.folder / EVENTS}: its last lines could not be written: {error.strerror or error}"
            raise StorageError(f"{what}; free space or make the folder writable, then resume") from None
        finally:
            os.close(self.file)

    def _line(self, event: Event) -> str:
        """As it is written; steps and evaluations are numbers, all other events may quote what a person gave."""
        line = dump(event)
        if isinstance(event, StepDone | EvalDone):
            return line
        fields = json.loads(line)
        return json.dumps({"event": fields.pop("event"), **each_text(fields, self.hide)}, separators=(",", ":"))

    def _write(self) -> None:
        """All that waits; of a line that fits only in part the rest waits."""
        while self._waiting:
            self._waiting = self._waiting[os.write(self.file, self._waiting) :]

    def _table(self) -> None:
        """New rows are appended; a resumed run, a new column or a failure writes the table anew."""
        rows = self.view.history(after=self._told)
        if self._columns and any(row.keys() - set(self._columns) for row in rows):
            self._columns = []
        if self._columns:
            self._append(rows)
        else:
            self._columns = self._anew(self.view.history())
        self._told = max((row["step"] for row in rows), default=self._told)

    def _anew(self, rows: list[dict[str, Any]]) -> list[str]:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        draft = self.folder / ".metrics.csv"
        with disk.anew(draft) as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        draft.replace(self.folder / METRICS)
        return columns

    def _append(self, rows: list[dict[str, Any]]) -> None:
        text, columns = io.StringIO(newline=""), self._columns
        csv.DictWriter(text, columns).writerows(rows)
        self._columns = []  # what fails in the middle is written anew
        with (self.folder / METRICS).open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(text.getvalue().encode())
        self._columns = columns


def write_bad(bad: Mapping[str, Sequence[Bad]], path: Path, hide: Hide = redacted) -> None:
    """The samples that are passed over, one a row: part, record, its place in the data, and why."""
    draft = path.with_name(f".{path.name}")
    with disk.anew(draft) as file:
        writer = csv.writer(file)
        writer.writerow(["part", "record", "where", "why"])
        rows = ((part, each) for part, found in bad.items() for each in found)
        writer.writerows([part, each.record, hide(each.where), hide(each.what)] for part, each in rows)
    draft.replace(path)
