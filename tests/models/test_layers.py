"""Layers of a declared list: each against torch or its formula, shapes inferred, mistakes told."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.core.errors import UserError
from trainwright.core.kinds import Place, layers
from trainwright.core.schema import check

IMAGE, SEQUENCE, ROW = (3, 9, 7), (5, 4), (6,)


def made(name: str, shape: tuple[int, ...], activation: str | None = None, /, **options: Any) -> nn.Module:
    return layers[name](**check(layers[name], options, name))(Place(shape, activation))


def given(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "options", "shape", "out"),
    [
        ("dense", {"units": 8}, ROW, (8,)),
        ("dense", {"units": 8}, SEQUENCE, (5, 8)),
        ("conv", {"filters": 4}, IMAGE, (4, 9, 7)),
        ("conv", {"filters": 4, "stride": 2}, IMAGE, (4, 5, 4)),
        ("conv", {"filters": 4, "kernel": 2, "padding": "none"}, IMAGE, (4, 8, 6)),
        ("max_pool", {}, IMAGE, (3, 4, 3)),
        ("max_pool", {"size": 3, "stride": 1}, IMAGE, (3, 7, 5)),
        ("avg_pool", {"size": 3}, IMAGE, (3, 3, 2)),
        ("global_pool", {}, IMAGE, (3,)),
        ("global_pool", {"take": "max"}, SEQUENCE, (4,)),
        ("flatten", {}, IMAGE, (189,)),
        ("dropout", {"rate": 0.1}, IMAGE, IMAGE),
        ("batch_norm", {}, IMAGE, IMAGE),
        ("batch_norm", {}, ROW, ROW),
        ("layer_norm", {}, IMAGE, IMAGE),
        ("layer_norm", {}, SEQUENCE, SEQUENCE),
        ("simple_rnn", {"units": 8}, SEQUENCE, (8,)),
        ("lstm", {"units": 8, "give": "all"}, SEQUENCE, (5, 8)),
        ("gru", {"units": 8}, IMAGE, (8,)),
        ("residual", {"layers": ["relu", {"name": "dense", "units": 6}]}, ROW, ROW),
    ],
)
def test_shapes_come_out_as_they_should(
    name: str, options: dict[str, Any], shape: tuple[int, ...], out: tuple[int, ...]
) -> None:
    assert made(name, shape, **options)(given(shape)).shape == (2, *out)


def test_pools_and_norms_are_torchs() -> None:
    x, s = given(IMAGE), given(SEQUENCE)
    assert torch.equal(made("max_pool", IMAGE)(x), functional.max_pool2d(x, 2))
    assert torch.equal(made("avg_pool", IMAGE)(x), functional.avg_pool2d(x, 2))
    assert torch.equal(made("global_pool", IMAGE)(x), x.mean((2, 3)))
    assert torch.equal(made("global_pool", IMAGE, take="max")(x), x.amax((2, 3)))
    assert torch.equal(made("global_pool", SEQUENCE)(s), s.mean(1))
    assert torch.equal(made("flatten", IMAGE)(x), x.reshape(2, -1))
    assert torch.equal(made("layer_norm", SEQUENCE)(s), functional.layer_norm(s, (4,)))
    assert torch.equal(made("batch_norm", IMAGE)(x), nn.BatchNorm2d(3)(x))


def test_dropout_keeps_the_mean_and_is_still_in_evaluation() -> None:
    layer, x = made("dropout", (10_000,), rate=0.25), torch.ones(2, 10_000)
    assert layer(x).unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(layer(x).mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("shape", [SEQUENCE, IMAGE])
def test_a_simple_rnn_is_its_recurrence_over_steps_or_rows(shape: tuple[int, ...]) -> None:
    layer, x = made("simple_rnn", shape, units=6), given(shape)
    weights = dict(layer.named_parameters(prefix="w"))
    steps = x if x.ndim == 3 else torch.stack([x[:, :, row].flatten(1) for row in range(x.shape[2])], 1)
    state = torch.zeros(2, 6)
    for t in range(steps.shape[1]):
        inner = steps[:, t] @ weights["w.cell.weight_ih_l0"].T + state @ weights["w.cell.weight_hh_l0"].T
        state = torch.tanh(inner + weights["w.cell.bias_ih_l0"] + weights["w.cell.bias_hh_l0"])
    torch.testing.assert_close(layer(x), state)


@pytest.mark.parametrize("name", ["simple_rnn", "lstm", "gru"])
def test_the_last_state_is_the_last_of_all_and_weights_of_the_state_are_orthogonal(name: str) -> None:
    last, every = made(name, SEQUENCE, units=6), made(name, SEQUENCE, units=6, give="all")
    every.load_state_dict(last.state_dict())
    assert torch.equal(last(given(SEQUENCE)), every(given(SEQUENCE))[:, -1])
    for gate in last.get_parameter("cell.weight_hh_l0").detach().split(6):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6))


def test_an_embedding_is_a_vector_for_each_id() -> None:
    layer, ids = made("embedding", (5,), ids=7, units=3), torch.randint(0, 7, (2, 5))
    vectors = layer.get_parameter("vectors.weight")
    for given_as in (ids, ids.float()):
        assert torch.equal(layer(given_as), vectors[ids])
    for wrong in (-1, 7):
        with pytest.raises(UserError, match=r"the ids reach from .* they must lie from 0 to 6"):
            layer(torch.full((1, 5), wrong))


def test_an_lstm_begins_by_keeping() -> None:
    layer = made("lstm", SEQUENCE, units=3)
    biases = layer.get_parameter("cell.bias_ih_l0") + layer.get_parameter("cell.bias_hh_l0")
    assert biases.tolist() == [0] * 3 + [1] * 3 + [0] * 6


@pytest.mark.parametrize(("activation", "gain"), [("relu", math.sqrt(2)), ("selu", 1.0), (None, 1.0)])
def test_weights_fit_the_activation_that_follows(activation: str | None, gain: float) -> None:
    torch.manual_seed(0)
    dense = made("dense", (400,), activation, units=400)
    conv = made("conv", (64, 8, 8), activation, filters=64)
    assert float(dense.get_parameter("weight").detach().std()) == pytest.approx(gain / 20, rel=0.02)
    assert float(conv.get_parameter("weight").detach().std()) == pytest.approx(gain / 24, rel=0.02)


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("dense", {"units": 8}, IMAGE, "takes features, not maps; write 'flatten' or 'global_pool' before it"),
        ("conv", {"filters": 4}, ROW, "takes images or maps"),
        ("conv", {"filters": 4, "kernel": 2}, IMAGE, "no border fits a kernel of 2"),
        ("conv", {"filters": 4, "kernel": 9, "padding": "none"}, IMAGE, "9x9 does not fit into 9x7 pixels"),
        ("max_pool", {"size": 8}, IMAGE, "8x8 does not fit into 9x7 pixels"),
        ("avg_pool", {}, SEQUENCE, "takes images or maps"),
        ("global_pool", {}, ROW, "takes maps or a sequence"),
        ("batch_norm", {}, SEQUENCE, "write 'layer_norm'"),
        ("gru", {"units": 8}, ROW, "takes a sequence"),
        ("residual", {"layers": [{"name": "dense", "units": 7}]}, ROW, r"give features \[7\], which cannot be added"),
        ("residual", {"layers": []}, ROW, "has no layers"),
        ("softmax", {}, ROW, "the loss applies it"),
        ("log_softmax", {}, ROW, "take cross_entropy"),
        ("embedding", {"ids": 3, "units": 2}, IMAGE, "takes a row of whole numbers"),
    ],
)
def test_a_layer_that_cannot_stand_there_says_what_to_write(
    name: str, options: dict[str, Any], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        made(name, shape, **options)
