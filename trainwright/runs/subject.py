"""A task under test: set up once on a few records, in float64, and asked from all sides."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.rows import Rows
from trainwright.core.task import Loss, Outputs, Processor, Progress, Record, Sample, Task
from trainwright.data.encode import encode, encode_records
from trainwright.data.loader import Loader
from trainwright.data.part import Part
from trainwright.data.source import Source
from trainwright.runs.sameness import dice

COUNT = 8  # samples looked at


class BrokenError(Exception):
    """A promise that is not kept; the message is the evidence."""


def must(kept: bool, evidence: str) -> None:
    """Raise `BrokenError` unless ``kept``."""
    if not kept:
        raise BrokenError(evidence)


def must_add_up(what: str, whole: Tensor, parts: Sequence[Tensor], fits: bool) -> None:
    """Raise `BrokenError` with the numbers unless ``fits``."""
    pieces, total = " + ".join(f"{p.item():.9g}" for p in parts), sum(p.item() for p in parts)
    must(fits, f"{what} is {whole.item():.9g} for all samples at once, but {pieces} = {total:.9g}")


class Subject:
    """The task, its fitted processor, its encoded records and its model; each is made when it is first asked for."""

    def __init__(
        self,
        make: Callable[[], Task[Any]],
        model_for: Callable[[dict[str, Any]], nn.Module],
        records: Sequence[Record],
        unlabelled: Callable[[Record], Record],
    ) -> None:
        self.make, self.model_for, self.records, self.unlabelled = make, model_for, records, unlabelled
        self.untouched = deepcopy([dict(r) for r in records[:COUNT]])

    @cached_property
    def task(self) -> Task[Any]:
        """Fitted on all records."""
        task = self.make()
        task.processor.fit(self.records)
        return task

    @property
    def processor(self) -> Processor:
        """The task's."""
        processor: Processor = self.task.processor
        return processor

    @cached_property
    def samples(self) -> list[Sample]:
        """The first records, encoded for the first time."""
        return [self.processor.encode(r) for r in self.records[:COUNT]]

    @cached_property
    def part(self) -> Part:
        """All samples."""
        store = encode(_Records(self.records), self.processor, workers=0, where="memory")
        part = Part(store, torch.arange(len(store)), self.processor.windows, self.processor, name="records")
        must(len(part) >= COUNT, f"{len(part)} samples are too few to check a task; give more records")
        return part

    @cached_property
    def model(self) -> nn.Module:
        """In float64, in evaluation mode, made for sizes that went through JSON."""
        return self.model_for(through_json(self.task.sizes())).double().eval()

    @cached_property
    def looked_at(self) -> Tensor:
        """(COUNT,) positions: the first samples, and the last, which may be a shorter window."""
        positions = self.part.positions()
        return torch.cat([positions[: COUNT - 1], positions[-1:]])

    def rows(self, which: Sequence[int] = range(COUNT)) -> Rows:
        """Some of the samples looked at, freshly gathered."""
        return self.part.gather(self.looked_at[torch.tensor(which)])

    def batch(self, which: Sequence[int]) -> Batch:
        """The same as a batch in float64."""
        return self.processor.batch(self.rows(which), None).cast(torch.float64)

    @cached_property
    def whole(self) -> Batch:
        """All samples looked at, in one batch."""
        return self.batch(range(COUNT))

    @cached_property
    def pieces(self) -> list[tuple[list[int], Batch]]:
        """The same in another order, in batches of 1, 2, 3 and the rest."""
        order = list(range(COUNT))[::-1]
        cuts = [order[:1], order[1:3], order[3:6], order[6:]]
        return [(cut, self.batch(cut)) for cut in cuts]

    def drawn(self, micro: int, *, shuffle: bool = False) -> list[Batch]:
        """All samples, augmented as the loader's first epoch does it."""
        loader = Loader(self.part, self.processor, batch_size="all", micro=micro, seed=7, shuffle=shuffle)
        try:
            return next(loader)
        finally:
            loader.close()

    def loss(self, batch: Batch) -> Loss:
        """With its graph."""
        return self.task.loss(self.model, batch, Progress())

    @torch.no_grad()
    def judged(self, batch: Batch) -> Loss:
        """The loss as an evaluation asks for it."""
        return self.loss(batch)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Outputs:
        """The prediction; one that samples rolls the same dice each time."""
        with dice(0):
            return self.task.predict(self.model, batch)

    def answers(self, batch: Batch) -> list[Any]:
        """The prediction as a person reads it."""
        return list(self.processor.decode(self.predict(batch), batch))

    def served(self, records: Sequence[Record]) -> Batch:
        """What a server makes of records; labels are hidden where it cannot do without (another promise tells)."""
        try:
            rows = encode_records([self.unlabelled(r) for r in records], self.processor)
        except Exception:
            rows = blind(encode_records(records, self.processor), self.processor)
        return replace(self.processor.batch(rows, None).cast(torch.float64), targets={})


class _Records(Source):
    """Records in memory."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    def fingerprint(self) -> str:
        raise NotImplementedError("these records are encoded once and never cached")


def blind(rows: Rows, processor: Processor) -> Rows:
    """Rows without the columns that only training knows."""
    columns = processor.columns()
    return replace(rows, columns={n: v for n, v in rows.columns.items() if not columns[n].target})


def through_json(value: Any) -> Any:
    """Written and read again; TypeError or ValueError for what JSON cannot say, NaN among it."""
    return json.loads(json.dumps(value, allow_nan=False))
