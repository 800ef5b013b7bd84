"""Rows of several tensors as if they were one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import final

import torch
from torch import Tensor

from trainwright.data.gather import Ints, empty, raw, take


@final
class Joint:
    """(R, *shape) on the CPU, end to end in the tensors that it is made of, and in their memory.

    Args:
        pieces: (R_k, *shape) each, of one type, each in one piece of memory.
    """

    def __init__(self, pieces: Sequence[Tensor]) -> None:
        self.pieces = tuple(pieces)
        stops = list(accumulate(len(x) for x in pieces))
        self._bounds = list(zip([0, *stops], stops, strict=False))  # of each piece, among all rows

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return self.pieces[0].device

    @property
    def is_cpu(self) -> bool:
        """True."""
        return True

    @property
    def nbytes(self) -> int:
        """Of all pieces."""
        return sum(x.nbytes for x in self.pieces)

    def __getitem__(self, rows: slice) -> Tensor:
        """Neighbouring rows, which must lie in one piece, as a view."""
        at, stop, _ = rows.indices(self._bounds[-1][1])
        piece, low = next((x, low) for x, (low, high) in zip(self.pieces, self._bounds, strict=True) if at < high)
        return piece[at - low : stop - low]

    def index_select(self, axis: int, rows: Tensor) -> Tensor:
        """(N,) int64 -> (N, *shape), by torch; ``axis`` is 0."""
        assert axis == 0
        numbers = rows.numpy()
        k = self._only(numbers)
        if k is None:
            return self.take(numbers)
        low = self._bounds[k][0]
        return self.pieces[k].index_select(0, rows - low if low else rows)

    def take(self, rows: Ints, pin: bool = False) -> Tensor:
        """The same by NumPy, as `gather.take`."""
        k = self._only(rows)
        if k is not None:
            return take(self.pieces[k], rows - self._bounds[k][0], pin)
        out = empty(len(rows), self.pieces[0], pin)
        target = raw(out)
        for piece, (low, high) in zip(self.pieces, self._bounds, strict=True):
            mine = (rows >= low) & (rows < high)
            target[mine] = raw(piece)[rows[mine] - low]
        return out

    def whole(self) -> Tensor:
        """All rows in a memory of their own."""
        return torch.cat(self.pieces)

    def _only(self, rows: Ints) -> int | None:
        """The number of the piece in which all of these rows lie; None where they lie in several."""
        low, high = (int(rows.min()), int(rows.max())) if len(rows) else (0, 0)
        return next((k for k, (a, b) in enumerate(self._bounds) if a <= low and high < b), None)
