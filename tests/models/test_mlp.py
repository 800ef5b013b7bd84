"""The multi-layer perceptron: shapes, initial weights, categories."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.schema import check

mlp = models["mlp"]
ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "elu", "selu", "softplus", "mish")


@given(
    n=st.integers(1, 5),
    inputs=st.integers(0, 6),
    outputs=st.integers(1, 4),
    cardinalities=st.lists(st.integers(1, 40), max_size=3),
    depth=st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_numbers_and_categories_go_in_and_outputs_come_out(
    n: int, inputs: int, outputs: int, cardinalities: list[int], depth: int
) -> None:
    if not inputs and not cardinalities:
        return
    net = mlp(inputs=inputs, outputs=outputs, cardinalities=tuple(cardinalities), width=8, depth=depth)
    given_ = {}
    if inputs:
        given_["x"] = torch.randn(n, inputs)
    if cardinalities:
        given_["categorical"] = torch.stack([torch.randint(0, c, (n,)) for c in cardinalities], 1)
    assert net(**given_).shape == (n, outputs)
    assert sum(isinstance(m, nn.Linear) for m in net.modules()) == depth + 1


def test_images_are_flattened_and_single_numbers_taken_as_one_column() -> None:
    assert mlp(inputs=12, outputs=2)(torch.randn(3, 3, 2, 2)).shape == (3, 2)
    assert mlp(inputs=1, outputs=2)(torch.randn(3)).shape == (3, 2)


def test_whole_numbers_and_truth_values_count_as_numbers() -> None:
    net = mlp(inputs=3, outputs=1).double()
    x = torch.tensor([[1, 0, 1]])
    assert torch.equal(net(x), net(x.double()))
    assert torch.equal(net(x.bool()), net(x.double()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_signals_neither_die_nor_blow_up_in_depth(activation: str) -> None:
    torch.manual_seed(0)
    net = mlp(inputs=256, outputs=10, width=256, depth=6, activation=activation)
    x = torch.randn(512, 256)
    spread = float(net.hidden(x).detach().std())
    assert 0.02 < spread < 3, spread
    assert float(net(x).detach().std()) < 0.3  # the first loss is near that of a constant prediction


def test_kaimings_spread_for_relu() -> None:
    torch.manual_seed(0)
    net = mlp(inputs=300, outputs=10, width=400)
    assert float(net.hidden[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / 300), rel=0.02)
    assert not bool(net.hidden[0].bias.any())


def test_an_unknown_level_adds_nothing_at_first() -> None:
    net = mlp(inputs=0, outputs=2, cardinalities=(5,))
    assert not bool(net.embeddings[0](torch.tensor([0])).any())
    assert bool(net.embeddings[0](torch.tensor([1])).any())


def test_dropout_is_there_only_when_asked_for_and_only_in_training() -> None:
    x = torch.randn(4, 5)
    plain, dropped = mlp(inputs=5, outputs=2), mlp(inputs=5, outputs=2, dropout=0.5)
    assert not any(isinstance(m, nn.Dropout) for m in plain.modules())
    assert not torch.equal(dropped(x), dropped(x))
    dropped.eval()
    assert torch.equal(dropped(x), dropped(x))


def test_no_input_at_all_is_told() -> None:
    with pytest.raises(UserError, match="there are no inputs"):
        mlp(inputs=0, outputs=2)


def test_options_are_checked() -> None:
    given_ = {"inputs": 3, "outputs": 2}
    assert check(mlp, {**given_, "cardinalities": [3, 4]}, "model")["cardinalities"] == (3, 4)
    with pytest.raises(UserError, match=r"model\.activation"):
        check(mlp, {**given_, "activation": "softmax"}, "model")
    with pytest.raises(UserError, match=r"model\.dropout: 1\.0 is out of range"):
        check(mlp, {**given_, "dropout": 1.0}, "model")
