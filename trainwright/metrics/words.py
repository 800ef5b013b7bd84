"""How many words and characters of a text are wrong: edits and lengths are summed over a part and divided once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.task import Metric, Outputs
from trainwright.metrics.tallies import ratio, ratios

Texts: TypeAlias = Callable[[Outputs, Batch], tuple[Sequence[str], Sequence[str]]]  # what is said, what is true


def word_errors(of: Texts) -> Metric:
    """Word error rate: words inserted, left out or replaced, by the words that were said; it may be above 1.

    Source: Levenshtein 1966, "Binary codes capable of correcting deletions, insertions, and reversals".
    """
    return _metric(of, lambda text: text.split())


def character_errors(of: Texts) -> Metric:
    """Character error rate, likewise; blanks count as characters."""
    return _metric(of, list)


def edits(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and replacements that turn ``a`` into ``b``."""
    numbers = {x: i for i, x in enumerate(dict.fromkeys([*a, *b]))}
    there = np.array([numbers[x] for x in b], np.int64)
    along = np.arange(len(b) + 1)
    row = along.copy()
    for i, x in enumerate(a, 1):
        best = np.empty_like(row)
        best[0] = i
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (there != numbers[x]))
        row = np.minimum.accumulate(best - along) + along  # an insertion after the best so far
    return int(row[-1])


def _metric(of: Texts, cut: Callable[[str], Sequence[str]]) -> Metric:
    def count(outputs: Outputs, batch: Batch) -> Tensor:
        """(N, 2) edits, and pieces that were meant."""
        pairs = [(cut(said), cut(true)) for said, true in zip(*of(outputs, batch), strict=True)]
        return torch.tensor([[edits(s, t), len(t)] for s, t in pairs], dtype=torch.float64).reshape(-1, 2)

    return Metric(count, ratio, "lower", source="predict", many=ratios)
