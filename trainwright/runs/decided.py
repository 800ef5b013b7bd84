"""What the doctor has done to a run and decided, in `healing.json`: written before anything is moved."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainwright.core.events import Repaired
from trainwright.runs.directory import CHECKPOINTS, read_view, write_json
from trainwright.runs.stored import stored_json

RECORD = "healing.json"
MOST = 6  # repairs of one run, also those that were taken back
LEFT = "left"  # folder with the checkpoints of attempts that were left


@dataclass(slots=True)
class Record:
    """What is done, and what is decided; `healing.json`."""

    keys: dict[str, Any] = field(default_factory=dict)  # set beside what the person wrote
    considered: list[str] = field(default_factory=list)  # rules whose fixes were tried since the last change
    taken: list[dict[str, Any]] = field(default_factory=list)  # repairs, each with what is needed to take it back
    undone: list[str] = field(default_factory=list)  # what was taken back, in words: it is not tried again
    improved: int = 0  # times that a repaired run was tried to be improved
    pending: bool = False  # an attempt must begin anew with the keys, and has not yet

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Of a run; an empty one where nothing was done."""
        path = folder / RECORD
        if not path.is_file():
            return cls()
        known = {k: v for k, v in stored_json(path).items() if k in cls.__slots__}
        return cls(**known)

    @property
    def spent(self) -> bool:
        """Whether as much was done as may be."""
        return len(self.taken) + len(self.undone) >= MOST

    def write(self, folder: Path) -> None:
        """In one piece."""
        write_json(asdict(self), folder / RECORD)

    def begun(self, folder: Path) -> Callable[[], None]:
        """What is called when the attempt that was pending has begun."""

        def called() -> None:
            if self.pending:
                self.pending = False
                self.write(folder)

        return called


def decided(folder: Path) -> list[Repaired]:
    """What was decided before a run was killed: it then begins anew with it; nothing where that is not so."""
    record = Record.read(folder)
    if not record.pending or not record.taken:
        return []
    view, last = read_view(folder), record.taken[-1]
    leave(folder, view.attempts[-1].attempt if view.attempts else 1)
    return [Repaired(0, last["rule"], last["trouble"], last["what"], {}, "taken", last["why"])]


def leave(folder: Path, number: int) -> None:
    """The checkpoints of an attempt that is left, where they can be found again."""
    if (folder / CHECKPOINTS).is_dir():
        (folder / LEFT).mkdir(exist_ok=True)
        shutil.rmtree(folder / LEFT / f"attempt-{number}", ignore_errors=True)
        (folder / CHECKPOINTS).rename(folder / LEFT / f"attempt-{number}")
