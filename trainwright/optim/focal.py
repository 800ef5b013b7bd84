"""Focal losses: cross-entropy that turns away from what the model already knows."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from trainwright.core.criterion import Criterion
from trainwright.core.kinds import losses
from trainwright.optim.measures import Counted, Factors, aligned, given_weights, numbered, own_mean, own_sum, wide

Gamma = Annotated[float, Field(ge=0)]


@losses.add("focal")
def focal(*, gamma: Gamma = 2.0, alpha: Factors = None, ignore_index: int = -100) -> Criterion:
    """Cross-entropy times (1 - p)^gamma, p the probability of the true class: what is easy hardly counts.

    From logits (N, C, …) and class numbers (N, …), with a softmax over the classes. A sample with several positions
    adds them up, and weighs as many as are counted; ``alpha`` multiplies the loss and, unlike ``class_weights`` of
    cross_entropy, is not divided by. gamma 0 without alpha is cross_entropy.

    Args:
        gamma: how fast a known sample stops counting.
        alpha: a factor for each class, in the order of the labels; 1 for all where it is left out.
        ignore_index: a class number that does not count.

    Source: Lin et al. 2017, "Focal loss for dense object detection", eq. 5, with a softmax for the sigmoid.
    """
    factors = Counted(given_weights(alpha, "loss.alpha"), ignore_index)
    return Criterion(partial(_focal, gamma, factors), "classes", Counted(None, ignore_index))


@losses.add("binary_focal")
def binary_focal(*, gamma: Gamma = 2.0, alpha: Annotated[float, Field(gt=0, lt=1)] | None = None) -> Criterion:
    """Binary cross-entropy times (1 - p)^gamma, p the probability of the true answer; from one logit for each.

    Averaged over a sample's own outputs, as binary_cross_entropy is. gamma 0 without alpha is that loss.

    Args:
        gamma: how fast a known answer stops counting.
        alpha: factor of yes, 1 - alpha being that of no; left out, both count 1. The paper has 0.25 for gamma 2.

    Source: Lin et al. 2017, "Focal loss for dense object detection", eq. 5.
    """
    return Criterion(partial(_binary_focal, gamma, alpha), "binary")


def _focal(gamma: float, factors: Counted, output: Tensor, target: Tensor) -> Tensor:
    output = wide(output)
    target = numbered(output, target, "focal")
    weight = factors.like(output, output.dtype, output.shape[1])
    logs = output.log_softmax(1)
    surprise = F.nll_loss(logs, target, ignore_index=factors.ignore_index, reduction="none")  # 0 where ignored
    value = _power(-torch.expm1(-surprise), gamma) * surprise
    if weight is not None:
        value = value * weight[torch.where(target == factors.ignore_index, 0, target)]
    return own_sum(value)


def _binary_focal(gamma: float, alpha: float | None, output: Tensor, target: Tensor) -> Tensor:
    output = wide(output)
    target = aligned(output, target).to(output.dtype)
    surprise = F.binary_cross_entropy_with_logits(output, target, reduction="none")
    missed = target * (-output).sigmoid() + (1 - target) * output.sigmoid()
    value = _power(missed, gamma) * surprise
    if alpha is not None:
        value = value * (alpha * target + (1 - alpha) * (1 - target))
    return own_mean(value)


def _power(missed: Tensor, gamma: float) -> Tensor:
    """missed^gamma with a finite slope at 0, where gamma below 1 has none."""
    return missed.clamp_min(torch.finfo(missed.dtype).tiny) ** gamma
