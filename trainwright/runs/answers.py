"""Answers as they are made, each with where its record came from; what cannot be read is told, or passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, final

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.task import Record
from trainwright.data.source import Source
from trainwright.runs.inputs import Item
from trainwright.runs.predict import Predictor

OnBad = Literal["error", "skip"]
Bad = Callable[[Item, DataError], None]


def answered(
    predictor: Predictor,
    items: Iterable[Item],
    *,
    keep: Sequence[str] = (),
    bad: Bad | None = None,
) -> Iterator[dict[str, Any]]:
    """One answer per record, in order, a batch at a time: its origin, the fields to keep, and what the model says.

    Args:
        predictor: of the run.
        items: the records, read when their turn comes.
        keep: fields of the record that its answer repeats, as ``record.NAME`` where the answer has such a field.
        bad: is told of each record that cannot be used, which is then passed over; without it that is an error.
    """
    waiting = iter(items)
    while group := list(islice(waiting, predictor.batch_size)):
        read = [found for item in group if (found := _read(item, keep, bad)) is not None]
        yield from _batch(predictor, read, bad) if read else ()


def _read(item: Item, keep: Sequence[str], bad: Bad | None) -> tuple[Item, Record, dict[str, Any]] | None:
    """The record, and what its answer repeats of it."""
    try:
        record = item.read()
    except DataError as error:
        _told(item, error, bad)
        return None
    for name in keep:
        if name not in record:
            raise DataError("--keep", f"{item.place} has no field '{name}'", did_you_mean(name, record))
        if not isinstance(record[name], str | int | float | bool | None):
            raise DataError("--keep", f"'{name}' is no single value", "name a field of numbers or text")
    return item, record, {name: record[name] for name in keep}


def _batch(
    predictor: Predictor, read: Sequence[tuple[Item, Record, dict[str, Any]]], bad: Bad | None
) -> Iterator[dict[str, Any]]:
    """All at once; one by one where one of them cannot be encoded and is to be passed over."""
    try:
        served = [predictor.task.processor.served(record) for _, record, _ in read]
        answers = predictor.answers(_Group(served, [item.place for item, _, _ in read]))
    except DataError as error:
        if len(read) > 1 and bad is not None:
            for one in read:
                yield from _batch(predictor, [one], bad)
            return
        _told(read[0][0], error, bad)
        return
    for (item, _, kept), answer in zip(read, answers, strict=True):
        taken = item.origin.keys() | answer.keys()
        repeated = {f"record.{k}" if k in taken else k: v for k, v in kept.items()}
        yield {**item.origin, **repeated, **answer}


def _told(item: Item, error: DataError, bad: Bad | None) -> None:
    if bad is None:
        raise error
    bad(item, error)


@final
class _Group(Source):
    """Records in memory that know their places."""

    def __init__(self, records: Sequence[Record], places: Sequence[str]) -> None:
        self._records, self._places = records, places

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]

    def fingerprint(self) -> str:
        """They are never cached."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """Where the record came from."""
        return self._places[index]
