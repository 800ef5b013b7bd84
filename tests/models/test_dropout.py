"""Dropout by random bytes: the same law as torch's."""

from __future__ import annotations

import pytest
import torch

from trainwright.models.dropout import Dropout


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.9])
def test_the_share_is_silenced_and_the_mean_kept(share: float) -> None:
    n = 400_000
    x = torch.ones(n // 5, 5)
    said = Dropout(share).train()(x)
    silent = float((said == 0).double().mean())
    deviation = (share * (1 - share) / n) ** 0.5
    assert abs(silent - share) < 6 * deviation
    assert said.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)], rel=1e-3)


def test_units_are_silenced_independently() -> None:
    silent = (Dropout(0.5)(torch.ones(20_000, 16)) == 0).double()
    together = torch.corrcoef(silent.T) - torch.eye(16)
    assert together.abs().max() < 6 / 20_000**0.5


def test_nothing_is_silenced_in_evaluation() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(Dropout(0.5).eval()(x), x)


def test_it_follows_torchs_generator() -> None:
    x, module = torch.ones(7, 3), Dropout(0.5)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = module(x), module(x)
    torch.set_rng_state(state)
    assert torch.equal(module(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_gradient_is_the_mask(dtype: torch.dtype) -> None:
    x = torch.ones(50, 3, dtype=dtype, requires_grad=True)
    said = Dropout(0.25)(x)
    said.sum().backward()
    assert said.dtype == dtype
    assert torch.equal(x.grad, said.detach())
