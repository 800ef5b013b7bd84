"""The norm of a gradient that lies in many tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

LARGE = 2**18  # numbers of a gradient, from which on it has left the cache before a backward pass ends
_FEW, _TENSORS = 2**12, 5  # numbers of a tensor, up to which it is copied to others of its kind; so many, at least
_MANY = 2**24  # numbers whose squares are summed at once
_LEAST = 1e-24  # of a sum of squares, below which single squares may have vanished


class Warm:
    """While a backward pass goes on in the block, sums the squares of large gradients as soon as each is there.

    Just written, they are read in half the time that it takes to fetch them again from memory. ``found`` has for the id
    of a gradient itself, its version then, and the sum: who changes it later, changes the version.

    Args:
        weights: whose gradients are summed, of 32 or 64 bits on the CPU; those that somebody else listens to are not.
    """

    __slots__ = ("_handles", "_weights", "found")

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self._weights, self._handles = weights, list[Any]()
        self.found: dict[int, tuple[Tensor, int, float]] = {}

    def __enter__(self) -> Warm:
        for weight in self._weights:
            if weight.requires_grad and not weight._post_accumulate_grad_hooks:
                self._handles.append(weight.register_post_accumulate_grad_hook(self._note))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, weight: Tensor) -> None:
        gradient = weight.grad
        if gradient is None or gradient.layout != torch.strided or (row := _row(gradient)) is None:
            return
        squares = sum(torch.dot(part, part).item() for part in row.split(_MANY))
        self.found[id(gradient)] = gradient, gradient._version, squares


_NOTHING: Mapping[int, tuple[Tensor, int, float]] = {}


def norm_at_hand(gradients: list[Tensor], known: Mapping[int, tuple[Tensor, int, float]] = _NOTHING) -> float:
    """The norm of all of them together, as a number; it may differ in its last bits from that of `get_total_norm`.

    Sums of products instead of norms: they take three quarters of the time with one thread and half of it with two,
    which share them, and after a step every operation of torch is cold, and a norm looks through ten times as much
    code. Where there are many small gradients they are put in one row first.

    Args:
        gradients: on the CPU, all float32 or all float64.
        known: what `Warm` found of some of them.
    """
    rows: list[Tensor] = []
    few: list[Tensor] = []
    squares = 0.0
    for gradient in gradients:
        numbers = gradient.numel()
        if known and (kept := known.get(id(gradient))) and kept[0] is gradient and kept[1] == gradient._version:
            squares += kept[2]
        elif (row := _row(gradient)) is None:
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
