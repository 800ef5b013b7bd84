"""Activations by name: each is torch's, and the weights before it keep the signal's size."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.schema import check
from trainwright.models.activations import ACTIVATIONS, SATURATING, Activation, activation_of, begin, dense, fit

THEIRS = {
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": lambda z: z * torch.special.ndtr(z),
    "silu": lambda z: z * torch.sigmoid(z),
    "elu": lambda z: torch.where(z > 0, z, torch.expm1(z)),
    "selu": torch.selu,
    "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),
    "mish": lambda z: z * torch.tanh(torch.log1p(torch.exp(z))),
}


def test_the_table_and_the_type_know_the_same_names() -> None:
    assert sorted(get_args(Activation)) == sorted(ACTIVATIONS) == sorted(THEIRS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_is_the_function_of_its_name(name: Activation) -> None:
    z = torch.linspace(-8, 8, 1001, dtype=torch.float64)
    torch.testing.assert_close(activation_of(name)(z), THEIRS[name](z), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in SATURATING])
def test_gains_keep_the_mean_square(name: Activation) -> None:
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    square = torch.trapezoid(THEIRS[name](z).square() * density, z)
    assert ACTIVATIONS[name].gain == pytest.approx(float(square) ** -0.5, abs=1e-6)


@pytest.mark.parametrize(("name", "param"), [("relu", None), ("leaky_relu", 0.01), ("tanh", None), ("sigmoid", None)])
def test_gains_are_torchs_where_torch_has_them(name: Activation, param: float | None) -> None:
    assert ACTIVATIONS[name].gain == pytest.approx(nn.init.calculate_gain(name, param))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_weights_have_the_spread_of_their_gain(name: Activation) -> None:
    torch.manual_seed(0)
    layer = dense(300, 400, name)
    fan = (300 + 400) / 2 if name in SATURATING else 300
    assert float(layer.weight.detach().std()) == pytest.approx(ACTIVATIONS[name].gain / math.sqrt(fan), rel=0.02)
    assert not bool(layer.bias.detach().any())


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in SATURATING])
def test_signals_keep_their_mean_square_through_three_layers(name: Activation) -> None:
    torch.manual_seed(0)
    signal = torch.randn(256, 512)
    for _ in range(3):
        layer = nn.Linear(512, 512)
        fit(layer, name)
        signal = layer(activation_of(name)(signal)).detach()
    assert 0.75 < float(signal.square().mean()) < 1.33


def test_layers_without_a_bias_can_be_begun() -> None:
    layer = nn.Conv2d(16, 64, 3, bias=False)
    fit(layer, "relu")
    assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(2 / 144), rel=0.05)
    begin(layer, 1.0)
    assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(1 / 144), rel=0.05)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_name_is_accepted_by_the_mlp_and_the_cnn(name: Activation) -> None:
    table = {"inputs": 4, "outputs": 2, "width": 8, "activation": name}
    assert models["mlp"](**check(models["mlp"], table, "model"))(torch.randn(3, 4)).shape == (3, 2)
    picture = {"channels": 1, "size": [8, 8], "outputs": 2, "filters": [2], "activation": name}
    net = models["cnn"](**check(models["cnn"], picture, "model"))
    assert isinstance(net.features[1], ACTIVATIONS[name].module)
    assert net(torch.randn(3, 1, 8, 8)).shape == (3, 2)


def test_a_name_that_is_none_is_told_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"model\.activation: 'swish' is not valid; write .*'silu'"):
        check(models["mlp"], {"inputs": 4, "outputs": 2, "activation": "swish"}, "model")
