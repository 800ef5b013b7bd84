"""A max-pool before its ReLU gives the same numbers, forward and backward, and is put back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainwright.engine.reorder import has_pool_last, pool_first


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1), nn.Flatten(), nn.Linear(128, 5),
    )  # fmt: skip


def numbers(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs and all gradients."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    out = model(x)
    out.square().sum().backward()
    return [out, x.grad, *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("ties", [False, True])
def test_not_a_bit_changes(ties: bool) -> None:
    model, x = net(), torch.randn(16, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    x = x.round() if ties else x  # many equal numbers, and zeros
    before, names, named = numbers(model, x), list(model.state_dict()), dict(model.named_modules())
    back = pool_first(model)
    assert [type(m) for m in model][1:6] == [nn.MaxPool2d, nn.ReLU, nn.Conv2d, nn.MaxPool2d, nn.ReLU]
    assert list(model.state_dict()) == names
    assert dict(model.named_modules()) == named
    assert not has_pool_last(model)
    assert all(torch.equal(a, b) for a, b in zip(before, numbers(model, x), strict=True))
    back()
    assert [type(m).__name__ for m in model] == [type(m).__name__ for m in net()]
    back()
    assert has_pool_last(model)


def test_a_number_that_is_none_is_not_hidden() -> None:
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    x = torch.full((1, 1, 2, 2), -1.0)
    x[0, 0, 1, 1] = torch.nan
    assert model(x).isnan().all()
    pool_first(model)
    assert model(x).isnan().all()


def test_what_is_unusual_or_watched_or_no_pair_stays() -> None:
    watched = net()
    watched[1].register_forward_hook(lambda *_: None)
    watched[5].register_forward_pre_hook(lambda *_: None)

    class Mine(nn.ReLU):
        pass

    for model in (
        watched,
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, return_indices=True)),
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
        nn.Sequential(nn.MaxPool2d(2), nn.ReLU()),
        nn.Sequential(nn.LeakyReLU(), nn.MaxPool2d(2)),
        nn.Sequential(Mine(), nn.MaxPool2d(2)),
        nn.Sequential(nn.ReLU(), nn.AvgPool2d(2)),
        nn.ModuleList([nn.ReLU(), nn.MaxPool2d(2)]),
    ):
        before = list(model.modules())
        pool_first(model)
        assert list(model.modules()) == before


def test_a_pool_between_two_goes_to_the_first() -> None:
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2))
    x = torch.randn(4, 2, 8, 8)
    before, kept = model(x), [type(m) for m in model]
    back = pool_first(model)
    assert torch.equal(model(x), before)
    back()
    assert [type(m) for m in model] == kept
