"""The losses of Keras with Keras's arithmetic; PyTorch's own class where it does the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.doctor.case import CannotBuildError

Loss = Callable[[Tensor, Tensor], Tensor]  # (output (N, …), target) -> the batch's mean, 0-d

TINY = 1e-7  # Keras's epsilon


@dataclass(frozen=True, slots=True)
class Named:
    """What a case's words about its loss say."""

    name: str
    logits: bool

    @property
    def integers(self) -> bool:
        """Whether the targets are class numbers."""
        return self.name in ("sparse_categorical_crossentropy", "cross_entropy", "nll")


_ALIASES = {
    "bce": "binary_crossentropy",
    "binary_cross_entropy": "binary_crossentropy",
    "bcewithlogits": "binary_crossentropy",
    "bce_with_logits": "binary_crossentropy",
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "l1": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "kld": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
    "nll_loss": "nll",
    "crossentropy": "cross_entropy",
    "smooth_l1": "huber",
    "huber_loss": "huber",
    "cosine_proximity": "cosine_similarity",
}


def named(text: str) -> Named:
    """``sparse_categorical_crossentropy(from_logits=True)`` -> its name, and that it takes logits.

    Raises:
        CannotBuildError: no such loss.
    """
    lower = text.strip().lower()
    logits = bool(re.search(r"from_logits\s*=\s*true|logits(?!\s*=\s*false)", lower)) and "probabilit" not in lower
    name = re.split(r"[\s(;,]", lower, maxsplit=1)[0].removesuffix("_loss").removesuffix("loss")
    name = name.removesuffix("_with_logits").removesuffix("withlogits")
    name = _ALIASES.get(name, name)
    if name not in FUNCTIONS and name not in ("cross_entropy", "nll"):
        raise CannotBuildError(f"loss {text!r} is not known")
    return Named(name, logits or name == "cross_entropy")


def loss_of(text: str, last: str, targets: Tensor) -> Loss:
    """The loss as a person would write it in PyTorch, with the semantics of Keras.

    Args:
        text: as the case tells it.
        last: the activation its output comes from.
        targets: what it compares with; PyTorch's binary loss refuses those outside [0, 1], Keras's takes them.
    """
    it = named(text)
    if it.name == "cross_entropy" or (it.logits and "categorical" in it.name):
        return nn.CrossEntropyLoss()
    if it.name == "nll":
        return nn.NLLLoss()
    if it.name == "binary_crossentropy" and it.logits:
        return nn.BCEWithLogitsLoss()
    if it.name == "binary_crossentropy" and last == "sigmoid" and bool(((targets >= 0) & (targets <= 1)).all()):
        return nn.BCELoss()
    own = {"mean_squared_error": nn.MSELoss, "mean_absolute_error": nn.L1Loss, "huber": nn.HuberLoss}
    return own[it.name]() if it.name in own else FUNCTIONS[it.name]


def binary_crossentropy(output: Tensor, target: Tensor) -> Tensor:
    """-(y log p + (1 - y) log(1 - p)), p clamped to [1e-7, 1 - 1e-7]: no gradient outside."""
    p = output.clamp(TINY, 1 - TINY)
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


def categorical_crossentropy(output: Tensor, target: Tensor) -> Tensor:
    """-sum(y log p), the rows of the output first divided by their sum, then clamped."""
    p = (output / output.sum(-1, keepdim=True)).clamp(TINY, 1 - TINY)
    return -(target * p.log()).sum(-1).mean()


def sparse_categorical_crossentropy(output: Tensor, target: Tensor) -> Tensor:
    """The same with class numbers; raw outputs are clamped, then softmax over their logarithms divides by the sum."""
    p = output.clamp(TINY, 1 - TINY)
    return -(p / p.sum(-1, keepdim=True)).log().gather(-1, target.unsqueeze(-1)).mean()


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean of (f - y)^2; shapes that differ are broadcast."""
    return (output - target).square().mean()


def mean_absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean of |f - y|."""
    return (output - target).abs().mean()


def mean_absolute_percentage_error(output: Tensor, target: Tensor) -> Tensor:
    """100 |f - y| / |y|."""
    return 100 * ((output - target).abs() / target.abs().clamp_min(TINY)).mean()


def mean_squared_logarithmic_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean of (log(1 + f) - log(1 + y))^2, both clamped at 0."""
    return (output.clamp_min(TINY).log1p() - target.clamp_min(TINY).log1p()).square().mean()


def huber(output: Tensor, target: Tensor) -> Tensor:
    """Square up to 1, a line beyond."""
    return nn.functional.huber_loss(output, target)


def log_cosh(output: Tensor, target: Tensor) -> Tensor:
    """log(cosh(f - y))."""
    d = output - target
    return (d + softplus(-2 * d) - torch.log(torch.tensor(2.0))).mean()


def hinge(output: Tensor, target: Tensor) -> Tensor:
    """max(1 - y f, 0); targets 0 and 1 become -1 and 1."""
    return (1 - _signs(target) * output).clamp_min(0).mean()


def squared_hinge(output: Tensor, target: Tensor) -> Tensor:
    """The square of the hinge."""
    return (1 - _signs(target) * output).clamp_min(0).square().mean()


def categorical_hinge(output: Tensor, target: Tensor) -> Tensor:
    """max(1 + the best wrong score - the right one, 0)."""
    right, wrong = (target * output).sum(-1), ((1 - target) * output).amax(-1)
    return (1 + wrong - right).clamp_min(0).mean()


def kl_divergence(output: Tensor, target: Tensor) -> Tensor:
    """sum(y log(y / p)), both clamped."""
    y, p = target.clamp(TINY, 1), output.clamp(TINY, 1)
    return (y * (y / p).log()).sum(-1).mean()


def poisson(output: Tensor, target: Tensor) -> Tensor:
    """f - y log f."""
    return (output - target * (output + TINY).log()).mean()


def cosine_similarity(output: Tensor, target: Tensor) -> Tensor:
    """Minus the cosine of the angle between the rows."""
    return -nn.functional.cosine_similarity(output, target, dim=-1).mean()


FUNCTIONS: dict[str, Loss] = {
    f.__name__: f
    for f in (
        *(binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy, mean_squared_error),
        *(mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error, huber, log_cosh),
        *(hinge, squared_hinge, categorical_hinge, kl_divergence, poisson, cosine_similarity),
    )
}


def _signs(target: Tensor) -> Tensor:
    return torch.where(target == 0, -1.0, target) if bool((target >= 0).all()) else target
