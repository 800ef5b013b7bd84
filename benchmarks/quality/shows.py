"""What a file of this folder declares: recipes, and what each must reach in which time."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import benchmarks.quality


@dataclass(frozen=True, slots=True)
class Show:
    """One training that has to reach something.

    Args:
        name: the row of the table.
        recipe: a file of examples/, or the name of a built-in one.
        metric: of the run's final metrics, such as "test/accuracy".
        wanted: what it must reach; or the name of a baseline that it must reach on the same records.
        better: "higher" or "lower".
        minutes: wall time it may take from the start of its process.
        changes: of the recipe, as on the command line.
        note: what a reader of the table must know, such as how the data is split.
        over: changes of several trainings, whose metric is averaged; one without further changes unless given.
    """

    name: str
    recipe: str
    metric: str
    wanted: float | str
    better: str = "higher"
    minutes: float = 10.0
    changes: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    over: Sequence[Mapping[str, Any]] = ({},)

    @property
    def simple(self) -> str:
        """The baseline that is told beside it."""
        return self.wanted if isinstance(self.wanted, str) else "linear"

    def reached(self, value: float, simple: float | None = None) -> bool:
        """Whether a value is good enough, beside that of the simple model."""
        wanted = simple if isinstance(self.wanted, str) else self.wanted
        if wanted is None:
            return False
        return value >= wanted if self.better == "higher" else value <= wanted


def tasks() -> list[str]:
    """The tasks that have a file here."""
    names = {m.name for m in pkgutil.iter_modules(benchmarks.quality.__path__)}
    return sorted(names - {"shows", "trial", "page", "__main__"})


def shows_of(task: str) -> Sequence[Show]:
    """What the file of a task declares as SHOWS."""
    shows: Sequence[Show] = importlib.import_module(f"benchmarks.quality.{task}").SHOWS
    return shows
