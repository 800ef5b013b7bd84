"""Hinge losses: a margin between the right answer and the others, nothing beyond it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.criterion import Criterion
from trainwright.core.kinds import losses
from trainwright.optim.measures import Counted, aligned, numbered, own_mean, own_sum, wide

Margin = Annotated[float, Field(gt=0)]


@losses.add("hinge")
def hinge(*, margin: Margin = 1.0, squared: bool = False, ignore_index: int = -100) -> Criterion:
    """How far the true class is from being ahead of the best other class by a margin, from scores (N, C, …).

    max(0, margin + largest other score - score of the true class), with class numbers (N, …): the form of Crammer and
    Singer, which scikit-learn and Keras have; torch's MultiMarginLoss adds up all other classes instead. A sample with
    several positions adds them up. Scores are no log-probabilities: what is shown as probability is their softmax.

    Args:
        margin: how far ahead is far enough, in units of the scores.
        squared: take the square.
        ignore_index: a class number that does not count.

    Source: Crammer & Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines".
    """
    counted = Counted(None, ignore_index)
    return Criterion(partial(_hinge, margin, squared, ignore_index), "classes", counted)


@losses.add("binary_hinge")
def binary_hinge(*, margin: Margin = 1.0, squared: bool = False) -> Criterion:
    """max(0, margin - score) where the answer is yes, max(0, margin + score) where it is no.

    From one score for each, with targets 0 and 1 as for binary_cross_entropy; averaged over a sample's own outputs.

    Args:
        margin: how far from 0 is far enough, in units of the scores.
        squared: take the square.

    Source: Cortes & Vapnik 1995, "Support-vector networks".
    """
    return Criterion(partial(_binary_hinge, margin, squared), "binary")


def _hinge(margin: float, squared: bool, ignore_index: int, output: Tensor, target: Tensor) -> Tensor:
    output = wide(output)
    target = numbered(output, target, "hinge")
    counts = target != ignore_index
    true = torch.where(counts, target, 0).unsqueeze(1)
    others = output.scatter(1, true, -torch.inf).amax(1)
    value = (margin + others - output.gather(1, true).squeeze(1)).clamp_min(0)
    return own_sum(torch.where(counts, value.square() if squared else value, 0.0))


def _binary_hinge(margin: float, squared: bool, output: Tensor, target: Tensor) -> Tensor:
    output = wide(output)
    side = 2 * aligned(output, target).to(output.dtype) - 1
    value = (margin - side * output).clamp_min(0)
    return own_mean(value.square() if squared else value)
