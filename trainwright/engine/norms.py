"""The norm of a gradient that lies in many tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FEW = 2**12  # numbers of a tensor, up to which it is copied to others of its kind: 16 kB
_MANY = 2**17  # numbers, from which on threads share a sum
_LEAST = 1e-24  # of a sum of squares, below which single squares may have vanished


def norm_at_hand(gradients: list[Tensor]) -> float:
    """The norm of all of them together, as a number; it may differ in its last bits from that of `get_total_norm`.

    Sums of products instead of norms: after a step every operation of torch is cold, and a norm looks through ten times
    as much code. Small gradients are put in one row first.

    Args:
        gradients: on the CPU, all float32 or all float64.
    """
    few: list[Tensor] = []
    squares = 0.0
    for gradient in gradients:
        numbers = gradient.numel()
        if not gradient.is_contiguous() or numbers > _MANY:
            squares += torch.linalg.vector_norm(gradient).item() ** 2
        elif numbers > _FEW:
            row = gradient.view(-1)
            squares += torch.dot(row, row).item()
        else:
            few.append(gradient)
    if few:
        row = torch._C._nn.flatten_dense_tensors(few)
        squares += torch.dot(row, row).item()
    if _LEAST < squares < math.inf:
        return math.sqrt(squares)
    return total_norm(gradients).item() if gradients else 0.0  # a square may overflow where the norm does not


def total_norm(gradients: list[Tensor]) -> Tensor:
    """0-d: the very number of `get_total_norm` where they are of one type in one place, without its 20 µs to see that.

    Args:
        gradients: one at least.
    """
    with torch.no_grad():
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        return norm
