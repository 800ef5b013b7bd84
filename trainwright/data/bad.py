"""Bad samples: which records are passed over, within a budget, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor
from typing import final

from trainwright.core.errors import BadSamplesError, DataError

_TOLD = 5  # of the bad samples, in the message of a budget that is spent


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that cannot be used."""

    record: int
    where: str  # its place in the source: file and row
    what: str

    @classmethod
    def of(cls, record: int, error: DataError) -> Bad:
        """What a `DataError` says of a record."""
        return cls(record, error.where, error.what)


@final
class Skipped:
    """The bad records of one source while they are found; no more of them than are allowed.

    Args:
        budget: a share of all records (at least one is allowed where it is above 0), or how many.
        records: how many there are.
        like: the first sound one of these records says which targets every other must have; without them, all must.
        known: the records that an earlier attempt skipped, which are skipped again; None when this is the first.
    """

    def __init__(
        self,
        budget: float | int,
        records: int,
        *,
        like: Sequence[int] | None = None,
        known: Iterable[int] | None = None,
    ) -> None:
        share = isinstance(budget, float)
        self.allowed = max(1 if budget > 0 else 0, floor(budget * records)) if share else int(budget)
        self.budget, self.records, self.like = budget, records, like
        self.known = None if known is None else frozenset(known)
        self.found: dict[int, Bad] = {}

    def add(self, bad: Bad) -> None:
        """One more, unless it is counted already; `BadSamplesError` (exit code 76) when that is one too many."""
        if bad.record in self.found:
            return
        if self.known is not None and bad.record not in self.known:
            what = f"{bad.what}; it was sound when this run began"
            raise DataError(bad.where, what, "put it back, or start a new run")
        self.found[bad.record] = bad
        if len(self.found) > self.allowed:
            raise self._spent()

    def __contains__(self, record: int) -> bool:
        return record in self.found or (self.known is not None and record in self.known)

    def ids(self) -> list[int]:
        """The records to pass over, ascending."""
        return sorted({*self.found, *(self.known or ())})

    def _spent(self) -> BadSamplesError:
        few = [f"{b.where}: {b.what}" for b in list(self.found.values())[:_TOLD]]
        more = f", and {len(self.found) - _TOLD} more" if len(self.found) > _TOLD else ""
        what = f"{len(self.found)} of {self.records:,} samples are bad, and there may be more; {self.allowed} may be"
        what += " skipped: " + "; ".join(few) + more
        return BadSamplesError("data", what, f"repair them, or allow more than bad_samples = {self.budget}")
