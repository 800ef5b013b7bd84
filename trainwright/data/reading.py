"""Text as a model reads it: one ragged column of piece numbers, padded in batches, with words silenced in training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Ragged
from trainwright.core.task import JSON, Record
from trainwright.core.tokenizer import Tokenizer
from trainwright.data.tokenizing import text_of

FIELDS = ("text", "sentence", "review", "comment", "content", "message", "body", "document", "question", "title")


@final
class Reader:
    """One field of text as (T,) piece numbers.

    Args:
        tokenizer: with "padding" and "unknown" among its special pieces.
        field: of the text; None finds it in the first record.
        most: pieces of a text; what is longer loses its end.
        silenced: share of the pieces that training replaces by "unknown".
    """

    def __init__(self, tokenizer: Tokenizer, field: str | None, most: int, silenced: float) -> None:
        assert tokenizer.padding == 0
        self.tokenizer, self.field, self.most, self.silenced = tokenizer, field, most, silenced
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

    def encode(self, record: Record) -> Tensor:
        """(T,) int64, at least one, at most as many as may be."""
        ids = self.tokenizer.encode(self.text(record, "record"))[: self.most]
        if not len(ids):
            raise DataError("record", f"'{self.field}' has no piece of text in it", "give every record a text")
        return ids

    def column(self) -> Column:
        """How the pieces are kept."""
        dtype = torch.int32 if len(self.tokenizer) > 1 << 15 else torch.int16
        return Column("ragged", dtype)

    def batch(self, tokens: Ragged, draw: Draw | None) -> dict[str, Tensor]:
        """``tokens`` (N, T) int64, padded, and ``lengths`` (N,); with a draw, some pieces are unknown."""
        padding, unknown = self.tokenizer.padding, self.tokenizer.unknown
        assert padding is not None
        x = tokens.padded(padding).long()
        if draw is not None and self.silenced:
            assert unknown is not None
            x = torch.where((draw.uniform("silenced", x.shape[1]) < self.silenced) & (x != padding), unknown, x)
        return {"tokens": x, "lengths": tokens.lengths}

    def sizes(self) -> dict[str, JSON]:
        """``vocab``, ``padding`` and ``context``."""
        return {"vocab": len(self.tokenizer), "padding": self.tokenizer.padding, "context": self.most}

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
