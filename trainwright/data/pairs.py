"""Pairs of texts, one to be read and one to be written: as numbers of pieces, and back.

Letters in shapes: N pairs, S source and T target pieces, B bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.rows import Column, Rows
from trainwright.core.searching import Marks
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.core.tokenizer import SPECIAL, Tokenizer
from trainwright.data.reading import served_text
from trainwright.data.tokenizing import text_of

NOTHING = -100  # a target that does not count
_SEEN = 10_000  # pairs that tell how much longer targets are than sources


@final
class Pairs(Processor):
    """Both texts as piece numbers with an end behind each; the target beside it as it was written, for metrics.

    Args:
        reads: the source's tokenizer, with all special pieces.
        writes: the target's; the same one where both languages share their pieces.
        source: the field of the text that is read; None finds it in the first record.
        target: the field of the text that is written; None likewise.
        most: pieces of a text, its end not counted; what is longer is cut there, and then has no end.
        told: what a person should know beside.
    """

    bucketed = "target"

    def __init__(
        self,
        reads: Tokenizer,
        writes: Tokenizer,
        source: str | None,
        target: str | None,
        *,
        most: int,
        told: Sequence[str] = (),
    ) -> None:
        assert reads.special == writes.special == SPECIAL
        self.reads, self.writes, self.source, self.target, self.most = reads, writes, source, target, most
        self.told = told
        self.ratio = 1.0  # target pieces for each source piece
        self.cut, self.read = 0, 0  # training texts that lose their end, of how many

    @property
    def marks(self) -> Marks:
        """The pieces that frame a target; an unknown one is of no use to a reader."""
        writes = self.writes
        assert writes.begin is not None and writes.end is not None and writes.padding is not None  # noqa: PT018
        return Marks(writes.begin, writes.end, writes.padding, [writes.unknown] if writes.unknown is not None else ())

    def fit(self, records: Iterable[Record]) -> None:
        """Learn the pieces of both languages, and how much longer targets are."""
        sources: list[str] = []
        targets: list[str] = []
        for number, record in enumerate(records):
            where = f"training record {number}"
            if not number:
                self._choose(record)
            sources.append(text_of(record, str(self.source), where))
            targets.append(text_of(record, str(self.target), where))
        if self.reads is self.writes:
            self.reads.fit(chain.from_iterable(zip(sources, targets, strict=True)))
        else:
            self.reads.fit(sources)
            self.writes.fit(targets)
        self.read = len(sources) + len(targets)
        pairs = zip((self.reads, self.writes), (sources, targets), strict=True)
        # no piece is shorter than a character, so short texts need not be cut up to be counted
        self.cut = sum(len(t) > self.most and len(pieces.encode(t)) > self.most for pieces, ts in pairs for t in ts)
        there, here = (sum(len(p.encode(t)) for t in ts[:_SEEN]) for p, ts in self._both(sources, targets))
        self.ratio = round(here / max(1, there), 3)

    def notes(self) -> Sequence[str]:
        """From which field to which; how many pieces there are; texts that lose their end."""
        sizes = f"{len(self.reads):,} pieces for both"
        if self.reads is not self.writes:
            sizes = f"{len(self.reads):,} and {len(self.writes):,} pieces"
        notes = [f"'{self.source}' is read, '{self.target}' is written; {sizes}", *self.told]
        if self.cut:
            told = f"{self.cut:,} of {self.read:,} training texts are longer than {self.most:,} pieces and are cut"
            notes.append(f"{told}; task.length says how long they may be")
        return notes

    def columns(self) -> Mapping[str, Column]:
        """``source`` (S,), ``target`` (T,) and ``reference`` (B,) bytes in UTF-8, all ragged."""
        read, written = (torch.int32 if len(p) > 1 << 15 else torch.int16 for p in (self.reads, self.writes))
        return {
            "source": Column("ragged", read),
            "target": Column("ragged", written, target=True),
            "reference": Column("ragged", torch.uint8, target=True),
        }

    def served(self, record: Record) -> Record:
        """The source alone; bare text, and a field 'text' where there is no other, stand for it; it may be blank."""
        record = served_text(record, self.source)
        kept = {name: value for name, value in record.items() if name != self.target}
        text = kept.get(str(self.source))
        return {**kept, "blank": True} if isinstance(text, str) and not text.strip() else kept

    def encode(self, record: Record) -> Sample:
        """One pair; without the target where the record has none."""
        columns = self.columns()
        if record.get("blank") is True:
            return {"source": torch.tensor([self.reads.end], dtype=columns["source"].dtype)}
        sample = {"source": self._pieces(self.reads, text_of(record, str(self.source), "record"), columns["source"])}
        if self.target is None or record.get(self.target) is None:
            return sample
        text = text_of(record, self.target, "record")
        raw = torch.frombuffer(bytearray(text.strip().encode()), dtype=torch.uint8)
        return {**sample, "target": self._pieces(self.writes, text, columns["target"]), "reference": raw}

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``source`` (N, S) and ``lengths`` (N,); targets ``target`` (N, T), -100 behind, and ``reference`` (N, B)."""
        source = rows.ragged("source")
        inputs = {"source": source.padded().long(), "lengths": source.lengths}
        if "target" not in rows.columns:
            return Batch(inputs, {}, torch.zeros((), device=rows.ids.device), rows.ids, len(rows))
        target = rows.ragged("target")
        targets = {"target": target.padded(NOTHING).long(), "reference": rows.ragged("reference").padded()}
        return Batch(inputs, targets, target.lengths.sum().to(torch.float32), rows.ids, len(rows))

    def limit(self, lengths: Tensor) -> Tensor:
        """(N,) source pieces -> (N,) target pieces that a translation may have, its end among them."""
        return (2 * self.ratio * lengths + 20).long().clamp_max(self.most + 1)

    def texts(self, outputs: Outputs) -> list[str]:
        """What was written, as a person reads it."""
        rows = zip(outputs["tokens"].tolist(), outputs["lengths"].tolist(), strict=True)
        return [self.writes.decode(ids[:length]).strip() for ids, length in rows]

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"translation": …, "nats_per_token": …}``; a blank source has a blank translation."""
        blank = (batch.inputs["lengths"] == 1).tolist()
        each = (outputs["nats"] / outputs["lengths"].clamp_min(1)).tolist()
        told = zip(self.texts(outputs), each, blank, strict=True)
        return [{"translation": "" if empty else text, "nats_per_token": nats} for text, nats, empty in told]

    def sources(self, batch: Batch) -> list[str]:
        """The source texts, out of their pieces."""
        rows = zip(batch.inputs["source"].tolist(), batch.inputs["lengths"].tolist(), strict=True)
        return [self.reads.decode(ids[:length]) for ids, length in rows]

    def sizes(self) -> dict[str, JSON]:
        """``vocab`` and ``source_vocab``, different pieces; ``context``, of a sequence; ``shared``, one vocabulary."""
        sizes: dict[str, JSON] = {"vocab": len(self.writes), "source_vocab": len(self.reads)}
        return {**sizes, "context": self.most + 1, "shared": self.reads is self.writes}

    def state_dict(self) -> dict[str, JSON]:
        """The fields, the pieces, and what was counted."""
        own = {} if self.reads is self.writes else {"writes": self.writes.state_dict()}
        fields: dict[str, JSON] = {"source": self.source, "target": self.target}
        return {**fields, "reads": self.reads.state_dict(), **own, "ratio": self.ratio, "cut": [self.cut, self.read]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.source, self.target, self.ratio = state["source"], state["target"], float(state["ratio"])
        self.reads.load_state_dict(state["reads"])
        if self.reads is not self.writes:
            self.writes.load_state_dict(state["writes"])
        self.cut, self.read = state["cut"]

    def _both(self, sources: list[str], targets: list[str]) -> list[tuple[Tokenizer, list[str]]]:
        return [(self.reads, sources), (self.writes, targets)]

    def _choose(self, record: Record) -> None:
        """The fields: those asked for, else "source" and "target", else the first two texts of a record."""
        texts = [name for name, value in record.items() if isinstance(value, str) and name != "path"]
        self.source = _field("source", self.source, record, [t for t in texts if t not in (self.target, "target")])
        self.target = _field("target", self.target, record, [t for t in texts if t != self.source])

    def _pieces(self, tokenizer: Tokenizer, text: str, column: Column) -> Tensor:
        """(T,) with the end, where the text is not longer than it may be."""
        ids = tokenizer.encode(text.strip())
        if not len(ids):
            raise DataError("record", f"{text[:40]!r} has no piece of text in it", "give every record two texts")
        end = torch.tensor([tokenizer.end])
        return (ids[: self.most] if len(ids) > self.most else torch.cat([ids, end])).to(column.dtype)


def _field(option: str, asked: str | None, record: Record, texts: Sequence[str]) -> str:
    """The one asked for, else the one named as the option, else the first of the texts."""
    if asked is not None and asked not in record:
        raise DataError(f"task.{option}", f"no field is named '{asked}'", did_you_mean(asked, record))
    name = asked or (option if option in record else next(iter(texts), None))
    if name is None:
        what = f"there is no field of text for it among {', '.join(map(repr, record))}"
        raise DataError(f"task.{option}", what, "give records with two texts, such as source and target")
    return name
