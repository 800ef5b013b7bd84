"""Records to chunks of encoded columns; a bad record is named, or passed over where that is asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trainwright.core.errors import DataError
from trainwright.core.rows import Column
from trainwright.core.task import Processor, Record, Sample
from trainwright.data.bad import Bad, Skipped
from trainwright.data.columns import MisfitError, Packed, absence, empty, pack, spread, stacked
from trainwright.data.source import Source

Chunk = dict[str, Packed]


class Encoder:
    """Turns records into samples, and samples into chunks of columns.

    Args:
        source: the records.
        processor: fitted.
        skipped: what to do with bad records; None raises for the first.
    """

    def __init__(self, source: Source | Sequence[Record], processor: Processor, skipped: Skipped | None = None) -> None:
        self.source, self.processor, self.skipped = source, processor, skipped
        self.columns = dict(processor.columns())
        self.windowed = processor.windows is not None
        self.expected: Mapping[str, Column] = {}
        if skipped is not None:
            self.expected = self._expected()

    def __len__(self) -> int:
        return len(self.source)

    def where(self, index: int) -> str:
        """The place of a record, for messages."""
        return place_of(self.source, index)

    def span(self, start: int, stop: int, seconds: float) -> tuple[int, Chunk, list[Bad]]:
        """Records from ``start`` to ``stop``, or as many as ``seconds`` allow.

        Gives the first record that is not done, the columns, and the records passed over: each of those has no row in
        a ragged column, and a row without meaning in a dense one. With more of them than are allowed, no columns.
        """
        if (whole := self.at_once(start, stop)) is not None:
            return stop, whole, []
        until = time.perf_counter() + seconds
        samples: dict[int, Sample] = {}
        bad: list[Bad] = []
        last = start
        for last in range(start, stop):
            self._add(last, samples, bad)
            if time.perf_counter() > until:
                break
        chunk = self._packed(samples, bad)
        if self.skipped is not None and len(bad) > self.skipped.allowed:
            return last + 1, {}, bad
        if bad:
            there = np.isin(np.arange(start, last + 1), list(samples))
            chunk = {name: spread(p, self.columns[name], there) for name, p in chunk.items()}
        return last + 1, chunk, bad

    def arrays(self) -> Sequence[Mapping[str, Any]]:
        """All records as arrays, as `Source.arrays`; none where a sample is not a record of its own."""
        return [] if self.windowed or not isinstance(self.source, Source) else self.source.arrays()

    def at_once(self, start: int, stop: int) -> Chunk | None:
        """As `span` of records that lie in arrays, where none of them needs a word; else None."""
        if self.windowed or not isinstance(self.source, Source):
            return None
        if (records := self.source.block(range(start, stop))) is None:
            return None
        samples = self.processor.encode_block(records)
        if samples is None or any(c.target and (n in samples) != (n in self.expected) for n, c in self._promised()):
            return None
        return stacked(samples, self.columns)

    def _promised(self) -> Iterable[tuple[str, Column]]:
        """Columns that every record must have, or none of them, by name; nothing where that is not known yet."""
        return self.columns.items() if self.expected else ()

    def one(self, index: int) -> Sample:
        """One record; `DataError` naming its place for one that cannot be used."""
        record = read_record(self.source, index)
        try:
            sample = self.processor.encode(record)
        except MemoryError:
            raise
        except DataError as error:
            place = ", ".join(p for p in (self.where(index), error.where) if p)
            raise DataError(place, error.what, error.instead) from error
        except Exception as error:
            raise DataError(self.where(index), f"cannot be encoded: {type(error).__name__}: {error}") from error
        for name, column in self._promised():
            if column.target and (name in sample) != (name in self.expected):
                raise DataError(self.where(index), absence(name, name in sample))
        return sample

    def _add(self, index: int, samples: dict[int, Sample], bad: list[Bad]) -> None:
        if self.skipped is None:
            samples[index] = self.one(index)
        elif len(bad) <= self.skipped.allowed:
            try:
                samples[index] = self.one(index)
            except DataError as error:
                bad.append(Bad.of(index, error))

    def _packed(self, samples: dict[int, Sample], bad: list[Bad]) -> Chunk:
        """The columns of the samples; one that does not have the form its columns promise goes to ``bad``."""
        while samples:
            try:
                return pack(list(samples.values()), self.columns, self.windowed)
            except MisfitError as error:
                index = list(samples)[error.index]
                wrong = DataError(self.where(index), error.what)
                if self.skipped is None:
                    raise wrong from error
                bad.append(Bad.of(index, wrong))
                del samples[index]
        return {name: empty(column, self.windowed) for name, column in self.expected.items()}

    def _expected(self) -> Mapping[str, Column]:
        """The columns of every sample: those of the first sound record that others must be like."""
        assert self.skipped is not None
        for index in self.skipped.like or ():
            if index not in self.skipped:
                try:
                    sample = self.one(index)
                except DataError:  # found again, and counted, in its turn
                    continue
                return {name: c for name, c in self.columns.items() if name in sample}
        return self.columns


def read_record(source: Source | Sequence[Record], index: int) -> Record:
    """One record of a source; `DataError` naming its place, whatever reading it raised."""
    try:
        return source[index]
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise DataError(place_of(source, index), f"cannot be read: {type(error).__name__}: {error}") from error


def place_of(source: Source | Sequence[Record], index: int) -> str:
    """The place of a record, for messages."""
    if isinstance(source, Source):
        return source.where(index)
    path = source[index].get("path")  # of a file that is to be predicted
    return path if isinstance(path, str) else f"record {index}"
