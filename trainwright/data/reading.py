"""Text as a model reads it: ragged columns of piece numbers and groups of letters, padded in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Record, Sample
from trainwright.core.tokenizer import Tokenizer
from trainwright.data.letters import Letters
from trainwright.data.tokenizing import text_of

FIELDS = ("text", "sentence", "review", "comment", "content", "message", "body", "document", "question", "title")


@final
class Reader:
    """One field of text as (T,) piece numbers.

    Args:
        tokenizer: with "padding" and "unknown" among its special pieces.
        field: of the text; None finds it in the first record.
        most: pieces of a text; what is longer loses its end.
        silenced: share of the pieces that training replaces by "unknown", and of the letters that it leaves out.
        letters: finds groups of letters; None for none.
    """

    def __init__(
        self, tokenizer: Tokenizer, field: str | None, *, most: int, silenced: float, letters: Letters | None
    ) -> None:
        assert tokenizer.padding == 0
        self.tokenizer, self.field, self.most, self.silenced = tokenizer, field, most, silenced
        self.letters = letters
        self.cut, self.read = 0, 0  # training texts that lost their end, of how many

    def fit(self, texts: Iterable[str]) -> None:
        """Learn the pieces; then count what would be cut off."""
        kept: list[str] = []

        def told() -> Iterator[str]:
            for text in texts:
                kept.append(text)
                yield text

        self.tokenizer.fit(told())
        self.read = len(kept)
        # no piece is shorter than a character, so short texts need not be cut up to be counted
        self.cut = sum(len(t) > self.most and len(self.tokenizer.encode(t)) > self.most for t in kept)

    def choose(self, record: Record, target: str | None) -> str:
        """The field of the text: the one asked for, else the usual name, else the longest text of a record."""
        if self.field is None:
            usual = next((f for f in FIELDS if f in record and f != target), None)
            texts = {k: v for k, v in record.items() if isinstance(v, str) and k not in (target, "path")}
            longest = max(texts, key=lambda k: len(texts[k]), default=None)
            self.field = usual or longest or "text"
        return self.field

    def text(self, record: Record, where: str) -> str:
        """The text of a record; `DataError` where there is none."""
        return text_of(record, self.field or "text", where)

    def columns(self) -> dict[str, Column]:
        """``tokens``, and ``letters`` where groups of them are asked for."""
        columns = {"tokens": Column("ragged", torch.int32 if len(self.tokenizer) > 1 << 15 else torch.int16)}
        return columns if self.letters is None else {**columns, "letters": Column("ragged", torch.int32)}

    def encode(self, record: Record) -> Sample:
        """The columns of one record; at least one piece, at most as many as may be."""
        text = self.text(record, "record")
        ids = self.tokenizer.encode(text)[: self.most]
        if not len(ids):
            raise DataError("record", f"'{self.field}' has no piece of text in it", "give every record a text")
        sample: Sample = {"tokens": ids.to(self.columns()["tokens"].dtype)}
        return sample if self.letters is None else {**sample, "letters": self.letters(text, self.most)}

    def batch(self, rows: Rows, draw: Draw | None) -> dict[str, Tensor]:
        """``tokens`` (N, T) int64 and ``lengths`` (N,), ``letters`` (N, G); with a draw, some are silenced."""
        tokens = rows.ragged("tokens")
        unknown = self.tokenizer.unknown
        assert unknown is not None
        inputs = {"tokens": self._silent(tokens.padded().long(), unknown, "silenced", draw), "lengths": tokens.lengths}
        if self.letters is not None:
            inputs["letters"] = self._silent(rows.ragged("letters").padded().long(), 0, "letters", draw)
        return inputs

    def _silent(self, x: Tensor, instead: int, name: str, draw: Draw | None) -> Tensor:
        if draw is None or not self.silenced:
            return x
        return torch.where((draw.uniform(name, x.shape[1]) < self.silenced) & (x != 0), instead, x)

    def sizes(self) -> dict[str, JSON]:
        """``vocab``, ``padding``, ``context``, and ``letters``, how many groups are told apart."""
        letters = 0 if self.letters is None else self.letters.buckets
        pieces: dict[str, JSON] = {"vocab": len(self.tokenizer), "padding": self.tokenizer.padding}
        return {**pieces, "context": self.most, "letters": letters}

    def notes(self) -> Sequence[str]:
        """How many texts lost their end."""
        if not self.cut:
            return []
        told = f"{self.cut:,} of {self.read:,} training texts are longer than {self.most:,} pieces and lose their end"
        return [f"{told}; task.length says how long they may be"]

    def state_dict(self) -> dict[str, JSON]:
        """The field, the pieces, and what was cut."""
        return {"field": self.field, "tokenizer": self.tokenizer.state_dict(), "cut": [self.cut, self.read]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.field = state["field"]
        self.tokenizer.load_state_dict(state["tokenizer"])
        self.cut, self.read = state["cut"]


def served_text(record: Any, field: str | None) -> Record:
    """A record that is served: text alone, or in a field 'text', stands where the field has another name."""
    if isinstance(record, str):
        return {field or "text": record}
    if field is not None and field not in record and "text" in record:
        return {**record, field: record["text"]}
    return dict(record)
