"""A loss as the engine needs it: one number per sample, and how much each sample counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


def samples(target: Tensor) -> Tensor:
    """Every sample counts 1: the number of samples, 0-d."""
    return torch.tensor(float(target.shape[0]), device=target.device)


def forget(counts: Sequence[float]) -> None:
    """For a loss to which it does not matter how often a class occurs."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """``each(output, target)`` is (N,), not averaged; their sum divided by the total of ``weight(target)`` is the loss.

    ``expects`` says what the target is: ``classes`` (N,) int64 against (N, C) logits; ``binary`` 0/1 numbers of the
    output's shape against logits; ``numbers`` of the output's shape. ``learn`` is told how often the training part has
    each class, before the first batch: by the processor, once it is fitted or its state is loaded.
    """

    each: Callable[[Tensor, Tensor], Tensor]  # (output, target) -> (N,)
    expects: Literal["classes", "binary", "numbers"]  # of the target
    weight: Callable[[Tensor], Tensor] = samples  # 0-d, on the target's device
    learn: Callable[[Sequence[float]], None] = forget  # is told how often training has each class

    def weights(self, target: Tensor) -> Callable[[], Tensor] | None:
        """Gives (N,) how much each sample counts; None where each counts 1."""
        if self.weight is samples:
            return None
        return lambda: torch.stack([self.weight(one) for one in target.split(1)])


def mean_of_members(criterion: Criterion, outputs: Tensor, target: Tensor) -> Tensor:
    """(N,) the mean of the members' own losses; outputs (N, M, C), targets (N,). Each member learns as if alone."""
    n, members = outputs.shape[:2]
    each = criterion.each(outputs.flatten(0, 1), target.repeat_interleave(members, 0))
    return each.view(n, members).mean(1)
