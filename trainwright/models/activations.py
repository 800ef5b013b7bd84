"""Activations by name, and dense and convolutional layers whose initial weights fit the activation behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from torch import nn

Activation: TypeAlias = Literal[
    "relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "elu", "selu", "softplus", "mish"
]


class Entry(NamedTuple):
    """A module, the gain of the weights before it, and what it computes of each number z."""

    module: type[nn.Module]
    gain: float
    words: str
    source: str


# A layer of weights with mean 0 and variance gain² / inputs keeps the signal's mean square where gain = 1/√E[f(z)²],
# z standard normal: √2 for ReLU (He et al. 2015), 1 for SELU by its making (Klambauer et al. 2017). The others are that
# integral; in GELU, SiLU and Mish it holds for signals near 1 and drifts slowly from there, whatever the gain. Tanh and
# sigmoid have torch's own gains, for Xavier's uniform weights, as they saturate.
ACTIVATIONS: Mapping[str, Entry] = {
    "relu": Entry(
        nn.ReLU,
        math.sqrt(2),
        "z where it is positive, else 0.",
        'Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines"',
    ),
    "leaky_relu": Entry(
        nn.LeakyReLU,
        math.sqrt(2 / (1 + 0.01**2)),
        "z where it is positive, else 0.01 z.",
        'Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models"',
    ),
    "sigmoid": Entry(
        nn.Sigmoid,
        1.0,
        "1 / (1 + exp(-z)), between 0 and 1.",
        "Rumelhart, Hinton & Williams 1986",
    ),
    "tanh": Entry(
        nn.Tanh,
        5 / 3,
        "The hyperbolic tangent of z, between -1 and 1.",
        'LeCun et al. 1998, "Efficient backprop"',
    ),
    "gelu": Entry(
        nn.GELU,
        1.533530,
        "z times the share of a standard normal below z.",
        'Hendrycks & Gimpel 2016, "Gaussian error linear units"',
    ),
    "silu": Entry(
        nn.SiLU,
        1.676532,
        "z times its sigmoid; also called swish.",
        'Elfwing, Uchibe & Doya 2018, "Sigmoid-weighted linear units for neural network function approximation"',
    ),
    "elu": Entry(
        nn.ELU,
        1.245198,
        "z where it is positive, else exp(z) - 1.",
        'Clevert, Unterthiner & Hochreiter 2016, "Fast and accurate deep network learning by exponential linear units"',
    ),
    "selu": Entry(
        nn.SELU,
        1.0,
        "ELU scaled so that signals keep mean 0 and deviation 1.",
        'Klambauer et al. 2017, "Self-normalizing neural networks"',
    ),
    "softplus": Entry(
        nn.Softplus,
        1.041867,
        "log(1 + exp(z)), a smooth ReLU.",
        'Dugas et al. 2001, "Incorporating second-order functional knowledge for better option pricing"',
    ),
    "mish": Entry(
        nn.Mish,
        1.486848,
        "z times the tanh of its softplus.",
        'Misra 2019, "Mish: a self regularized non-monotonic activation function"',
    ),
}
SATURATING = ("sigmoid", "tanh")


def activation_of(name: Activation) -> nn.Module:
    """A fresh module."""
    return ACTIVATIONS[name].module()


def dense(inputs: int, outputs: int, activation: Activation | None) -> nn.Linear:
    """A dense layer for the activation behind it; None is the last layer, whose outputs begin near 0."""
    layer = nn.Linear(inputs, outputs)
    if activation is None:
        begin(layer, 0.1)  # the first loss is close to that of a constant prediction
    else:
        fit(layer, activation)
    return layer


def conv(inputs: int, outputs: int, kernel: int | tuple[int, int], *, same: bool, activation: Activation) -> nn.Conv2d:
    """A convolution with stride 1 for the activation behind it; ``same`` keeps height and width."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding="same" if same else "valid")
    fit(layer, activation)
    return layer


def fit(layer: nn.Linear | nn.Conv2d, activation: Activation) -> None:
    """Initial weights for the activation behind: Xavier's uniform for those that saturate, else Kaiming's normal.

    Source: He et al. 2015, "Delving deep into rectifiers"; Glorot & Bengio 2010.
    """
    gain = ACTIVATIONS[activation].gain
    if activation in SATURATING:
        nn.init.xavier_uniform_(layer.weight, gain=gain)
        _no_bias(layer)
    else:
        begin(layer, gain)


def begin(layer: nn.Linear | nn.Conv2d, gain: float) -> None:
    """Normal weights with standard deviation gain / √inputs, and no bias: LeCun's where the gain is 1."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    _no_bias(layer)


def _no_bias(layer: nn.Linear | nn.Conv2d) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
