"""Tokenizers whose pieces need no learning of merges: bytes and characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.errors import DataError
from trainwright.core.kinds import tokenizers
from trainwright.core.task import JSON
from trainwright.core.tokenizer import Tokenizer, enough, listed, utf8


@tokenizers.add("bytes")
@final
class Bytes(Tokenizer):
    """The bytes of the text in UTF-8: 256 pieces whatever the language, nothing is unknown, sequences are long."""

    def __init__(self, special: Iterable[str] = ()) -> None:
        super().__init__(special)

    def fit(self, texts: Iterable[str]) -> None:
        """Nothing is learned; texts that cannot be written as UTF-8 are told of."""
        for text in texts:
            utf8(text)

    def encode(self, text: str) -> Tensor:
        """(T,) int64, one for each byte."""
        raw = np.frombuffer(utf8(text), np.uint8).astype(np.int64)
        return torch.from_numpy(raw + len(self.special))

    def pieces(self, ids: Tensor | Sequence[int]) -> list[str]:
        """Printable ASCII as it is, other bytes as ``\\xe2``."""
        first = len(self.special)
        return [f"<{self.special[i]}>" if i < first else _shown(i - first) for i in listed(ids)]

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """The text; bytes that are no UTF-8 become "\N{REPLACEMENT CHARACTER}"."""
        first = len(self.special)
        return bytes(i - first for i in listed(ids) if i >= first).decode(errors="replace")

    def __len__(self) -> int:
        return 256 + len(self.special)

    def sizes(self) -> list[int]:
        """One byte each."""
        return [0] * len(self.special) + [1] * 256

    def state_dict(self) -> dict[str, JSON]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


@tokenizers.add("characters")
@final
class Characters(Tokenizer):
    """The characters of the training texts, each a piece, in the order of Unicode.

    Args:
        pieces: at most so many, the most frequent ones; "auto" keeps every character.
        least: how often a character must occur to be a piece.
        lower: capital letters are read as small ones; the text that comes back is then in small letters.
    """

    def __init__(
        self,
        special: Iterable[str] = (),
        *,
        pieces: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto",
        least: Annotated[int, Field(ge=1)] = 1,
        lower: bool = False,
    ) -> None:
        super().__init__(special)
        self.wanted, self.least, self.lower = pieces, least, lower
        self._known: list[str] = []
        self._codes = np.zeros(0, np.uint32)

    def fit(self, texts: Iterable[str]) -> None:
        """Learn which characters there are; `DataError` where they are fewer than asked for."""
        tally: Counter[str] = Counter()
        for text in texts:
            utf8(text)
            tally.update(text.lower() if self.lower else text)
        found = [c for c, n in tally.items() if n >= self.least]
        enough(len(found) + len(self.special), self.wanted, "task.tokenizer")
        if not found:
            raise DataError("data", "the training texts have no characters", "give texts")
        found.sort(key=lambda c: (-tally[c], c))
        self._keep(sorted(found if self.wanted == "auto" else found[: max(1, self.wanted - len(self.special))]))

    def encode(self, text: str) -> Tensor:
        """(T,) int64, one for each character."""
        utf8(text)
        codes = _codes(text.lower() if self.lower else text)
        at = np.searchsorted(self._codes, codes)
        known = self._codes[np.minimum(at, len(self._codes) - 1)] == codes
        if self.unknown is None and not known.all():
            what = f"the character {chr(int(codes[np.argmin(known)]))!r} does not occur in the training texts"
            raise DataError("text", what, "leave it out, or train on texts that have it")
        ids = np.where(known, at + len(self.special), self.unknown or 0)
        return torch.from_numpy(ids.astype(np.int64))

    def pieces(self, ids: Tensor | Sequence[int]) -> list[str]:
        """The characters."""
        first = len(self.special)
        return [f"<{self.special[i]}>" if i < first else self._known[i - first] for i in listed(ids)]

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """The text."""
        first = len(self.special)
        return "".join(
            self._known[i - first] if i >= first else "\N{REPLACEMENT CHARACTER}" if i == self.unknown else ""
            for i in listed(ids)
        )

    def __len__(self) -> int:
        return len(self._known) + len(self.special)

    def sizes(self) -> list[int]:
        """Of each character in UTF-8."""
        return [0] * len(self.special) + [len(c.encode()) for c in self._known]

    def state_dict(self) -> dict[str, JSON]:
        """The characters."""
        return {"characters": "".join(self._known)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._keep(list(state["characters"]))

    def _keep(self, known: list[str]) -> None:
        self._known, self._codes = known, _codes("".join(known))


def _codes(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """(T,) the numbers of the characters in Unicode."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _shown(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"
