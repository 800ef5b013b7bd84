"""What a tokenizer promises: text to whole numbers and back, learned from the training part alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainwright.core.errors import DataError
from trainwright.core.task import JSON

SPECIAL = ("padding", "unknown", "begin", "end")


class Tokenizer(ABC):
    """Cuts text into numbered pieces.

    The special pieces come first, in the order of `SPECIAL`; no text can be taken for one of them. Which there are is
    the task's to say: a classifier pads, a translator needs all four, a language model over bytes none.

    Args:
        special: names out of `SPECIAL`.
    """

    def __init__(self, special: Iterable[str] = ()) -> None:
        wanted = set(special)
        assert wanted <= set(SPECIAL), f"special pieces {sorted(wanted)} are not all among {SPECIAL}"
        self.special = tuple(name for name in SPECIAL if name in wanted)

    @abstractmethod
    def fit(self, texts: Iterable[str]) -> None:
        """Learn the pieces from the training texts, which are read once.

        Raises `DataError` where they do not give as many as were asked for.
        """

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """(T,) int64, without special pieces but "unknown".

        Raises `DataError` for a piece that is not known, where there is no "unknown".
        """

    @abstractmethod
    def pieces(self, ids: Tensor | Sequence[int]) -> list[str]:
        """Each piece as a person may read it; special ones in angle brackets."""

    @abstractmethod
    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """The text of (T,) pieces.

        Special ones are left out, but for an unknown one, which is "\N{REPLACEMENT CHARACTER}".
        """

    @abstractmethod
    def __len__(self) -> int:
        """How many pieces there are, special ones among them."""

    def sizes(self) -> list[int] | None:
        """Bytes of text that each piece stands for, 0 for special ones; None where they are not known."""
        return None

    @abstractmethod
    def state_dict(self) -> dict[str, JSON]:
        """What was learned, as JSON."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""

    @property
    def padding(self) -> int | None:
        """The number of the piece that fills a batch; None where there is none."""
        return self._number("padding")

    @property
    def unknown(self) -> int | None:
        """The number of what the training texts did not have; None where there is none."""
        return self._number("unknown")

    @property
    def begin(self) -> int | None:
        """The number of the start of a text; None where there is none."""
        return self._number("begin")

    @property
    def end(self) -> int | None:
        """The number of the end of a text; None where there is none."""
        return self._number("end")

    def _number(self, name: str) -> int | None:
        return self.special.index(name) if name in self.special else None


def listed(ids: Tensor | Sequence[int]) -> list[int]:
    """(T,) numbers as a list."""
    return [int(i) for i in (ids.tolist() if isinstance(ids, Tensor) else ids)]


def numbered(ids: Sequence[int]) -> Tensor:
    """(T,) int64."""
    return torch.tensor(ids, dtype=torch.int64)


def utf8(text: str) -> bytes:
    """The bytes of a text; `DataError` for half of a surrogate pair, which is no character."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        what = f"character {error.start} is half of a surrogate pair (U+{ord(text[error.start]):04X})"
        raise DataError("text", what, "save the text as UTF-8") from None


def enough(found: int, asked: int | str, where: str) -> None:
    """`DataError` where the training texts gave fewer pieces than were asked for."""
    if isinstance(asked, int) and found < asked:
        what = f"the training texts give {found:,} pieces, not {asked:,}"
        raise DataError(f"{where}.pieces", what, f'write {found} or fewer, "auto", or give more text')
