"""Activations as modules of their own, by the names of Keras."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.doctor.case import CannotBuildError


class Exponential(nn.Module):
    """e to the input."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


class HardSigmoid(nn.Module):
    """Keras's: 0.2 x + 0.5, cut to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (0.2 * x + 0.5).clamp(0, 1)


class Sine(nn.Module):
    """sin(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": HardSigmoid,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "swish": nn.SiLU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "exponential": Exponential,
    "exp": Exponential,
    "sin": Sine,
    "leaky_relu": lambda: nn.LeakyReLU(0.3),
    "leakyrelu": lambda: nn.LeakyReLU(0.3),
    "prelu": nn.PReLU,
    "thresholdedrelu": lambda: nn.Threshold(1.0, 0.0),
    "thresholded_relu": lambda: nn.Threshold(1.0, 0.0),
}
NONE = ("", "linear", "none", "identity")


def name_of(given: Any) -> str:
    """An activation's name in lower case; "linear" where there is none."""
    text = str(given or "").strip().lower().replace("tf.nn.", "").replace("nn.", "")
    return "linear" if text in NONE else text


def activation(given: Any, dim: int = -1) -> nn.Module | None:
    """The module; None where there is none.

    Args:
        given: its name, such as ``relu`` or ``leaky_relu 0.2``.
        dim: the axis of a softmax.
    """
    name = name_of(given)
    if name == "linear":
        return None
    if told := re.search(r"dim\s*=\s*(-?\d+)", name):  # a softmax over an axis of the program's own choice
        dim, name = int(told.group(1)), re.split(r"[\s(,]", name)[0]
    if name in ("softmax", "log_softmax", "logsoftmax"):
        return nn.Softmax(dim=dim) if name == "softmax" else nn.LogSoftmax(dim=dim)
    if slope := re.fullmatch(r"(?:leaky_?relu)[\s(]*(?:alpha\s*=\s*|slope\s*=\s*)?([\d.]+)\)?", name):
        return nn.LeakyReLU(float(slope.group(1)))
    if name not in MAKERS:
        raise CannotBuildError(f"activation {given!r} is not known")
    return MAKERS[name]()
