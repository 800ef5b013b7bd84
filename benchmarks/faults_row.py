"""One line of the table of faults: what was tried, how often it held, and what its control says; and how far it is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_EVERY = 10.0  # seconds between two words on how far a check is


@dataclass(frozen=True)
class Row:
    """What a check found; ``control`` is what the same check says of a program without the protection."""

    check: str
    done: int
    of: int
    control: str
    seconds: float
    note: str = ""
    blind: bool = False  # the control found nothing: the check could not fail

    @property
    def held(self) -> bool:
        """Whether nothing was lost, and the check could have said so."""
        return self.done == self.of and not self.blind

    def keep(self, file: Path) -> None:
        """Write it there: whole, or not at all."""
        draft = file.with_suffix(".writing")
        draft.write_text(json.dumps({**asdict(self), "held": self.held}, indent=1) + "\n", encoding="utf-8")
        os.replace(draft, file)

    @classmethod
    def kept(cls, file: Path) -> Row:
        """One that was written."""
        told = json.loads(file.read_text(encoding="utf-8"))
        del told["held"]
        return cls(**told)


@dataclass(slots=True)
class Pace:
    """How far a check is, and how long it will still take if it goes on like that; said now and then.

    Args:
        what: is counted.
        of: how many there will be.
    """

    what: str
    of: int
    began: float = field(default_factory=time.perf_counter)
    said: float = field(default_factory=time.perf_counter)

    def at(self, done: int) -> None:
        """So many are done."""
        now = time.perf_counter()
        if now - self.said >= _EVERY and done:
            self.said = now
            left = (now - self.began) / done * max(0, self.of - done)
            print(f"    {self.what}: {done:,} of {self.of:,}, about {left:,.0f} s more", flush=True)


def paced(what: str, items: Sequence[T]) -> Iterator[T]:
    """The same items; it is said how far they are."""
    pace = Pace(what, len(items))
    for done, item in enumerate(items):
        pace.at(done)
        yield item
