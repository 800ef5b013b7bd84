"""Initial weights by name: how a matrix or kernel is filled, so that signals keep their size from layer to layer.

Letters in shapes: O outputs, I inputs, K window of a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.kinds import Init, inits

Gain: TypeAlias = Literal["auto"] | Annotated[float, Field(gt=0)]
Fan: TypeAlias = Literal["inputs", "outputs"]
Deviation: TypeAlias = Callable[[Tensor], float]  # of weights (O, I, K), for a gain of 1


@inits.add("auto")
def auto() -> Init | None:
    """What the model's author chose; every model of ours begins with weights that fit its activations."""
    return None


@inits.add("xavier_uniform")
def xavier_uniform(*, gain: Gain = "auto") -> Init:
    """Uniform with deviation gain · √(2 / (inputs + outputs)): between what signals need and what gradients need.

    Args:
        gain: "auto" fits the activation behind each layer; or a number for all layers.

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", eq. 16.
    """
    return partial(_uniform, gain, _both)


@inits.add("xavier_normal")
def xavier_normal(*, gain: Gain = "auto") -> Init:
    """Normal with deviation gain · √(2 / (inputs + outputs)).

    Args:
        gain: "auto" fits the activation behind each layer; or a number for all layers.

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", eq. 12.
    """
    return partial(_normal, gain, _both)


@inits.add("kaiming_uniform")
def kaiming_uniform(*, gain: Gain = "auto", fan: Fan = "inputs") -> Init:
    """Uniform with deviation gain / √inputs, which keeps the size of signals.

    Args:
        gain: "auto" fits the activation behind each layer; or a number for all layers.
        fan: "inputs" keeps the size of signals on their way forward, "outputs" that of gradients on their way back.

    Source: He et al. 2015, "Delving deep into rectifiers", eq. 10 and 14.
    """
    return partial(_uniform, gain, _inputs if fan == "inputs" else _outputs)


@inits.add("kaiming_normal")
def kaiming_normal(*, gain: Gain = "auto", fan: Fan = "inputs") -> Init:
    """Normal with deviation gain / √inputs, which keeps the size of signals.

    Args:
        gain: "auto" fits the activation behind each layer; or a number for all layers.
        fan: "inputs" keeps the size of signals on their way forward, "outputs" that of gradients on their way back.

    Source: He et al. 2015, "Delving deep into rectifiers", eq. 10 and 14.
    """
    return partial(_normal, gain, _inputs if fan == "inputs" else _outputs)


@inits.add("lecun_uniform")
def lecun_uniform(*, gain: Gain = 1.0) -> Init:
    """Uniform with deviation 1 / √inputs, whatever the activation.

    Args:
        gain: a number for all layers; "auto" fits the activation behind each, which makes it kaiming_uniform.

    Source: LeCun et al. 1998, "Efficient backprop", section 4.6.
    """
    return partial(_uniform, gain, _inputs)


@inits.add("lecun_normal")
def lecun_normal(*, gain: Gain = 1.0) -> Init:
    """Normal with deviation 1 / √inputs, whatever the activation; made for selu.

    Args:
        gain: a number for all layers; "auto" fits the activation behind each, which makes it kaiming_normal.

    Source: LeCun et al. 1998, "Efficient backprop", section 4.6; Klambauer et al. 2017 for selu.
    """
    return partial(_normal, gain, _inputs)


@inits.add("orthogonal")
def orthogonal(*, gain: Gain = "auto") -> Init:
    """Rows or columns at right angles, all of length gain: a square matrix stretches no signal more than another.

    A kernel (O, I, K) counts as the matrix (O, I · K).

    Args:
        gain: "auto" fits the activation behind each layer; or a number for all layers.

    Source: Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks".
    """
    return partial(_orthogonal, gain)


@inits.add("truncated_normal")
def truncated_normal(
    *,
    std: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto",
    gain: Gain = "auto",
    cut: Annotated[float, Field(ge=0.1, le=10)] = 2.0,
) -> Init:
    """Normal without its tails; the deviation asked for is that of what is left.

    Args:
        std: standard deviation of the weights; "auto" is gain / √inputs.
        gain: where std is "auto": "auto" fits the activation behind each layer; or a number for all layers.
        cut: where the tails begin, in deviations of the normal that is cut.
    """
    return partial(_truncated, std, gain, cut)


@inits.add("zeros")
def zeros() -> Init:
    """Every weight 0. All units of a layer then stay alike, as nothing tells them apart; a note says so."""
    return partial(_constant, 0.0)


@inits.add("constant")
def constant(*, value: float) -> Init:
    """Every weight the same. All units of a layer then stay alike, as nothing tells them apart; a note says so.

    Args:
        value: of every weight.
    """
    return partial(_constant, value)


def _uniform(own: Gain, deviation: Deviation, weight: Tensor, gain: float, dice: torch.Generator) -> None:
    bound = math.sqrt(3) * (gain if own == "auto" else own) * deviation(weight)
    nn.init.uniform_(weight, -bound, bound, dice)


def _normal(own: Gain, deviation: Deviation, weight: Tensor, gain: float, dice: torch.Generator) -> None:
    nn.init.normal_(weight, 0.0, (gain if own == "auto" else own) * deviation(weight), dice)


def _orthogonal(own: Gain, weight: Tensor, gain: float, dice: torch.Generator) -> None:
    nn.init.orthogonal_(weight, gain if own == "auto" else own, dice)


def _truncated(
    std: Literal["auto"] | float, own: Gain, cut: float, weight: Tensor, gain: float, dice: torch.Generator
) -> None:
    wanted = (gain if own == "auto" else own) * _inputs(weight) if std == "auto" else std
    whole = wanted / _left(cut)
    nn.init.trunc_normal_(weight, 0.0, whole, -cut * whole, cut * whole, dice)


def _left(cut: float) -> float:
    """Standard deviation of a standard normal without what lies beyond ±cut."""
    density = math.exp(-cut * cut / 2) / math.sqrt(2 * math.pi)
    return math.sqrt(1 - 2 * cut * density / math.erf(cut / math.sqrt(2)))


def _constant(value: float, weight: Tensor, gain: float, dice: torch.Generator) -> None:
    nn.init.constant_(weight, value)


def _inputs(weight: Tensor) -> float:
    """(O, I, K) -> 1/√inputs, where a kernel's inputs are the numbers of its window."""
    return 1 / math.sqrt(weight[0].numel())


def _outputs(weight: Tensor) -> float:
    return 1 / math.sqrt(weight[:, 0].numel())


def _both(weight: Tensor) -> float:
    return math.sqrt(2 / (weight[0].numel() + weight[:, 0].numel()))
