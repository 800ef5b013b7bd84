"""Music as frames: which keys of a piano sound in each step of an even grid.

Letters in shapes: N pieces, T frames, K keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Literal, final

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.score import KEYS, TEMPO, Score, chords, framed, held, per_beat_of, sampled, score_of, steps_of

_FINE = 4  # steps of a beat where records do not say: sixteenths


@final
class MusicFrames(Processor):
    """Pieces of music as (T, K) keys that sound.

    In training pieces longer than ``length`` are cut at a place of the draw, and all are moved up or down by up to
    ``transpose`` half tones, as far as the keys of a piano allow. In evaluation they are whole, and as they are.

    Args:
        per_beat: frames of a beat; "auto" is what records of steps say, and 4 for notes.
        length: frames of a training sample at most.
        transpose: half tones.
    """

    def __init__(self, per_beat: Literal["auto"] | int, length: int, transpose: int) -> None:
        self.asked, self.length, self.transpose = per_beat, length, transpose
        self.per_beat, self.tempo = 1, TEMPO
        self.beyond, self.notes_read = 0, 0

    def fit(self, records: Iterable[Record]) -> None:
        """Learn the grid and the usual tempo."""
        tempos, first = [], True
        self.beyond = self.notes_read = 0
        for number, record in enumerate(records):
            where = f"training record {number}"
            if first:
                grid = per_beat_of(record, where) if "steps" in record else _FINE
                self.per_beat, first = grid if self.asked == "auto" else self.asked, False
            score = score_of(record, where)
            self.beyond += self._steps(record, where)[1]
            self.notes_read += len(score.notes)
            tempos.append(score.tempo)
        self.tempo = float(median(tempos)) if tempos else TEMPO

    def notes(self) -> Sequence[str]:
        """The grid, and notes that no piano has."""
        beat = f"{self.per_beat} frames to a beat" if self.per_beat > 1 else "a frame is a beat"
        lost = f"{self.beyond:,} of {self.notes_read:,} notes lie beyond the keys of a piano and are left out"
        return [beat, *([lost] if self.beyond else [])]

    def columns(self) -> Mapping[str, Column]:
        """``frames`` (T, K), ragged."""
        return {"frames": Column("ragged", torch.uint8, (KEYS,))}

    def served(self, record: Record) -> Record:
        """Music to go on from, which may be empty."""
        return {**record, "primer": True}

    def encode(self, record: Record) -> Sample:
        """(T, K) the keys that sound."""
        steps, _ = self._steps(record, "")
        if not any(steps) and not record.get("primer"):
            raise DataError("record", "no key sounds in it", "leave it out")
        return {"frames": framed(steps)}

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``frames`` (N, T, K) of 0 and 1, padded behind, and their ``lengths`` (N,); the weight is their number."""
        frames, lengths = rows.ragged("frames").padded(), rows.ragged("frames").lengths
        if draw is not None:
            frames, lengths = self._cut(frames, lengths, draw)
            frames = self._moved(frames, draw)
        inputs = {"frames": frames.to(torch.float32), "lengths": lengths}
        return Batch(inputs, {}, lengths.sum().to(torch.float32), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """The steps that were given and those that were written, as lists of pitches, and how many are of a beat."""
        given = outputs["given"].tolist()
        return [
            {"primer": chords(primer[:count]), "steps": chords(written), "per_beat": self.per_beat}
            for primer, count, written in zip(batch.inputs["frames"], given, outputs["frames"], strict=True)
        ]

    def score(self, steps: Sequence[Sequence[int]], given: int, tempo: float | None = None) -> Score:
        """Steps as music, of which the first ``given`` were there before."""
        return Score(tuple(held(steps, self.per_beat)), tempo or self.tempo, given / self.per_beat)

    def state_dict(self) -> dict[str, JSON]:
        """The grid, the tempo, and what was left out."""
        return {"per_beat": self.per_beat, "tempo": self.tempo, "beyond": self.beyond, "notes": self.notes_read}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.per_beat, self.tempo = int(state["per_beat"]), float(state["tempo"])
        self.beyond, self.notes_read = int(state["beyond"]), int(state["notes"])

    def _steps(self, record: Record, where: str) -> tuple[list[list[int]], int]:
        """On our grid, and how many notes lie beyond the keys."""
        if "steps" in record and per_beat_of(record, where) == self.per_beat:
            return steps_of(record["steps"], where), 0
        return sampled(score_of(record, where).notes, self.per_beat)

    def _cut(self, frames: Tensor, lengths: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Stretches of ``length`` frames at most, each beginning where its draw says."""
        if frames.shape[1] <= self.length:
            return frames, lengths
        spare = (lengths - self.length).clamp_min(0)
        starts = (draw.uniform("cut")[:, 0] * (spare + 1)).long().clamp_max(spare)
        at = starts[:, None] + torch.arange(self.length, device=frames.device)
        inside = at.clamp_max(frames.shape[1] - 1)[:, :, None].expand(-1, -1, KEYS)
        return frames.gather(1, inside), lengths.clamp_max(self.length)

    def _moved(self, frames: Tensor, draw: Draw) -> Tensor:
        """Every piece moved by as many keys as its draw says, so far that none leaves the keyboard."""
        if not self.transpose:
            return frames
        used = frames.amax(1) > 0  # (N, K)
        keys = torch.arange(KEYS, device=frames.device)
        low = torch.where(used, keys, KEYS - 1).amin(1)
        high = torch.where(used, keys, 0).amax(1)
        moves = draw.integers("transpose", 2 * self.transpose + 1)[:, 0] - self.transpose
        moves = torch.maximum(torch.minimum(moves, KEYS - 1 - high), -low)
        source = (keys - moves[:, None]) % KEYS
        return frames.gather(2, source[:, None].expand(-1, frames.shape[1], -1))
