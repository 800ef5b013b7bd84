"""The norm of a gradient is that of all its numbers, however they lie."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainwright.engine import norms
from trainwright.engine.norms import norm_at_hand, total_norm


def exact(gradients: list[Tensor]) -> float:
    return float(torch.cat([g.double().flatten() for g in gradients]).norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_norm_of_all_numbers(dtype: torch.dtype) -> None:
    dice = torch.Generator().manual_seed(0)
    shapes = [(3,), (), (0,), (70, 70), (2, 8, 24, 24), (400, 400), (17, 5)]
    gradients = [torch.randn(shape, generator=dice, dtype=dtype) for shape in shapes]
    gradients[4] = gradients[4].to(memory_format=torch.channels_last)
    gradients += [torch.randn(90, 50, generator=dice, dtype=dtype).t(), *[gradients[0] + i for i in range(4)]]
    assert norm_at_hand(gradients) == pytest.approx(exact(gradients), rel=1e-6)
    assert float(total_norm(gradients)) == pytest.approx(exact(gradients), rel=1e-6)
    assert norm_at_hand([]) == 0.0


def test_more_numbers_than_are_summed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "_MANY", 1000)
    monkeypatch.setattr(norms, "_FEW", 10)
    gradients = [torch.randn(2500, generator=torch.Generator().manual_seed(0)), torch.ones(7)]
    assert norm_at_hand(gradients) == pytest.approx(exact(gradients), rel=1e-6)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("size", [5, 5000, 200_000])
def test_one_number_that_is_not_finite_is_seen(wrong: float, size: int) -> None:
    gradients = [torch.ones(3), torch.ones(size)]
    gradients[1][size // 2] = wrong
    assert not math.isfinite(norm_at_hand(gradients))


@pytest.mark.parametrize("size", [1e-18, 1e-21, 1.5e19])
def test_numbers_whose_squares_leave_their_range_are_those_of_torch(size: float) -> None:
    gradients = [torch.full((3,), size), torch.full((3,), size)]
    assert norm_at_hand(gradients) == float(torch.nn.utils.get_total_norm(gradients))
