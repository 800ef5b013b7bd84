"""One field of recordings as a model hears it: a ragged column of samples, and features of it, batch by batch.

Letters in shapes: N recordings, T samples, U frames, F bands.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Annotated, Any, Literal, TypeAlias, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Record
from trainwright.data.audio import Samples, heard, resampled, samples
from trainwright.data.mel import LogMel
from trainwright.data.sound_changes import Changes

SAMPLED = 256  # training recordings that mean and deviation are measured on
HIGHEST = 16_000  # samples a second that are chosen for a person; speech has little above 8,000 Hz
FIELDS = ("audio", "sound", "recording", "wav", "file")
_FULL = 32_767  # of 16-bit samples
_FLAT = 1e-3  # deviation of a band, in nats, below which it says nothing

Rate: TypeAlias = Literal["auto"] | Annotated[int, Field(ge=1_000, le=192_000)]
Bands: TypeAlias = Annotated[int, Field(ge=1, le=512)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=10)]
Longest: TypeAlias = Annotated[float, Field(gt=0)]
Normal: TypeAlias = Literal["recording", "training"]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Decibels: TypeAlias = Annotated[float, Field(ge=0, le=120)]
Reach: TypeAlias = Annotated[float, Field(ge=0)]
Stripes: TypeAlias = Annotated[int, Field(ge=0, le=64)]


@dataclass(frozen=True, slots=True)
class Hearing:
    """How recordings are heard, as a person asks for it."""

    rate: Rate = "auto"
    bands: int = 40
    window: float = 0.025  # seconds
    hop: float = 0.01  # seconds
    normalize: Normal = "recording"
    longest: float = 60.0  # seconds
    changes: Changes = field(default_factory=Changes)


@final
class Recordings:
    """The field of the recordings, what they have in common, and their features.

    Args:
        how: as a person asks for it.
        name: of the field; None finds it in the first record.
    """

    def __init__(self, how: Hearing, name: str | None) -> None:
        self.how, self.field = how, name
        self.rate = how.rate if how.rate != "auto" else HIGHEST
        self.mean: list[float] = [0.0] * how.bands  # of each band over the training part
        self.deviation: list[float] = [1.0] * how.bands
        self.rates: dict[int, int] = {}  # of the training recordings: how many have which
        self.seconds: list[float] = []  # shortest, median, longest
        self._features = self._made()

    def choose(self, record: Record, taken: Iterable[str]) -> str:
        """The field of the recordings: the one asked for, else a usual name, else the first that is no text."""
        if self.field is None:
            usual = next((f for f in FIELDS if f in record), None)
            other = next(
                (k for k, v in record.items() if k not in taken and not isinstance(v, str | int | float)), None
            )
            self.field = usual or other or "audio"
        return self.field

    def fit(self, values: Iterable[tuple[Any, str]]) -> None:
        """Learn the rate, and mean and deviation of each band, from recordings and their places.

        A bad recording is told of when it is met.
        """
        kept: list[Any] = []
        lengths: list[float] = []
        rates: Counter[int] = Counter()
        chance = random.Random(0)  # a fair sample of a stream whose length is not known; Vitter 1985, algorithm R
        for i, (value, where) in enumerate(values):
            with placed(where):
                told = heard(value)
            rates[told.rate] += 1
            lengths.append(told.seconds)
            at = i if i < SAMPLED else chance.randrange(i + 1)
            if at < SAMPLED:
                kept[at : at + 1] = [value]
        if not lengths:
            raise DataError("data", "the training part has no records", "give it a larger share")
        self.rates = dict(sorted(rates.items()))
        self.seconds = [round(x, 3) for x in (min(lengths), median(lengths), max(lengths))]
        if self.how.rate == "auto":
            self.rate = min(HIGHEST, max(rates, key=lambda r: (rates[r], r)))
        self._features = self._made()
        self._measure(kept)

    def notes(self) -> Sequence[str]:
        """The rate and the lengths; recordings whose rate is another."""
        short, usual, long = self.seconds
        notes = [f"recordings of {short:g} to {long:g} s, half of them above {usual:g} s, heard at {self.rate:,} Hz"]
        others = {rate: n for rate, n in self.rates.items() if rate != self.rate}
        if others and len(self.rates) > 1:
            told = ", ".join(f"{n:,} at {rate:,} Hz" for rate, n in self.rates.items())
            lower = sum(n for rate, n in others.items() if rate < self.rate)
            more = f"; {lower:,} of them hold nothing of the highest tones" if lower else ""
            notes.append(f"the training recordings have several rates ({told}): all are brought to one{more}")
        return notes

    def columns(self) -> dict[str, Column]:
        """``wave`` (T,), ragged 16-bit samples."""
        return {"wave": Column("ragged", torch.int16)}

    def value(self, record: Record, where: str) -> Any:
        """The recording as the record has it; `DataError` where it has none."""
        name = self.field or "audio"
        if record.get(name) is None:
            raise DataError(where, f"the record has no field '{name}'", did_you_mean(name, record))
        return record[name]

    def wave(self, record: Record) -> Samples:
        """(T,) float32 at the common rate; `DataError` where there is no recording, or a damaged one."""
        found, rate = samples(self.value(record, "record"), self.how.longest)
        return resampled(found, rate, self.rate)

    @staticmethod
    def encoded(wave: Samples) -> Tensor:
        """(T,) int16."""
        return torch.from_numpy(np.clip(np.rint(wave * _FULL), -_FULL, _FULL).astype(np.int16))

    def batch(self, rows: Rows, draw: Draw | None, least: Tensor | None = None) -> dict[str, Tensor]:
        """``frames`` (N, U, F) float32, normalised, 0 behind, and their ``lengths`` (N,); with a draw, changed.

        Args:
            rows: with the column ``wave``.
            draw: of the changes.
            least: (N,) frames that a recording must keep, however fast it is played.
        """
        column = rows.ragged("wave")
        wave, lengths = column.padded().float() / _FULL, column.lengths
        if draw is not None:
            fewest = torch.ones_like(lengths) if least is None else (least - 1).clamp_min(0) * self._features.hop + 1
            wave, lengths = self.how.changes.of_wave(wave, lengths, fewest, self.rate, draw)
        logs, frames = self._features(wave, lengths)
        x = self._normal(logs, frames)
        return {"frames": x if draw is None else self.how.changes.of_frames(x, frames, draw), "lengths": frames}

    def frames(self, count: int) -> int:
        """Frames of a recording of so many samples."""
        return count // self._features.hop + 1

    @property
    def hop(self) -> float:
        """Seconds from frame to frame."""
        return self._features.hop / self.rate

    def state_dict(self) -> dict[str, JSON]:
        """The field, the rate, the statistics, and what was seen."""
        seen: dict[str, JSON] = {"rates": {str(r): n for r, n in self.rates.items()}, "seconds": list(self.seconds)}
        return {"field": self.field, "rate": self.rate, "mean": [*self.mean], "deviation": [*self.deviation], **seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.field, self.rate = state["field"], int(state["rate"])
        self.mean, self.deviation = list(state["mean"]), list(state["deviation"])
        self.rates = {int(r): int(n) for r, n in state["rates"].items()}
        self.seconds = list(state["seconds"])
        self._features = self._made()

    def _made(self) -> LogMel:
        window, hop = (max(1, round(seconds * self.rate)) for seconds in (self.how.window, self.how.hop))
        return LogMel(self.rate, self.how.bands, window, hop)

    def _measure(self, values: Sequence[Any]) -> None:
        sums, count = torch.zeros(2, self.how.bands, dtype=torch.float64), 0
        for value in values:
            with suppress(DataError):  # a damaged one: encoding meets it again, and knows its place
                found, rate = samples(value, self.how.longest)
                wave = torch.from_numpy(resampled(found, rate, self.rate))[None]
                logs, _ = self._features(wave, torch.tensor([wave.shape[1]]))
                x = logs[0].double()
                sums += torch.stack([x.sum(0), x.square().sum(0)])
                count += len(x)
        mean, square = sums / max(count, 1)
        self.mean = mean.tolist()
        self.deviation = (square - mean.square()).clamp_min(0).sqrt().clamp_min(_FLAT).tolist()

    def _normal(self, logs: Tensor, frames: Tensor) -> Tensor:
        """(N, U, F) with mean 0 and deviation 1 of each band, of the recording or of the training part."""
        real = (torch.arange(logs.shape[1], device=logs.device) < frames[:, None])[:, :, None]
        if self.how.normalize == "training":
            mean, deviation = torch.tensor([self.mean, self.deviation], device=logs.device, dtype=logs.dtype)
        else:
            count = frames[:, None, None].to(logs.dtype)
            mean = (logs * real).sum(1, keepdim=True) / count
            spread = ((logs - mean).square() * real).sum(1, keepdim=True) / count
            deviation = spread.sqrt().clamp_min(_FLAT)
        x: Tensor = (logs - mean) / deviation * real
        return x.float()  # rounded once, so that no batch changes a recording


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Adds a place to the errors within."""
    try:
        yield
    except DataError as error:
        raise DataError(", ".join(p for p in (where, error.where) if p), error.what, error.instead) from None
