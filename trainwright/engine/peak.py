"""What a device reaches at its best: products of large matrices, which everything else is held against."""

from __future__ import annotations

from collections.abc import Callable

import torch

_SIDE, _SIDE_ELSEWHERE = 1024, 8192  # of the matrices, on a CPU and on an accelerator
_REPEATS, _AT_ONCE = 5, 2


def matrix_peak(device: torch.device, dtype: torch.dtype, clock: Callable[[], float], side: int | None = None) -> float:
    """FLOP a second of the best of five measurements of matrix products.

    A data sheet says more, for nothing reaches it; a utilization by this is one that could be had.

    Args:
        device: where they are computed, with all its threads.
        dtype: of the matrices.
        clock: seconds, read when the device has done what it was asked.
        side: rows and columns of the square matrices; as large as is usual for the device unless given.
    """
    n = side or (_SIDE if device.type == "cpu" else _SIDE_ELSEWHERE)
    dice = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n, n, generator=dice).to(device, dtype) for _ in range(2))
    made = torch.empty_like(left)
    torch.matmul(left, right, out=made)  # warm
    best = float("inf")
    for _ in range(_REPEATS):
        began = clock()
        for _ in range(_AT_ONCE):
            torch.matmul(left, right, out=made)
        best = min(best, clock() - began)
    return 2.0 * n**3 * _AT_ONCE / best if best > 0 else 0.0
