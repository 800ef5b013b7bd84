"""The norm of a gradient is that of all its numbers, however they lie."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from trainwright.engine import norms
from trainwright.engine.norms import Warm, norm_at_hand, total_norm


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


def weight() -> nn.Parameter:
    return nn.Parameter(torch.randn(40, 30, generator=torch.Generator().manual_seed(1)))


def test_squares_are_summed_as_the_gradient_comes() -> None:
    w = weight()
    with Warm([w]) as warm:
        (w * w).sum().backward()
    assert w.grad is not None
    gradient, version, squares = warm.found[id(w.grad)]
    assert gradient is w.grad
    assert version == w.grad._version
    assert squares == pytest.approx(float(w.grad.double().square().sum()), rel=1e-6)
    assert norm_at_hand([w.grad], warm.found) == pytest.approx(exact([w.grad]), rel=1e-6)
    assert norm_at_hand([w.grad], {id(w.grad): (w.grad, version, 9.0)}) == 3.0  # it is what is used


def test_a_gradient_that_was_changed_since_is_summed_anew() -> None:
    w = weight()
    with Warm([w]) as warm:
        (w * w).sum().backward()
    assert w.grad is not None
    w.grad.mul_(3.0)
    assert norm_at_hand([w.grad], warm.found) == pytest.approx(exact([w.grad]), rel=1e-6)
    w.grad = w.grad * 2.0  # another one
    assert norm_at_hand([w.grad], warm.found) == pytest.approx(exact([w.grad]), rel=1e-6)


def test_of_two_backward_passes_the_sum_counts() -> None:
    w = weight()
    with Warm([w]) as warm:
        (w * w).sum().backward()
        w.sum().backward()
    assert w.grad is not None
    assert warm.found[id(w.grad)][1] == w.grad._version
    assert norm_at_hand([w.grad], warm.found) == pytest.approx(exact([w.grad]), rel=1e-6)


def test_a_weight_that_somebody_listens_to_or_that_rests_is_left_alone() -> None:
    heard, rests = weight(), weight().requires_grad_(False)
    seen: list[Tensor] = []
    heard.register_post_accumulate_grad_hook(seen.append)
    with Warm([heard, rests]) as warm:  # type: ignore[list-item]
        (heard * rests).sum().backward()
    assert len(seen) == 1
    assert warm.found == {}


def test_nobody_listens_behind_the_block() -> None:
    w = weight()
    with pytest.raises(ValueError, match="within"), Warm([w]) as warm:
        raise ValueError("within")
    w.sum().backward()
    assert warm.found == {}


def test_a_lost_number_is_seen_as_it_comes() -> None:
    w = weight()
    with Warm([w]) as warm:
        (w * torch.full_like(w, math.nan)).sum().backward()
    assert w.grad is not None
    assert math.isnan(norm_at_hand([w.grad], warm.found))
