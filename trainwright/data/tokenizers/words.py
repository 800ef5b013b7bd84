"""The tokenizer of whole words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, final

from pydantic import Field
from torch import Tensor

from trainwright.core.errors import DataError
from trainwright.core.kinds import tokenizers
from trainwright.core.task import JSON
from trainwright.core.tokenizer import Tokenizer, enough, listed, numbered, utf8

AUTO = 50_000  # words, at most: beyond them a classifier's table of vectors costs more than it brings
# letters and digits with what joins them (don't, state-of-the-art, 3.5); any other sign by itself
_WORD = re.compile(r"\w+(?:['’\-.,]\w+)*|[^\w\s]")


@tokenizers.add("words")
@final
class Words(Tokenizer):
    """Words and punctuation marks as they stand; rare ones are unknown.

    What comes back has one blank between all pieces, so it is not the text to the letter.

    Args:
        pieces: so many, the most frequent ones; "auto" keeps all that occur often enough, at most 50,000.
        least: how often a word must occur to be a piece.
        lower: capital letters are read as small ones.
        split: "words" cuts punctuation off; "spaces" cuts at blanks alone, for texts that somebody has cut already.
    """

    def __init__(
        self,
        special: Iterable[str] = (),
        *,
        pieces: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto",
        least: Annotated[int, Field(ge=1)] = 2,
        lower: bool = True,
        split: Literal["words", "spaces"] = "words",
    ) -> None:
        super().__init__(special)
        self.wanted, self.least, self.lower, self.split = pieces, least, lower, split
        self._known: list[str] = []
        self._index: dict[str, int] = {}

    def fit(self, texts: Iterable[str]) -> None:
        """Learn which words there are; `DataError` where they are fewer than asked for."""
        tally: Counter[str] = Counter()
        for text in texts:
            utf8(text)
            tally.update(self._cut(text))
        found = sorted((w for w, n in tally.items() if n >= self.least), key=lambda w: (-tally[w], w))
        enough(len(found) + len(self.special), self.wanted, "task.tokenizer")
        if not found:
            what = f"no word occurs {self.least} times in the training texts"
            raise DataError("task.tokenizer.least", what, "write 1, or use the tokenizer 'characters'")
        most = AUTO if self.wanted == "auto" else max(1, self.wanted - len(self.special))
        self._keep(found[:most])

    def encode(self, text: str) -> Tensor:
        """(T,) int64, one for each word."""
        utf8(text)
        ids = []
        for word in self._cut(text):
            number = self._index.get(word, self.unknown)
            if number is None:
                raise DataError(
                    "text", f"the word {word!r} is not among the known ones", "use a tokenizer of bytes, or bpe"
                )
            ids.append(number)
        return numbered(ids)

    def pieces(self, ids: Tensor | Sequence[int]) -> list[str]:
        """The words."""
        first = len(self.special)
        return [f"<{self.special[i]}>" if i < first else self._known[i - first] for i in listed(ids)]

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """The words with blanks between them."""
        first = len(self.special)
        return " ".join(
            self._known[i - first] if i >= first else "\N{REPLACEMENT CHARACTER}"
            for i in listed(ids)
            if i >= first or i == self.unknown
        )

    def __len__(self) -> int:
        return len(self._known) + len(self.special)

    def state_dict(self) -> dict[str, JSON]:
        """The words, the most frequent first."""
        return {"words": list(self._known)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._keep([str(w) for w in state["words"]])

    def _cut(self, text: str) -> list[str]:
        text = text.lower() if self.lower else text
        return text.split() if self.split == "spaces" else _WORD.findall(text)

    def _keep(self, known: list[str]) -> None:
        self._known = known
        self._index = {word: i + len(self.special) for i, word in enumerate(known)}
