"""What a source of records promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from trainwright.core.errors import UserError
from trainwright.core.kinds import sources
from trainwright.core.task import Record


class Source(ABC):
    """Records by number, 0 to len-1; the number is the record's id for the whole run.

    Reading is deterministic, and safe from several threads and forked processes.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Record: ...

    @abstractmethod
    def fingerprint(self) -> str:
        """A hex digest of the content and of every option that changes records."""

    def parts(self) -> Mapping[str, Sequence[int]]:
        """Record ids by part ("train", "valid", "test") where the data comes already split; empty otherwise."""
        return {}

    def fields(self) -> Sequence[str]:
        """The keys of a record."""
        return list(self[0]) if len(self) else []

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record, in order."""
        return [self[i][field] for i in range(len(self))]

    def block(self, ids: Sequence[int]) -> Mapping[str, Any] | None:
        """Some records as NumPy arrays of numbers whose dim 0 is the record, where they lie so in memory; else None."""
        return None

    def arrays(self) -> Sequence[Mapping[str, Any]]:
        """All records as such arrays, one mapping or several that follow each other; none where they do not lie so."""
        whole = self.block(range(len(self)))
        return [] if whole is None else [whole]

    def where(self, index: int) -> str:
        """The place of a record, for messages: ``adult.csv, line 17``."""
        return f"record {index}"


def source_of(name: str, options: Mapping[str, Any]) -> Source:
    """The source of a name; UserError where a person's own factory makes something else."""
    made = sources.make(name, options)
    if not isinstance(made, Source):
        what = f"made a {type(made).__name__}"
        raise UserError(f"source.{name}", what, "return a trainwright.data.source.Source")
    return made
