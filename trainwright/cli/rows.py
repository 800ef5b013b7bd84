"""Answers as rows: in a file or a pipe one after the other as they are made, on a terminal the first of them."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO, final

import click

from trainwright.cli.told import plain
from trainwright.core.errors import UserError

Form = Literal["csv", "jsonl"]
_ROWS = 50  # answers shown on a terminal
_LIKELY = 5  # probabilities shown of more


@final
class Rows:
    """Writes answers to a stream, each at once; nested values of CSV get dotted names."""

    def __init__(self, stream: TextIO, form: Form) -> None:
        self.stream, self.form, self.count = stream, form, 0
        self._csv: csv.DictWriter[str] | None = None

    def write(self, answers: Iterable[Mapping[str, Any]]) -> int:
        """All of them; returns how many there were."""
        for answer in answers:
            if self.form == "jsonl":
                self.stream.write(json.dumps(plain(answer), ensure_ascii=False, allow_nan=False) + "\n")
            else:
                self._row({k: _cell(v) for k, v in _flat(answer).items()})
            self.count += 1
        return self.count

    def _row(self, row: dict[str, Any]) -> None:
        if self._csv is None:
            self._csv = csv.DictWriter(self.stream, list(row), lineterminator="\n")
            self._csv.writeheader()
        if row.keys() - set(self._csv.fieldnames):
            what = f"answer {self.count + 1} has other fields than the first: {', '.join(row)}"
            raise UserError("csv", what, "write JSON lines instead: --out FILE.jsonl, or --format jsonl")
        self._csv.writerow(row)


@contextlib.contextmanager
def file_rows(target: Path) -> Iterator[Rows]:
    """A new file of answers, whole or not there at all."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("w", newline="", encoding="utf-8") as file:
            yield Rows(file, "jsonl" if target.suffix == ".jsonl" else "csv")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def show(answers: Iterable[Mapping[str, Any]]) -> None:
    """The first answers as a table for a person's eyes; the rest is not asked for."""
    from trainwright.runs.figures import aligned

    waiting = iter(answers)
    rows = [{k: _shown(v) for k, v in _opened(answer).items()} for answer in islice(waiting, _ROWS)]
    titles = list(dict.fromkeys(key for row in rows for key in row))
    for line in aligned([titles, *([row.get(title, "") for title in titles] for row in rows)]):
        click.echo(line)
    if next(waiting, None) is not None:
        click.echo("… and more; --out FILE.csv answers all of them")


def _opened(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values side by side; of many probabilities, the largest."""
    few = {
        k: sorted(([n, p] for n, p in v.items()), key=lambda pair: -pair[1])[:_LIKELY]
        if isinstance(v, Mapping) and len(v) > _LIKELY and all(isinstance(p, float) for p in v.values())
        else v
        for k, v in answer.items()
    }
    return _flat(few)


def _flat(answer: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in answer.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _cell(value: Any) -> Any:
    """For a table that a machine reads: lists as JSON."""
    return json.dumps(plain(value)) if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    """For a person's eyes: rounded, and a list of pairs or tables as ``7 0.98, 1 0.01``."""
    from trainwright.runs.figures import number

    if isinstance(value, list | tuple):
        value = [list(v.values()) if isinstance(v, Mapping) else v for v in value]
        return ", ".join(" ".join(map(_shown, v)) if isinstance(v, list | tuple) else _shown(v) for v in value)
    return number(value) if isinstance(value, float) else str(value)
