"""Whether columns keep what tells their values apart when they are rounded to bfloat16, which has three digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Numbers = np.ndarray[Any, Any]
_LOST = 0.01  # share of pairs that may fall together: of a column drawn from a normal distribution 0.15 % do
FEWEST = 32  # rows, of which something can be said
_OFTEN = 0.05  # of the rows: a value that is there so often may stand for "none"
_AT_ONCE = 2**20  # numbers


def blurred(rows: Tensor) -> list[int]:
    """The columns in which more than one of a hundred pairs of different values become the same value.

    A latitude of 37.88 becomes 38, and a year of 2013 becomes 2016; levels of grey, flags, counts up to 256 and
    whatever was scaled to its own spread stay. The most frequent value is not among the pairs, for often it stands for
    "none": how many values fall upon it is asked apart, where it is frequent.

    Args:
        rows: (N, columns) float; of fewer than 32 rows every column counts as blurred.
    """
    if len(rows) < FEWEST:
        return list(range(rows.shape[1]))
    some = rows.detach().float().cpu().split(max(1, _AT_ONCE // len(rows)), 1)
    return np.concatenate([_lost(columns) for columns in some]).nonzero()[0].tolist()


def _lost(columns: Tensor) -> Numbers:
    """(C,) of which columns of (N, C) too much is lost."""
    n = len(columns)
    own = columns.T.contiguous() + 0.0  # -0 becomes 0: equal numbers must have equal bits
    ordered = np.sort(own.numpy(), axis=1).T.copy()  # in a tenth of the time torch takes
    exact = ordered.view(np.int32)
    coarse = torch.from_numpy(ordered).bfloat16().view(torch.int16).numpy()  # in order as well: rounding keeps it
    alike, longest, last = _runs(exact)
    together = _runs(coarse)[0]
    usual = np.take_along_axis(coarse, last[None], 0)[0]  # the smallest of the most frequent values
    out, both = longest + 1, (coarse == usual).sum(0)
    count, upon = n - out, both - out
    lost = together - _pairs(both) + _pairs(upon) - (alike - _pairs(out))  # pairs of the others that fall together
    different = _pairs(count) - (alike - _pairs(out))
    often = out > _OFTEN * n  # else any value is as good as that
    found: Numbers = (often & (upon > _LOST * count)) | (lost > _LOST * different)
    return found


def _runs(ordered: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Of columns (N, C) in their order, (C,) each: pairs of equal values; and of the first of the longest runs of
    them, how many values are behind its first, and the place of its last.
    """
    behind, pairs, longest, last = np.zeros((4, ordered.shape[1]), dtype=np.int32)
    for row in range(1, len(ordered)):  # by rows, of which nothing but sums is kept
        behind += 1
        behind *= ordered[row] == ordered[row - 1]
        pairs += behind
        longer = behind > longest
        np.copyto(last, row, where=longer)
        np.copyto(longest, behind, where=longer)
    return pairs, longest, last


def _pairs(count: Numbers) -> Numbers:
    found: Numbers = count * (count - 1) // 2
    return found
