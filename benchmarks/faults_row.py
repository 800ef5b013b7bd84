"""One line of the table of faults: what was tried, how often it held, and what its control says; and how far it is."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_EVERY = 10.0  # seconds between two words on how far a check is
_NUMBER = re.compile(r"\d(?:[\d,]*\d)?(?:\.\d+)?")


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


def merged(rows: Sequence[Row]) -> list[Row]:
    """The rows of one check as one: counts are added, and so are those within words that are the same otherwise."""
    by_check: dict[str, list[Row]] = {}
    for row in rows:
        by_check.setdefault(row.check, []).append(row)
    return [_one(same) for same in by_check.values()]


def _one(rows: Sequence[Row]) -> Row:
    return Row(
        rows[0].check,
        sum(row.done for row in rows),
        sum(row.of for row in rows),
        _added([row.control for row in rows]),
        sum(row.seconds for row in rows),
        _added([row.note for row in rows]),
        any(row.blind for row in rows),
    )


def _added(texts: Sequence[str]) -> str:
    """One text: whole numbers are added up, of others the largest counts; other words stay side by side."""
    if len(texts) == 1:
        return texts[0]
    known = list(dict.fromkeys(filter(None, texts)))
    if len({_NUMBER.sub("#", text) for text in known}) != 1:
        return "; ".join(known)
    numbers = [[n.replace(",", "") for n in _NUMBER.findall(text)] for text in texts if text]
    sums = iter(
        f"{max(map(float, same)):g}" if any("." in n for n in same) else f"{sum(map(int, same)):,}"
        for same in zip(*numbers, strict=True)
    )
    return _NUMBER.sub(lambda found: next(sums), known[0])


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
