"""The rows of a tensor that one of several ranks holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Share:
    """A rank's rows of a tensor that all ranks hold together, one after the other, as `torch.chunk` divides them."""

    rows: Tensor
    shape: tuple[int, ...]  # of the whole


def joined(pieces: Sequence[Tensor]) -> Tensor:
    """The whole tensor whose rows lie in some pieces."""
    return torch.cat(list(pieces)) if len(pieces) > 1 else pieces[0]


def cut(pieces: Sequence[Tensor], rank: int, world: int) -> Share:
    """The rows that a rank holds, out of pieces that any other number of ranks may have written.

    Args:
        pieces: at least one; only those that hold rows of this rank are read.
        rank: that the rows are for.
        world: ranks that share the tensor now.
    """
    total = sum(len(piece) for piece in pieces)
    most = -(-total // world)
    first, end = min(rank * most, total), min((rank + 1) * most, total)
    found, at = [], 0
    for piece in pieces:
        part = piece[max(first - at, 0) : max(end - at, 0)]
        if len(part):
            found.append(part)
        at += len(piece)
    return Share(joined(found or [pieces[0][:0]]), (total, *pieces[0].shape[1:]))
