"""A real English text that comes with Python itself: the topics of its help system."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data.documents import pieces
from trainwright.data.fingerprint import digest
from trainwright.data.source import Source


@sources.add("topics")
@final
class Topics(Source):
    """The topics of Python's help system, about half a million characters; nothing to download.

    Records are ``{"text": a few lines, "end": whether another topic follows}``. Each version of Python has its own.

    Source: CPython, the module pydoc_data.topics.
    """

    def __init__(self) -> None:
        from pydoc_data.topics import topics

        self._records: list[Record] = []
        names = sorted(topics)
        for name in names:
            raw = topics[name].encode()
            cuts = pieces(raw, 256).tolist()
            for start, stop in pairwise(cuts):
                last = stop == cuts[-1] and name != names[-1]
                self._records.append({"text": raw[start:stop].decode(), "end": last})

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self._records):
            raise IndexError(index)
        return self._records[index]

    def fingerprint(self) -> str:
        """Of every letter."""
        return digest("topics", *(r["text"] for r in self._records))

    def fields(self) -> Sequence[str]:
        """Text, and end."""
        return ["text", "end"]

    def where(self, index: int) -> str:
        """``topics, record 17``, from 0."""
        return f"topics, record {index}"
