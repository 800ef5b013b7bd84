"""The loss over a large vocabulary in pieces is that of all logits at once, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainwright.models import piecewise
from trainwright.models.piecewise import summed_nats

NOTHING = -1


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows at a time, of which the last piece is short."""
    monkeypatch.setattr(piecewise, "_PIECE", 5 * 31)
    monkeypatch.setattr(piecewise, "_ROWS", 1)


def made(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    dice = torch.Generator().manual_seed(0)
    x = torch.randn(17, 8, generator=dice, dtype=dtype)
    weight = torch.randn(31, 8, generator=dice, dtype=dtype)
    truth = torch.randint(0, 31, (17,), generator=dice)
    truth[3] = truth[16] = NOTHING
    return x.requires_grad_(), weight.requires_grad_(), truth


def at_once(x: Tensor, weight: Tensor, truth: Tensor) -> Tensor:
    logits = x @ weight.T
    return cross_entropy(logits.float() if logits.dtype == torch.bfloat16 else logits, truth, reduction="none",
                         ignore_index=NOTHING)  # fmt: skip


@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_value_and_gradient_are_those_of_all_at_once(dtype: torch.dtype, off: float) -> None:
    x, weight, truth = made(dtype)
    whole = at_once(x, weight, truth)
    wanted = torch.autograd.grad(whole.sum() * 0.3, (x, weight))
    total, each = summed_nats(x, weight, truth, NOTHING)
    found = torch.autograd.grad(total * 0.3, (x, weight))
    torch.testing.assert_close(each, whole.detach(), rtol=off, atol=off)
    torch.testing.assert_close(total, whole.sum(), rtol=off, atol=off)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=off, atol=off)
    assert each[3] == 0
    assert not each.requires_grad


def test_half_precision_is_as_coarse_as_it_is_at_once() -> None:
    x, weight, truth = made(torch.float32)
    exact = torch.autograd.grad(at_once(x, weight, truth).sum(), (x, weight))
    with torch.autocast("cpu", torch.bfloat16):
        whole = at_once(x, weight, truth)
        total, _ = summed_nats(x, weight, truth, NOTHING)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, whole.sum(), rtol=1e-3, atol=1e-3)
    plain = torch.autograd.grad(whole.sum(), (x, weight))
    found = torch.autograd.grad(total, (x, weight))
    for one, other, true in zip(found, plain, exact, strict=True):
        assert one.dtype == torch.float32
        assert (one - true).norm() <= 1.2 * (other - true).norm()


def test_only_what_learns_is_differentiated() -> None:
    x, weight, truth = made(torch.float64)
    (by_weight,) = torch.autograd.grad(at_once(x, weight, truth).sum(), (weight,))
    total, _ = summed_nats(x.detach(), weight, truth, NOTHING)
    torch.testing.assert_close(torch.autograd.grad(total, (weight,))[0], by_weight)
    with torch.no_grad():
        total, each = summed_nats(x, weight, truth, NOTHING)
    assert not total.requires_grad
    torch.testing.assert_close(each, at_once(x, weight, truth).detach())


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    x, weight, truth = made(torch.float64)
    total, _ = summed_nats(x, weight, truth, NOTHING)
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad(total, (x,), create_graph=True)
