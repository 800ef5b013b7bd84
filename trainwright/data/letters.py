"""Groups of letters within words, hashed to numbers: what a word that training did not have still tells."""

from __future__ import annotations

import zlib
from typing import final

import torch
from torch import Tensor

_REMEMBERED = 100_000  # words whose groups are kept at hand


@final
class Letters:
    """Every stretch of so many letters of every word, with < and > at its ends; 0 is left for padding.

    Args:
        shortest: letters of a group at least.
        longest: at most.
        buckets: different numbers; groups that meet in one are taken for the same.

    Source: Bojanowski et al. 2017, "Enriching word vectors with subword information".
    """

    def __init__(self, shortest: int, longest: int, buckets: int) -> None:
        self.sizes, self.buckets = range(shortest, longest + 1), buckets
        self._known: dict[str, list[int]] = {}

    def __call__(self, text: str, most: int) -> Tensor:
        """(G,) int32 from 1 to ``buckets``, of the first ``most`` words."""
        found: list[int] = []
        for word in text.lower().split()[:most]:
            if (groups := self._known.get(word)) is None:
                groups = self._groups(word)
                if len(self._known) < _REMEMBERED:
                    self._known[word] = groups
            found += groups
        return torch.tensor(found, dtype=torch.int32)

    def _groups(self, word: str) -> list[int]:
        marked = f"<{word}>"
        stretches = (marked[i : i + n] for n in self.sizes for i in range(len(marked) - n + 1))
        return [1 + zlib.crc32(s.encode("utf-8", "surrogatepass")) % self.buckets for s in stretches]
