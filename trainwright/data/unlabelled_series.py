"""Windows of series without a target: stretches of time as numbers, and a label that only scores read.

Letters in shapes: N windows, T steps of a window, V series (columns), K numbers of a code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import samples
from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.rows import Column, Rows, Windows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.calendar import written_time
from trainwright.data.labels import is_missing, label_of
from trainwright.data.series import TIME
from trainwright.data.series_windows import SeriesWindows, filled, gone
from trainwright.data.unlabelled import disturbed


@final
class UnlabelledSeries(Processor):
    """One record is one time of all series; a sample is a window of T steps, each series scaled by the training part.

    Where a number is missing, the newest one before it in the window stands, and no reconstruction is compared with it.
    A window has the label that marks anomalies where one of its steps has it, else the one that most of them have.

    Args:
        length: steps of a window, T.
        stride: steps from the beginning of a window to that of the next.
        label: the field that is never learned from; None for none.
        anomaly: the value of it that marks anomalies; None for none.
        ignore: columns to leave out.
        noise: deviation of what is added to the inputs in training.
        masked: share of the inputs that is set to 0 in training.
        codes: numbers of a code, K.
    """

    def __init__(
        self,
        length: int,
        stride: int,
        label: str | None,
        anomaly: str | int | bool | None,
        *,
        ignore: Sequence[str],
        noise: float,
        masked: float,
        codes: int,
    ) -> None:
        self.windows = Windows(lead=0, length=length, stride=stride)
        self.series = SeriesWindows(length, 1, season=1)
        self.length, self.label, self.anomaly, self.ignore = length, label, anomaly, tuple(ignore)
        self.noise, self.masked, self.codes = noise, masked, codes
        self.form: Literal[None] = None  # of pictures, which these are not
        self.labels: list[str] = []  # of the training part, sorted

    def fit(self, records: Iterable[Record]) -> None:
        """The step and the scale of each series; the names of the labels."""
        found: set[str] = set()

        def own() -> Iterator[Record]:
            for i, record in enumerate(records):
                where = f"training record {i}"
                for option, name in [("label", self.label), *(("ignore", name) for name in self.ignore)]:
                    if name is not None and name not in record:
                        what = f"no field is named '{name}', which task.{option} names"
                        raise DataError(where, what, did_you_mean(name, record))
                if self.label is not None and not is_missing(record[self.label]):
                    found.add(str(label_of(record[self.label], where)))
                yield self._own(record)

        self.series.fit(own())
        self.labels = sorted(found)

    @property
    def shape(self) -> tuple[int, int]:
        """Of one sample's numbers, (V, T)."""
        return len(self.series.names), self.length

    @property
    def names(self) -> Sequence[str]:
        """Of the series."""
        return self.series.names

    def columns(self) -> Mapping[str, Column]:
        """``series`` (V,) of each time, its ``clock``, and ``y``, the number of its label."""
        own = self.series.columns()
        return own if self.label is None else {**own, "y": Column("window", torch.int64, padding=-1, target=True)}

    def served(self, record: Record) -> Record:
        """Without the label."""
        return {name: value for name, value in record.items() if name != self.label}

    def encode(self, record: Record) -> Sample:
        """One time, or a stretch of them where the record has lists; ``y`` is -1 where training had no such label."""
        sample = dict(self.series.encode(self._own(record)))
        if self.label is not None and self.label in record:
            cells = record[self.label]
            many = isinstance(cells, list | tuple | np.ndarray)
            sample["y"] = torch.tensor([self._number(cell) for cell in (cells if many else [cells])])
        return sample

    def notes(self) -> list[str]:
        """The step, what is missing, and the labels."""
        told = [f"times lie {self.series.step} apart; a sample is a window of {self.length} of them"]
        if self.label is not None:
            told.append(f"'{self.label}' has {len(self.labels):,} values, read for scores alone")
        missing = self.series.missing
        return told + ([gone(missing)] if missing else [])

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """Input ``x`` (N, V, T), with noise where there is a draw, and ``dice`` (N, K) for codes that are drawn; which
        numbers are ``real`` (N, V, T); the first and the last time, ``clock`` (N, 2); targets ``x`` without noise, and
        ``y`` (N,)."""
        found = {name: rows.dense(name) for name in self.columns() if name in rows.columns}
        if found["clock"].shape[1] != self.length:  # served: the window ends where the record does
            found = self._newest(found, rows.lengths["clock"])
        real = found["series"].isfinite().transpose(1, 2)
        x = filled(found["series"]).transpose(1, 2).contiguous()
        inputs = {"x": x, "real": real, "clock": found["clock"][:, [0, -1]]}
        if draw is not None:
            inputs |= {"x": disturbed(x, draw, self.noise, self.masked), "dice": draw.normal("code", self.codes)}
        targets = {"x": x, **({"y": self._label(found["y"])} if "y" in found else {})}
        return Batch(inputs, targets, samples(rows.ids), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"time": of the first step, "until": of the last, "anomaly_score": …, "code_1": …, …}``."""
        ends = batch.inputs["clock"].tolist()
        pairs = zip(ends, outputs["score"].tolist(), outputs["code"].tolist(), strict=True)
        return [
            {
                TIME: self.time(first),
                "until": self.time(last),
                "anomaly_score": score,
                **{f"code_{i}": c for i, c in enumerate(code, 1)},
            }
            for (first, last), score, code in pairs
        ]

    def time(self, tick: int) -> Any:
        """A time as a person writes it."""
        return written_time(tick, self.series.form)

    def raw(self, x: Tensor) -> Tensor:
        """(N, V, T) as the network sees them -> in the units of the data."""
        mean, scale = (torch.tensor(v, dtype=x.dtype)[:, None] for v in (self.series.mean, self.series.scale))
        return x * scale + mean

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        return {"labels": [*self.labels], "series": self.series.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.labels = list(state["labels"])
        self.series.load_state_dict(state["series"])

    def _own(self, record: Record) -> Record:
        """What is learned from."""
        return {k: v for k, v in record.items() if k != self.label and k not in self.ignore}

    def _number(self, cell: Any) -> int:
        name = "" if is_missing(cell) else str(label_of(cell, f"field '{self.label}'"))
        return self.labels.index(name) if name in self.labels else -1

    def _label(self, y: Tensor) -> Tensor:
        """(N, T) -> (N,), -1 where no step has a label."""
        apart = torch.where(y < 0, -1 - torch.arange(y.shape[1], device=y.device), y)  # what is missing has no vote
        usual = apart.mode(1).values
        usual = torch.where(usual < 0, y.max(1).values, usual)
        if self.anomaly is None or str(self.anomaly) not in self.labels:
            return usual
        mark = self.labels.index(str(self.anomaly))
        return torch.where((y == mark).any(1), mark, usual)

    def _newest(self, found: Mapping[str, Tensor], lengths: Tensor) -> dict[str, Tensor]:
        """The last T of so many steps (N,); DataError where there are fewer."""
        if int(lengths.min()) < self.length:
            short = int(lengths.argmin())
            what = f"has {int(lengths[short])} times, and a window of this run has {self.length}"
            raise DataError(f"record {short}", what, "give a longer stretch, with a list for each column")
        at = (lengths - self.length)[:, None] + torch.arange(self.length, device=lengths.device)
        return {
            n: t.gather(1, at if t.ndim == 2 else at[..., None].expand(-1, -1, t.shape[2])) for n, t in found.items()
        }
