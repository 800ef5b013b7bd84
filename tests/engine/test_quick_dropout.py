"""Dropout of a person's own module that draws its masks as our models do: as random, and put back afterwards."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from trainwright.engine.quick_dropout import has_dropout, quick_dropout

WIDE = torch.ones(64, 128)


class Mine(nn.Dropout):
    """A dropout of one's own."""


def network(p: float = 0.25) -> nn.Sequential:
    return nn.Sequential(nn.Linear(128, 128), nn.Sequential(nn.ReLU(), nn.Dropout(p)))


def drop(p: float) -> nn.Dropout:
    layer = nn.Dropout(p)
    quick_dropout(layer)
    return layer


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.99])
def test_the_share_is_right_and_the_mean_is_kept(p: float) -> None:
    torch.manual_seed(0)
    layer, n = drop(p), 100
    seen = torch.stack([layer(WIDE) for _ in range(n)])
    dropped = (seen == 0).double().mean().item()
    share = round(p * 65536) / 65536
    error = math.sqrt(p * (1 - p) / seen.numel())
    assert abs(dropped - share) < 4.5 * error
    assert seen.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)])


def test_neighbours_and_draws_are_independent() -> None:
    torch.manual_seed(0)
    layer = drop(0.5)
    a, b = (layer(torch.ones(512, 512)) > 0).double(), (layer(torch.ones(512, 512)) > 0).double()
    for x, y in ((a[:, :-1], a[:, 1:]), (a[:-1], a[1:]), (a, b)):
        together = torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1].item()
        assert abs(together) < 4.5 / math.sqrt(x.numel())


def test_the_same_generator_gives_the_same_mask_and_the_gradient_its_places() -> None:
    layer, x = drop(0.3), torch.randn(64, 128, requires_grad=True)
    torch.manual_seed(5)
    out = layer(x)
    torch.manual_seed(5)
    assert torch.equal(out, layer(x))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient == 0, out == 0)
    assert torch.allclose(gradient * x, out)


def test_it_lies_as_its_input_does_and_has_its_type() -> None:
    layer = drop(0.5)
    x = torch.randn(8, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    assert layer(x).stride() == x.stride()
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert layer(x[:, :, ::2]).shape == (8, 16, 4, 8)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Dropout(0.5), torch.ones(8, 8)),  # few numbers
        (nn.Dropout(0.001), WIDE),  # a share too fine
        (nn.Dropout(1.0), WIDE),
        (nn.Dropout(0.0), WIDE),
        (nn.Dropout(0.5).eval(), WIDE),
    ],
)
def test_elsewhere_it_is_torchs_own_bit_for_bit(layer: nn.Dropout, x: torch.Tensor) -> None:
    torch.manual_seed(1)
    usual = layer(x)
    quick_dropout(layer)
    torch.manual_seed(1)
    assert torch.equal(layer(x), usual)


def test_in_place_stays_in_place() -> None:
    layer, x = nn.Dropout(0.5, inplace=True), torch.ones(64, 128)
    quick_dropout(layer)
    assert layer(x).data_ptr() == x.data_ptr()


def test_all_is_put_back_and_looks_the_same_meanwhile() -> None:
    model = network()
    before = repr(model), list(model.state_dict())
    torch.manual_seed(3)
    usual = model(WIDE)
    back = quick_dropout(model)
    assert (repr(model), list(model.state_dict())) == before
    assert isinstance(model[1][1], nn.Dropout)
    torch.manual_seed(3)
    assert not torch.equal(model(WIDE), usual)
    twin = copy.deepcopy(model)
    back()
    assert type(model[1][1]) is nn.Dropout
    torch.manual_seed(3)
    assert torch.equal(model(WIDE), usual)
    assert repr(twin) == before[0]


def test_only_what_would_draw_so_is_a_reason_to_try() -> None:
    assert has_dropout(network())
    assert not has_dropout(network(0.001))
    assert not has_dropout(nn.Sequential(nn.Dropout(0.5, inplace=True)))
    mine = nn.Sequential(Mine(0.5))
    assert not has_dropout(mine)
    quick_dropout(mine)
    assert type(mine[0]) is Mine


def test_a_copy_and_what_is_stored_meanwhile_are_torchs_own() -> None:
    model = network()
    back = quick_dropout(model)
    twin = copy.deepcopy(model)
    assert type(twin[1][1]) is nn.Dropout
    assert vars(twin[1][1]) == vars(model[1][1])
    assert (
        model[1][1].__reduce_ex__(2)[0] is nn.Dropout
    )  # as torch.save writes it, to be read where there is no Trainwright
    back()
