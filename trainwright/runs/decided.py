"""What the doctor has done to a run and decided, in `healing.json`: written before anything is moved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainwright.core.events import Repaired
from trainwright.core.redaction import HIDDEN
from trainwright.engine import checkpoint, disk
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
    pending: bool = False  # an attempt must begin with the last repair, and has not yet
    back: dict[str, Any] | None = None  # the repair that is taken back: the attempt without it has not yet begun

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

    @property
    def undo(self) -> dict[str, Any]:
        """Dotted keys, as they were before the first repair: what a person wrote."""
        found: dict[str, Any] = {}
        for repair in reversed([*self.taken, *([self.back] if self.back else [])]):
            found = over(found, repair.get("was", {}))
        return found

    @property
    def moving(self) -> list[str]:
        """Dotted keys that config.toml may have as they were or as they will be: an attempt has not yet begun."""
        moved = self.back or (self.taken[-1] if self.pending and self.taken else {})
        return list(moved.get("was", {}))

    def begun(self, folder: Path) -> Callable[[], None]:
        """What is called when the attempt that was decided has begun."""

        def called() -> None:
            if self.pending or self.back:
                self.pending, self.back = False, None
                self.write(folder)

        return called


@dataclass(frozen=True, slots=True)
class Decided:
    """How the next attempt begins."""

    anew: bool  # from the start, else from the newest checkpoint
    back: int  # the attempt that it goes on with; 0 is the one before it
    opening: Sequence[Repaired]  # told when it begins


def over(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys with later ones set over them: those come last, and a table takes the place of what was set in it.

    They are set in their order: a rate that was set before an optimizer with a rate of its own would be lost else.
    """
    kept = {k: v for k, v in old.items() if k not in new and not any(k.startswith(f"{table}.") for table in new)}
    return {**kept, **new}


def as_it_was(keys: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys with their present values, which undo what sets these keys; a secret, which no file holds, apart.

    Args:
        keys: dotted keys that are to be set.
        config: config.toml with every default spelled out, which leaves out what is None.
    """
    found: dict[str, Any] = {}
    for key in keys:
        here: Any = config
        for part in key.split("."):
            here = here.get(part) if isinstance(here, Mapping) else None
        if HIDDEN not in str(here):
            found[key] = here
    return found


def decided(folder: Path) -> Decided | None:
    """What was decided before a run was killed, once it is carried out to its end; None where that is not so."""
    record = Record.read(folder)
    if record.back:
        bring_back(folder, record.back)
        return Decided(False, int(record.back["attempt"]), _untold(folder, taken_back(record.back)))
    if not record.pending or not record.taken:
        return None
    last = record.taken[-1]
    if step := int(last.get("step", 0)):
        checkpoint.forget_after(folder / CHECKPOINTS, step)
    else:
        view = read_view(folder)
        leave(folder, view.attempts[-1].attempt if view.attempts else 1)
    return Decided(not step, 0, _untold(folder, taken(last)))


def taken(repair: Mapping[str, Any]) -> Repaired:
    """What is told of a repair."""
    step, keys = int(repair.get("step", 0)), repair.get("keys", {})
    return Repaired(step, repair["rule"], repair["trouble"], repair["what"], keys, "taken", repair["why"])


def taken_back(repair: Mapping[str, Any]) -> Repaired:
    """What is told when it is taken back."""
    return Repaired(0, repair["rule"], repair["trouble"], repair["what"], {}, "taken back", repair["failed"])


def _untold(folder: Path, repaired: Repaired) -> list[Repaired]:
    """It, unless the log ends with it: the run was killed just then."""
    told = read_view(folder).repairs[-1:]
    return [] if told and (told[0].what, told[0].state) == (repaired.what, repaired.state) else [repaired]


def leave(folder: Path, number: int) -> None:
    """The checkpoints of an attempt that is left, where they can be found again."""
    if (folder / CHECKPOINTS).is_dir():
        (folder / LEFT).mkdir(exist_ok=True)
        shutil.rmtree(folder / LEFT / f"attempt-{number}", ignore_errors=True)
        (folder / CHECKPOINTS).rename(folder / LEFT / f"attempt-{number}")
        disk.settle(folder / LEFT)
        disk.settle(folder)


def bring_back(folder: Path, repair: Mapping[str, Any]) -> None:
    """The checkpoints of the attempt before a repair in the place of those with it; done already, it does nothing."""
    there = folder / LEFT / repair["left"]
    if there.is_dir():
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        there.rename(folder / CHECKPOINTS)
        disk.settle(folder / LEFT)
        disk.settle(folder)
