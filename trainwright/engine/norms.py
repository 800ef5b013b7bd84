"""The norm of a gradient that lies in many tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FEW, _TENSORS = 2**12, 5  # numbers of a tensor, up to which it is copied to others of its kind; so many, at least
_MANY = 2**24  # numbers whose squares are summed at once
_LEAST = 1e-24  # of a sum of squares, below which single squares may have vanished


def norm_at_hand(gradients: list[Tensor]) -> float:
    """The norm of all of them together, as a number; it may differ in its last bits from that of `get_total_norm`.

    Sums of products instead of norms: they take three quarters of the time with one thread and half of it with two,
    which share them, and after a step every operation of torch is cold, and a norm looks through ten times as much
    code. Where there are many small gradients they are put in one row first.

    Args:
        gradients: on the CPU, all float32 or all float64.
    """
    rows: list[Tensor] = []
    few: list[Tensor] = []
    squares = 0.0
    for gradient in gradients:
        numbers = gradient.numel()
        if (row := _row(gradient)) is None:
            squares += torch.linalg.vector_norm(gradient).item() ** 2
        elif numbers > _MANY:
            rows += row.split(_MANY)
        else:
            (rows if numbers > _FEW else few).append(row)
    if len(few) >= _TENSORS:
        few = [torch._C._nn.flatten_dense_tensors(few)]
    for row in (*rows, *few):
        squares += torch.dot(row, row).item()
    if _LEAST < squares < math.inf:
        return math.sqrt(squares)
    return total_norm(gradients).item() if gradients else 0.0  # a square may overflow where the norm does not


def _row(gradient: Tensor) -> Tensor | None:
    """All its numbers as they lie in memory; None where they do not lie in a row."""
    if gradient.is_contiguous():
        return gradient.view(-1)
    if gradient.ndim == 4 and gradient.is_contiguous(memory_format=torch.channels_last):
        return gradient.permute(0, 2, 3, 1).view(-1)
    return None


def total_norm(gradients: list[Tensor]) -> Tensor:
    """0-d: the very number of `get_total_norm` where they are of one type in one place, without its 20 µs to see that.

    Args:
        gradients: one at least.
    """
    with torch.no_grad():
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        return norm
