"""Texts as one stream of tokens: windows of it to learn from, prompts to go on from.

Letters in shapes: N windows, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, final

import torch

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Rows, Windows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.core.tokenizer import Tokenizer
from trainwright.data.continued import before
from trainwright.data.tokenizing import checked_text

SPECIAL = ("unknown", "end")
NOTHING = -100  # a target that does not count
_NOTED = 20  # characters that a note lists


@final
class TextStream(Processor):
    """All texts, one after the other, each with an end behind it; a window is T tokens, each told from those before.

    In evaluation windows follow one another without an overlap, the last may be shorter, and every token but the very
    first of the stream is a target once. In training they begin elsewhere in each epoch.

    Args:
        tokenizer: with the special pieces ``SPECIAL``.
        context: tokens of a window.
        field: of a record that holds the text.
        stop: strings before which a written text ends.
    """

    def __init__(self, tokenizer: Tokenizer, context: int, field: str, stop: Sequence[str] = ()) -> None:
        self.tokenizer, self.context, self.field, self.stop = tokenizer, context, field, stop
        self.windows = Windows(lead=1, length=context, stride=context, partial=True, shift=True)
        self.opening: list[int] = []  # what stands before a text: the end of another, or of a line

    def fit(self, records: Iterable[Record]) -> None:
        """Learn the pieces."""
        ends, lines = 0, False

        def texts() -> Iterator[str]:
            nonlocal ends, lines
            for number, record in enumerate(records):
                text = self._text(record, f"training record {number}")
                ends, lines = ends + bool(record.get("end", True)), lines or "\n" in text
                yield text

        self.tokenizer.fit(texts())
        newline = self.tokenizer.encode("\n").tolist() if lines else []
        assert self.tokenizer.end is not None
        self.opening = newline if newline and not ends else [self.tokenizer.end]

    def columns(self) -> Mapping[str, Column]:
        """``tokens``, a stream."""
        return {"tokens": Column("window", torch.int32, padding=0)}

    def encode(self, record: Record) -> Sample:
        """The tokens of a text, and its end unless another piece of it follows."""
        if record.get("prompt") == "empty":
            return {"tokens": torch.tensor(self.opening, dtype=torch.int32)}
        ids = self.tokenizer.encode(self._text(record, "")).int()
        assert self.tokenizer.end is not None
        behind = torch.tensor([self.tokenizer.end] if record.get("end", True) else [], dtype=torch.int32)
        return {"tokens": torch.cat([ids, behind])}

    def served(self, record: Record) -> Record:
        """A prompt, which has no end; an empty one begins where a text begins."""
        if record.get(self.field) == "":
            return {self.field: "", "end": False, "prompt": "empty"}
        return {self.field: self._text(record, ""), "end": False}

    def notes(self) -> list[str]:
        """How many different tokens there are."""
        told = "".join(self.tokenizer.pieces(range(len(SPECIAL), len(self.tokenizer))))
        letters = f": {told!r}" if len(self.tokenizer) < 150 else ""
        return [f"{len(self.tokenizer):,} different tokens{letters}"]

    def unknown(self, text: str) -> str:
        """A note on what of a prompt the training texts did not have; empty where all is known."""
        unknown = self.tokenizer.unknown
        if unknown is None or not bool((self.tokenizer.encode(text) == unknown).any()):
            return ""
        found = [c for c in dict.fromkeys(text) if bool((self.tokenizer.encode(c) == unknown).all()) and c.strip()]
        named = ", ".join(repr(c) for c in found[:_NOTED])
        return f"the training texts do not have all of the prompt{f': {named}' if found else ''}"

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """Inputs ``tokens`` (N, T) and their ``lengths``; targets ``tokens`` (N, T), one later, -100 where none is."""
        tokens, there = rows.dense("tokens").long(), rows.lengths["tokens"]
        width = self.context
        if tokens.shape[1] != self.context + 1:  # served: each prompt whole, and padding behind
            width = int(there.max())  # the wait
        asked = torch.arange(width, device=tokens.device) + 1 < there[:, None]
        if tokens.shape[1] != self.context + 1:
            asked = torch.zeros_like(asked)
        later = tokens[:, 1 : width + 1].masked_fill(~asked, NOTHING)
        inputs = {"tokens": tokens[:, :width], "lengths": there.clamp_max(width)}
        return Batch(inputs, {"tokens": later}, asked.sum().to(torch.float32), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """The prompt, what was written behind it, and why no more was."""
        prompts = zip(batch.inputs["tokens"].tolist(), batch.inputs["lengths"].tolist(), strict=True)
        ended = outputs["ended"].tolist()
        written = zip(outputs["tokens"].tolist(), outputs["written"].tolist(), strict=True)
        return [
            {
                "prompt": self.tokenizer.decode(prompt[:length]),
                "text": before(self.tokenizer.decode(ids[:count]), self.stop),
                "ended": ENDS[end],
            }
            for (prompt, length), (ids, count), end in zip(prompts, written, ended, strict=True)
        ]

    def state_dict(self) -> dict[str, JSON]:
        """The pieces, and how a text begins."""
        return {"tokenizer": self.tokenizer.state_dict(), "opening": cast("list[JSON]", self.opening)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.tokenizer.load_state_dict(state["tokenizer"])
        self.opening = [int(i) for i in state["opening"]]

    def _text(self, record: Record, where: str) -> str:
        text = record.get(self.field)
        if isinstance(text, str) and text:  # blank lines are text here
            return text
        if self.field not in record:
            what = f"the record has no field '{self.field}', only {', '.join(map(repr, record))}"
            raise DataError(where, what, f"write task.text = {next(iter(record), 'text')!r}")
        return checked_text(text, self.field, where)


ENDS = ("length", "end", "stop")
"""Why a continuation is no longer: so many tokens were asked for, the text ended, or a stop string came."""


def prompts_in(path: Path) -> Iterator[Record]:
    """The lines of a text file, each a prompt; blank ones are passed over."""
    if path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".parquet", ".jsonl", ".npz", ".png", ".jpg"):
        raise DataError(str(path), "is no text file", "give a .txt file with a prompt in each line, or --prompt TEXT")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), f"cannot be read as UTF-8 text ({error})", "save it as UTF-8") from None
    yield from ({"text": line, "path": f"{path.name}, line {i}"} for i, line in enumerate(lines, 1) if line.strip())
