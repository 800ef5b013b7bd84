"""Recordings and what is said in them: what the task of speech recognition learns from.

Letters in shapes: N recordings, T samples, U frames, F bands, L pieces, B bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import samples
from trainwright.core.ctc import needed
from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.core.tokenizer import Tokenizer
from trainwright.data.recordings import Recordings
from trainwright.data.transcripts import FIELDS, Spelling, transcript, words_of

SPECIAL = ("padding", "unknown")  # the first is CTC's blank; the second is never in a training text


@final
class Speech(Processor):
    """Recordings as 16-bit samples, turned into features batch by batch, and their transcripts as pieces and bytes.

    Args:
        recordings: reads them.
        tokenizer: of the transcripts, with "padding" and "unknown" among its special pieces.
        target: the field of the transcript; None finds it in the first record.
        spelling: of the transcripts, as they are learned and compared.
        alphabet: the characters that a transcript may have; None for those of the training part.
        shorten: frames of features that become one before a piece is told.
    """

    bucketed = "wave"

    def __init__(
        self,
        recordings: Recordings,
        tokenizer: Tokenizer,
        target: str | None,
        *,
        spelling: Spelling,
        alphabet: str | None,
        shorten: int,
    ) -> None:
        assert tokenizer.padding == 0
        self.recordings, self.tokenizer, self.target = recordings, tokenizer, target
        self.spelling, self.alphabet, self.shorten = spelling, alphabet, shorten
        self.words = 0  # different ones in the training part

    def fit(self, records: Iterable[Record]) -> None:
        """Learn the pieces, the rate and the statistics. A bad record is told of as soon as it is read."""
        texts: list[str] = []

        def told() -> Iterator[tuple[Any, str]]:
            for i, record in enumerate(records):
                where = f"training record {i}"
                if not i:
                    self._choose(record)
                texts.append(self._text(record, where))
                yield self.recordings.value(record, where), where

        self.recordings.fit(told())
        self.tokenizer.fit(texts)
        self.words = len({word for text in texts for word in text.split()})

    def notes(self) -> Sequence[str]:
        """What the recordings have in common; what is written."""
        pieces = len(self.tokenizer) - len(SPECIAL)
        told = f"'{self.target}' is written in {pieces:,} pieces, {self.words:,} different words"
        return [*self.recordings.notes(), told]

    def columns(self) -> Mapping[str, Column]:
        """``wave`` (T,), ``text`` (L,) and ``reference`` (B,) bytes in UTF-8, all ragged."""
        return {
            **self.recordings.columns(),
            "text": Column("ragged", torch.int32, target=True),
            "reference": Column("ragged", torch.uint8, target=True),
        }

    def served(self, record: Record) -> Record:
        """Without the transcript."""
        return {name: value for name, value in record.items() if name != self.target}

    def encode(self, record: Record) -> Sample:
        """One recording; without its text where the record has none."""
        wave = self.recordings.wave(record)
        sample: dict[str, Tensor | bytes] = {"wave": self.recordings.encoded(wave)}
        if self.target is None or record.get(self.target) is None:
            if not wave.any():
                raise DataError("record", "the recording is silent: all its samples are 0", "record it again")
            return sample
        text = self._text(record, "record")
        if not wave.any():
            what = f"the recording is silent, all its samples are 0, and its transcript is {text[:40]!r}"
            raise DataError("record", what, "record it again, or leave it out")
        pieces = self.tokenizer.encode(text)
        self._fits(pieces.tolist(), len(wave), text)
        raw = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        return {**sample, "text": pieces.to(torch.int32), "reference": raw}

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``frames`` (N, U, F), ``lengths`` (N,); targets ``text`` (N, L), ``letters`` (N,), ``reference`` (N, B)."""
        targets: dict[str, Tensor] = {}
        least = None
        if "text" in rows.columns:
            text = rows.ragged("text")
            padded = text.padded().long()
            targets = {"text": padded, "letters": text.lengths, "reference": rows.ragged("reference").padded()}
            again = ((padded[:, 1:] == padded[:, :-1]) & (padded[:, 1:] != 0)).sum(1)
            least = (text.lengths + again) * self.shorten
        inputs = self.recordings.batch(rows, draw, least)
        return Batch(inputs, targets, samples(rows.ids), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"text", "nats_per_second", "words": [{"word", "start", "end"}, …]}``, times in seconds."""
        frame = self.recordings.hop * self.shorten
        counts, spans = outputs["lengths"].tolist(), outputs["spans"].tolist()
        seconds = (batch.inputs["lengths"] * self.recordings.hop).tolist()
        answers: list[Answer] = []
        for i, pieces in enumerate(outputs["tokens"].tolist()):
            told, at = pieces[: counts[i]], spans[i][: counts[i]]
            nats = float(outputs["nats"][i]) / seconds[i]
            words = words_of(self.tokenizer, told, at, frame)
            answers.append({"text": self.written(told), "nats_per_second": nats, "words": words})
        return answers

    def written(self, pieces: Sequence[int]) -> str:
        """Pieces as a text, one blank between words."""
        return " ".join(self.tokenizer.decode(pieces).split())

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        learned: dict[str, JSON] = {"target": self.target, "words": self.words}
        return {**learned, "recordings": self.recordings.state_dict(), "tokenizer": self.tokenizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.target, self.words = state["target"], int(state["words"])
        self.recordings.load_state_dict(state["recordings"])
        self.tokenizer.load_state_dict(state["tokenizer"])

    def _choose(self, record: Record) -> None:
        """The transcript: the field asked for, else a usual name, else the only other text."""
        texts = [k for k, v in record.items() if isinstance(v, str) and k not in ("path", "audio")]
        name = self.target or next((f for f in FIELDS if f in record), None) or next(iter(texts), "text")
        if name not in record:
            raise DataError("task.target", f"no field is named '{name}'", did_you_mean(name, record))
        self.target = name
        self.recordings.choose(record, (name,))

    def _text(self, record: Record, where: str) -> str:
        return transcript(record, str(self.target), self.spelling, self.alphabet, where)

    def _fits(self, pieces: list[int], count: int, text: str) -> None:
        """`DataError` where no path through so few frames can spell the text: its loss would be infinite."""
        frames = -(-self.recordings.frames(count) // self.shorten)
        wanted = needed(pieces)
        if wanted > frames:
            seconds = count / self.recordings.rate
            what = f"the transcript {text[:40]!r} of {len(pieces)} pieces needs {wanted} frames, and there are {frames}"
            what += f" in {seconds:.2f} s"
            instead = "check the transcript; for fast speech, write a smaller task.shorten or task.hop"
            raise DataError("record", what, instead)
