"""Processors that each break one promise."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tests.runs.points import PointsProcessor
from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Rows
from trainwright.core.task import (
    JSON,
    Answer,
    Outputs,
    Record,
    Sample,
)


class LearnsByChance(PointsProcessor):
    def fit(self, records: Iterable[Record]) -> None:
        self.mean = float(torch.rand(()))


class ReadsTwice(PointsProcessor):
    def fit(self, records: Iterable[Record]) -> None:
        self.mean = float(len(list(records))) + float(len(list(records)))


class AnotherType(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        sample = super().encode(record)
        return {**sample, "x": cast(Tensor, sample["x"]).double()}


class AnotherShape(PointsProcessor):
    def columns(self) -> Mapping[str, Column]:
        return {**super().columns(), "x": Column("dense", torch.float32, (3,))}


class AColumnTooMany(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        return {**super().encode(record), "number": torch.tensor(1)}


class BadRecord(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        if record.get("number") == 20:
            raise DataError("x", "cannot be read")
        return super().encode(record)


class Forgets(PointsProcessor):
    """The second time it sees a record, it says something else."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Record] = []

    def encode(self, record: Record) -> Sample:
        again = any(record is r for r in self.seen)
        self.seen.append(record)
        sample = super().encode(record)
        return {**sample, "x": cast(Tensor, sample["x"]) + 1} if again else sample


class WritesIntoRecords(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        if "label" in record:
            cast("dict[str, Any]", record)["seen"] = True
        return super().encode(record)


class RoundsItsState(PointsProcessor):
    def state_dict(self) -> dict[str, JSON]:
        return {"mean": round(self.mean, 2)}


class InPlace(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        rows.dense("x").mul_(2)
        return made


class Moody(PointsProcessor):
    """Evaluation with a coin thrown, by a generator of its own so that the global ones stand still."""

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        last = getattr(self, "last", None)
        self.last = rows
        return replace(made, inputs={"x": made.inputs["x"] + 1}) if last is rows else made


class RollsTheDice(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        if draw is None:
            torch.rand(1)
        return super().batch(rows, draw)


class RollsPythonsDice(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        if draw is None:
            random.random()
        return super().batch(rows, draw)


class ByPlaceInBatch(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        noise = 0.1 * torch.arange(len(rows))[:, None] if draw is not None else 0.0
        return replace(made, inputs={"x": made.inputs["x"] + noise})


class ByNeighbours(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        x = made.inputs["x"]
        return replace(made, inputs={"x": 0.9 * x + 0.1 * x.roll(1, 0)}) if draw is not None else made


class RollsWhenAugmenting(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        if draw is not None:
            np.random.random()
        return super().batch(rows, draw)


class WholeWeight(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        return replace(made, weight=made.weight.long())


class ScalarInput(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        return replace(made, targets={**made.targets, "longest": torch.tensor(2)} if draw is None else made.targets)


class OwnNumbers(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        return replace(made, ids=torch.arange(len(rows)) + 100) if draw is None else made


class MeanWeight(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        return replace(super().batch(rows, draw), weight=torch.tensor(1.0))


class MixesLabelsIn(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        leak = rows.dense("label")[:, None].float() if "label" in rows.columns else 0.0
        return replace(made, inputs={"x": made.inputs["x"] + leak})


class EncodesLabelsIn(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        sample = super().encode(record)
        return {**sample, "x": cast(Tensor, sample["x"]) + record.get("label", 0)}


class NeedsLabels(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        return {**super().encode(record), "label": torch.tensor(record["label"])}


class AnswersInSets(PointsProcessor):
    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        return [{"labels": {i}} for i in outputs["label"].tolist()]
