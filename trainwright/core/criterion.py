"""A loss as the engine needs it: one number per sample, and how much each sample counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

_one_by_one = ContextVar("one_by_one", default=False)


@contextmanager
def sample_by_sample() -> Iterator[None]:
    """Losses meanwhile tell each sample's share, also in a pass with gradients."""
    token = _one_by_one.set(True)
    try:
        yield
    finally:
        _one_by_one.reset(token)


def samples(target: Tensor) -> Tensor:
    """Every sample counts 1: the number of samples, 0-d."""
    return counted(float(target.shape[0]), target.device)


def counted(n: float, device: torch.device) -> Tensor:
    """0-d float32: the same tensor for the same number, as most batches weigh the same; nobody may write into it.

    To make one between two steps, when all that it needs is cold, takes up to 50 µs.
    """
    kept = _kept(n, device)
    if kept._version:  # somebody has
        _kept.cache_clear()
        kept = _kept(n, device)
    return kept


@lru_cache(64)
def _kept(n: float, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.scalar_tensor(n, dtype=torch.float32, device=device)


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
    total: Callable[[Tensor, Tensor], Tensor] | None = None  # (output, target) -> 0-d, the sum of ``each`` at once

    def summed(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """0-d the sum, and (N,) detached each sample's share of it.

        The shares are left out of a pass with gradients where the sum can be had at once: nobody reads them there, and
        of a small step they are a twelfth. `sample_by_sample` has them told.
        """
        if self.total is not None and torch.is_grad_enabled() and not _one_by_one.get():
            return self.total(output, target), None
        each = self.each(output, target)
        return each.sum(), each.detach()

    def weights(self, target: Tensor) -> Callable[[], Tensor] | None:
        """Gives (N,) how much each sample counts; None where each counts 1."""
        if self.weight is samples:
            return None
        return lambda: torch.stack([self.weight(one) for one in target.split(1)])


def mean_of_members(criterion: Criterion, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
    """As `Criterion.summed`, of the mean of the members' own losses: each member learns as if alone.

    Args:
        criterion: of one member.
        outputs: (N, M, C).
        target: (N,).
    """
    n, members = outputs.shape[:2]
    if members == 1:
        return criterion.summed(outputs.flatten(0, 1), target)
    total, each = criterion.summed(outputs.flatten(0, 1), target.repeat_interleave(members, 0))
    return total / members, None if each is None else each.view(n, members).mean(1)
