"""Whether columns keep what tells their values apart when they are rounded to bfloat16, which has three digits."""

from __future__ import annotations

import torch
from torch import Tensor

_LOST = 0.01  # share of pairs that may fall together: of a column drawn from a normal distribution 0.15 % do
FEWEST = 32  # rows, of which something can be said
_OFTEN = 0.05  # of the rows: a value that is there so often may stand for "none"


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
    exact = rows.detach().float().T.contiguous()
    coarse = exact.bfloat16().float()
    usual = exact.mode(1, keepdim=True).values
    other = exact != usual
    count = other.sum(1)
    upon = ((coarse == usual.bfloat16().float()) & other).sum(1)
    often = exact.shape[1] - count > _OFTEN * exact.shape[1]  # else any value is as good as that
    # what is left out is made one value more, in both alike
    alike, together = (_same(values.where(other, torch.inf)) for values in (exact, coarse))
    out = exact.shape[1] - count
    different = count * (count - 1) // 2 - (alike - out * (out - 1) // 2)
    lost = (often & (upon > _LOST * count)) | (together - alike > _LOST * different)
    return lost.nonzero().flatten().tolist()


def _same(columns: Tensor) -> Tensor:
    """(C,) how many pairs of equal values are in each row of (C, N)."""
    ordered = columns.sort(1).values
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = new.nonzero()  # where runs of equal values begin, row by row
    flat = first[:, 0] * ordered.shape[1] + first[:, 1]
    length = torch.diff(flat, append=flat.new_tensor([ordered.numel()]))
    return torch.zeros(len(ordered), dtype=torch.long).index_add_(0, first[:, 0], length * (length - 1) // 2)
