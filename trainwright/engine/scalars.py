"""Tensors of one number, made many at once: behind a step, when all that it needs is cold, one takes up to 50 µs."""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

_TOGETHER = 64


class Scalars:
    """Gives 0-d float64 tensors on the CPU, each only once."""

    def __init__(self) -> None:
        self._spare: list[tuple[array[float], int, Tensor]] = []

    def __call__(self, x: float) -> Tensor:
        """One that holds ``x``."""
        if not self._spare:
            memory = array("d", bytes(8 * _TOGETHER))
            each = torch.frombuffer(memory, dtype=torch.float64).unbind()
            self._spare = [(memory, i, tensor) for i, tensor in enumerate(each)]
        memory, i, tensor = self._spare.pop()
        memory[i] = x
        return tensor

    def __reduce__(self) -> tuple[type[Scalars], tuple[()]]:
        """A copy has tensors of its own: those of this one, copied, would lie elsewhere than their memory."""
        return Scalars, ()
