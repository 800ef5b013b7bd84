"""Activations by name, and dense and convolutional layers whose initial weights fit the activation behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

from torch import nn

Activation: TypeAlias = Literal["relu", "leaky_relu", "gelu", "silu", "elu", "tanh", "sigmoid"]

_MODULES: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation_of(name: Activation) -> nn.Module:
    """A fresh module."""
    return _MODULES[name]()


def dense(inputs: int, outputs: int, activation: Activation | None) -> nn.Linear:
    """A dense layer for the activation behind it; None is the last layer, whose outputs begin near 0."""
    layer = nn.Linear(inputs, outputs)
    _init(layer, activation)
    return layer


def conv(inputs: int, outputs: int, kernel: int, *, same: bool, activation: Activation) -> nn.Conv2d:
    """A convolution with stride 1 for the activation behind it; ``same`` keeps height and width."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding="same" if same else "valid")
    _init(layer, activation)
    return layer


def _init(layer: nn.Linear | nn.Conv2d, activation: Activation | None) -> None:
    """Kaiming's normal for activations that cut half away, Xavier's uniform for those that saturate.

    Source: He et al. 2015, "Delving deep into rectifiers"; Glorot & Bengio 2010.
    """
    if activation is None:
        # a tenth of the usual spread: the first loss is close to that of a constant prediction
        nn.init.normal_(layer.weight, std=0.1 / math.sqrt(layer.weight[0].numel()))
    elif activation in ("tanh", "sigmoid"):
        nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain(activation))
    else:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
