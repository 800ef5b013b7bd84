"""Losses: one number per sample, never averaged over the batch, and how much each sample counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, TypeAlias

import torch.nn.functional as F
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from torch import Tensor

from trainwright.core.config import split_spec
from trainwright.core.criterion import Criterion
from trainwright.core.errors import UserError
from trainwright.core.kinds import losses
from trainwright.core.schema import check
from trainwright.optim.applied import applies, refuse_twice
from trainwright.optim.measures import ClassWeights, aligned, by_elements, classes, counted_by, first_tensor
from trainwright.optim.theirs import Own, module_of, must_be_probabilities, of_module, wants_probabilities

__all__ = [
    "LossSpec",
    "aligned",
    "applies",
    "criterion_of",
    "first_tensor",
    "is_known",
    "must_be_probabilities",
    "refuse_twice",
    "wants_probabilities",
]

LossSpec: TypeAlias = str | dict[str, Any] | SkipJsonSchema[Criterion] | SkipJsonSchema[Callable[..., Any]]
"""A name, a spec, a `Criterion`, one of torch's loss modules, or any callable (output, target)."""


@losses.add("cross_entropy")
def cross_entropy(
    *,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    class_weights: ClassWeights = None,
    ignore_index: int = -100,
) -> Criterion:
    """Minus the log-probability of the true class, from logits (N, C, …) and class numbers (N, …).

    A sample with several positions adds them up, and weighs as many as are counted. Probabilities (N, C, …) are
    accepted as targets as well.

    Args:
        label_smoothing: share of the target spread evenly over all classes.
        class_weights: how much each class counts, in the order of the labels; all alike where it is left out;
            "balanced" weighs each by samples / (classes · its samples), counted in the training part. The loss is
            divided by the sum of the weights of its targets.
        ignore_index: a class number that does not count.

    Source: Szegedy et al. 2016, "Rethinking the Inception architecture", section 7, for the smoothing.
    """
    return classes(counted_by(class_weights, ignore_index, "loss.class_weights"), label_smoothing, logs=False)


@losses.add("mse")
def mse() -> Criterion:
    """Squared error, averaged over a sample's own numbers."""
    return by_elements(F.mse_loss, "numbers")


@losses.add("mae")
def mae() -> Criterion:
    """Absolute error, averaged over a sample's own numbers."""
    return by_elements(F.l1_loss, "numbers")


@losses.add("huber")
def huber(*, delta: Annotated[float, Field(gt=0)] = 1.0) -> Criterion:
    """Half the squared error up to ``delta``, linear beyond: less moved by outliers.

    Args:
        delta: the error at which the parabola becomes a line, in units of the (standardized) target.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    return by_elements(partial(F.huber_loss, delta=delta), "numbers")


@losses.add("binary_cross_entropy")
def binary_cross_entropy(
    *,
    pos_weight: Annotated[float, Field(gt=0)] = 1.0,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Criterion:
    """Minus the log-probability of yes or no, from one logit for each; averaged over a sample's own outputs.

    Args:
        pos_weight: factor of yes; above 1 it finds more of them, and is wrong more often. Not divided by.
        label_smoothing: share of the target spread evenly over yes and no.
    """
    return by_elements(partial(_binary, pos_weight, label_smoothing), "binary")


def _binary(pos_weight: float, smoothing: float, output: Tensor, target: Tensor, *, reduction: str) -> Tensor:
    target = target * (1 - smoothing) + smoothing / 2
    weight = None if pos_weight == 1 else output.new_tensor(pos_weight)
    return F.binary_cross_entropy_with_logits(output, target, reduction=reduction, pos_weight=weight)


def criterion_of(loss: str | Mapping[str, Any] | Criterion | Callable[..., Any], where: str = "loss") -> Criterion:
    """Whatever a person gives as a loss, as a `Criterion`.

    A name or a spec goes through the registry. Torch's own loss modules and functions mean the number torch computes
    with ``reduction="mean"`` on the whole batch, whatever the micro-batches.

    Any other callable ``(output, target)`` must return one number per sample (N,), or a scalar, which is taken for the
    mean over the samples it was given; what its target is cannot be known, ``expects`` then says ``numbers``.

    Raises `UserError` for an unknown name, a wrong option, or a module with ``reduction="sum"``.
    """
    if isinstance(loss, Criterion):
        return loss
    if isinstance(loss, str):
        loss = {"name": loss}
    if isinstance(loss, Mapping):
        name, options = split_spec(loss, where)
        made: Criterion = losses.make(name, check(losses[name], options, where))
        return made
    if (module := module_of(loss)) is not None:
        return of_module(module, where)
    if not callable(loss):
        raise UserError(where, f"{loss!r} is no loss", "give a name such as 'mse', or a callable (output, target)")
    return Criterion(Own(loss, where), "numbers")


def is_known(loss: object) -> bool:
    """Whether what the loss expects of its target is known: not so for a person's own callable."""
    return isinstance(loss, str | Mapping | Criterion) or module_of(loss) is not None
