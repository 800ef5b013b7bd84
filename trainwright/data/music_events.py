"""Music as a sequence of events: keys that go down and up, and time that passes.

Letters in shapes: N pieces, T events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.music_codes import END, Codes
from trainwright.data.score import TEMPO, Score, as_lists, score_of

NOTHING = -100  # a target that does not count


@final
class MusicEvents(Processor):
    """Pieces of music as numbers of events, each with an end before it and behind it.

    In training a piece is a stretch of it, ``context`` events and the one behind, at a place of the draw, and moved up
    or down by up to ``transpose`` half tones. In evaluation pieces are whole, and as they are.

    Args:
        codes: the numbers.
        context: events that the model looks back on.
        transpose: half tones.
    """

    def __init__(self, codes: Codes, context: int, transpose: int) -> None:
        self.codes, self.context, self.transpose = codes, context, transpose
        self.tempo = TEMPO

    def fit(self, records: Iterable[Record]) -> None:
        """Learn the usual tempo."""
        tempos = [score_of(record, f"training record {number}").tempo for number, record in enumerate(records)]
        self.tempo = float(median(tempos)) if tempos else TEMPO

    def notes(self) -> Sequence[str]:
        """The events that there are."""
        force = f", {self.codes.velocities} velocities" if self.codes.velocities > 1 else ""
        return [f"{len(self.codes):,} different events, {self.codes.per_beat} steps to a beat{force}"]

    def columns(self) -> Mapping[str, Column]:
        """``tokens`` (T,), ragged."""
        return {"tokens": Column("ragged", torch.int16)}

    def served(self, record: Record) -> Record:
        """Music to go on from, which may be empty, and has no end."""
        return {**record, "primer": True}

    def encode(self, record: Record) -> Sample:
        """(T,) an end, the events, and an end unless it is to be gone on with."""
        codes = self.codes.encode(score_of(record, "").notes)
        if record.get("primer"):
            return {"tokens": torch.tensor([END, *codes], dtype=torch.int16)}
        if not codes:
            raise DataError("record", "there is no note in it", "leave it out")
        return {"tokens": torch.tensor([END, *codes, END], dtype=torch.int16)}

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``tokens`` (N, T), padded behind, and their ``lengths``; targets ``tokens`` (N, T), one later, else -100."""
        tokens, lengths = rows.ragged("tokens").padded(END).long(), rows.ragged("tokens").lengths
        if draw is not None:
            tokens, lengths = self._cut(tokens, lengths, draw)
            tokens = self._moved(tokens, draw)
        there = torch.arange(tokens.shape[1], device=tokens.device) + 1 < lengths[:, None]
        later = tokens.roll(-1, 1).masked_fill(~there, NOTHING)
        inputs = {"tokens": tokens, "lengths": lengths}
        return Batch(inputs, {"tokens": later}, there.sum().to(torch.float32), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """The notes of each piece, and how many beats of it were given."""
        given, written = outputs["given"].tolist(), outputs["written"].tolist()
        rows = zip(batch.inputs["tokens"].tolist(), given, outputs["tokens"].tolist(), written, strict=True)
        scores = [self.score(primer[:count], more[:new]) for primer, count, more, new in rows]
        return [{"notes": as_lists(s.notes), "primer": s.primer} for s in scores]

    def score(self, given: Sequence[int], written: Sequence[int], tempo: float | None = None) -> Score:
        """Events as music, of which the given ones were there before."""
        notes = self.codes.decode([*given, *written])
        return Score(tuple(notes), tempo or self.tempo, self.codes.beats(given))

    def state_dict(self) -> dict[str, JSON]:
        """The tempo."""
        return {"tempo": self.tempo}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.tempo = float(state["tempo"])

    def _cut(self, tokens: Tensor, lengths: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Stretches of ``context`` + 1 events at most, each beginning where its draw says."""
        width = self.context + 1
        if tokens.shape[1] <= width:
            return tokens, lengths
        spare = (lengths - width).clamp_min(0)
        starts = (draw.uniform("cut")[:, 0] * (spare + 1)).long().clamp_max(spare)
        at = starts[:, None] + torch.arange(width, device=tokens.device)
        return tokens.gather(1, at.clamp_max(tokens.shape[1] - 1)), lengths.clamp_max(width)

    def _moved(self, tokens: Tensor, draw: Draw) -> Tensor:
        """Every piece moved by as many half tones as its draw says, so far that none leaves the pitches of MIDI."""
        if not self.transpose:
            return tokens
        keys = (tokens != END) & (tokens < self.codes.wait)
        pitches = (tokens - 1) % 128
        low = torch.where(keys, pitches, 127).amin(1)
        high = torch.where(keys, pitches, 0).amax(1)
        moves = draw.integers("transpose", 2 * self.transpose + 1)[:, 0] - self.transpose
        moves = torch.maximum(torch.minimum(moves, 127 - high), -low)
        return torch.where(keys, tokens + moves[:, None], tokens)
