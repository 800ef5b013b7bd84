"""The confusion matrix of a final evaluation: how often each class was called each other, as a file and a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwright.core.task import Classes, Metric, Task
from trainwright.engine import disk
from trainwright.engine.evaluate import Judged
from trainwright.metrics.classes import confusion, pairs
from trainwright.runs.figures import aligned

FILE = "confusion.csv"
MOST = 1000  # classes of a table that is kept
FEW = 12  # classes of a table that a person can read
_KEY = "confusion matrix"  # no metric is named so: names have no spaces


@dataclass(frozen=True, slots=True)
class Confusion:
    """``counts[i][j]`` samples of the class ``labels[i]`` were called ``labels[j]``."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"labels": list(self.labels), "counts": [list(row) for row in self.counts]}

    def write(self, path: Path) -> None:
        """As CSV, put in place at once: a row for each true class, a column for each said one."""
        draft = path.with_name(f".{path.name}")
        with disk.anew(draft) as file:
            writer = csv.writer(file)
            writer.writerow(["true", *self.labels])
            writer.writerows([label, *row] for label, row in zip(self.labels, self.counts, strict=True))
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Confusion:
        """The inverse of `write`."""
        with path.open(newline="", encoding="utf-8") as file:
            (_, *labels), *rows = csv.reader(file)
        return cls(tuple(labels), tuple(tuple(map(int, row[1:])) for row in rows))

    def lines(self) -> list[str]:
        """The table for a person's eyes, the right answers on its diagonal; none of more than twelve classes."""
        if len(self.labels) > FEW:
            return []
        rows = [
            [label, *(str(n) if n else "." for n in row)] for label, row in zip(self.labels, self.counts, strict=True)
        ]
        return ["rows: true, columns: said", *aligned([["", *self.labels], *rows], right=True)]


def with_pairs(metrics: Mapping[str, Metric], task: Task[Any]) -> dict[str, Metric]:
    """The metrics of an evaluation, and what `taken` makes the matrix of, where the task compares classes."""
    of = task.compared()
    return {**metrics, _KEY: pairs(of)} if isinstance(of, Classes) else dict(metrics)


def taken(found: Judged, task: Task[Any]) -> tuple[Judged, Confusion | None]:
    """What was measured without the matrix, and the matrix; None where there is none, or of too many classes."""
    of = task.compared()
    if _KEY not in found.rows or not isinstance(of, Classes):
        return found, None
    rows = found.rows[_KEY]
    values = {n: v for n, v in found.values.items() if n != _KEY}
    others = {n: r for n, r in found.rows.items() if n != _KEY}
    largest = int(rows.nan_to_num(-1).max()) if rows.numel() else -1
    labels = (*of.names, *map(str, range(len(of.names), largest + 1)))  # a loader's first batch may lack some
    rest = Judged(values, others, found.broken)
    if len(labels) > MOST:
        return rest, None
    return rest, Confusion(labels, tuple(map(tuple, confusion(rows, len(labels)).tolist())))
