"""Recordings and their class: what the task of audio classification learns from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import Criterion, samples
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.labels import Label, Labels, is_missing, label_of
from trainwright.data.recordings import Recordings


@final
class Sounds(Processor):
    """Recordings as 16-bit samples, turned into features batch by batch, and the number of their class.

    Args:
        recordings: reads them.
        target: the field of the label.
        silent: whether recordings of zeros are kept.
        criterion: says how much each label weighs.
    """

    bucketed = "wave"

    def __init__(self, recordings: Recordings, target: str, *, silent: bool, criterion: Criterion) -> None:
        self.recordings, self.target, self.silent = recordings, target, silent
        self.labels = Labels()
        self._criterion = criterion

    def fit(self, records: Iterable[Record]) -> None:
        """Learn labels, rate and statistics. A bad recording is told of when it is met."""
        found: list[Label] = []

        def told() -> Iterator[tuple[Any, str]]:
            for i, record in enumerate(records):
                where = f"training record {i}"
                if not i:
                    self.recordings.choose(record, (self.target,))
                found.append(self._label(record, where))
                yield self.recordings.value(record, where), where

        self.recordings.fit(told())
        self.labels = Labels(found).checked(f"field '{self.target}'")
        self._criterion.learn(self.labels.counts)

    def notes(self) -> Sequence[str]:
        """What the recordings have in common; labels that look alike."""
        return [*self.recordings.notes(), *self.labels.notes(f"field '{self.target}'")]

    def columns(self) -> Mapping[str, Column]:
        """``wave`` (T,) int16, ragged, and ``y``, the class."""
        return {**self.recordings.columns(), "y": Column("dense", torch.int64, target=True)}

    def served(self, record: Record) -> Record:
        """Without the label."""
        return {name: value for name, value in record.items() if name != self.target}

    def encode(self, record: Record) -> Sample:
        """One recording; without ``y`` where the record has no label."""
        wave = self.recordings.wave(record)
        if not self.silent and not wave.any():
            instead = 'leave it out; where silence is one of your classes, write task.silent = "keep"'
            raise DataError("record", "the recording is silent: all its samples are 0", instead)
        sample: dict[str, Tensor | bytes] = {"wave": self.recordings.encoded(wave)}
        if not is_missing(record.get(self.target)):
            sample["y"] = torch.tensor(self.labels.index(record[self.target], f"field '{self.target}'"))
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``frames`` (N, U, F) float32 and ``lengths`` (N,); target ``y`` (N,)."""
        inputs = self.recordings.batch(rows, draw)
        targets = {"y": rows.dense("y")} if "y" in rows.columns else {}
        weight = self._criterion.weight(targets["y"]) if targets else samples(rows.ids)
        return Batch(inputs, targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"label": …, "probability": p, "probabilities": {label: p, …}}``."""
        return list(self.labels.answers(outputs["probabilities"]))

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        return {"labels": self.labels.state_dict(), "recordings": self.recordings.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.labels.load_state_dict(state["labels"])
        self.recordings.load_state_dict(state["recordings"])
        self._criterion.learn(self.labels.counts)

    def _label(self, record: Record, where: str) -> Label:
        value = record.get(self.target)
        if is_missing(value):
            raise DataError(where, f"the record has no label '{self.target}'", "give every training record a label")
        return label_of(value, where)
