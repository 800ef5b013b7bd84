"""Whether a network has learned, by its outcome: its metric on the training rows against the constant prediction's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

LEARNED = 0.2  # the share of the way from the constant prediction to perfection (the files' own rule)
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Judged:
    """A metric, what the best constant reaches, and what follows."""

    metric: float
    baseline: float

    @property
    def learned(self) -> bool | None:
        """None where the constant is perfect already and nothing could be learned."""
        if not math.isfinite(self.metric):
            return False
        if self.baseline >= 1:
            return None
        return (self.metric - self.baseline) / (1 - self.baseline) > LEARNED


def judged(model: nn.Module, x: Tensor, y: Tensor, metric: Literal["accuracy", "r2"], logits: bool) -> Judged:
    """The metric of a model in eval mode on rows; the model's modes are put back.

    Args:
        model: output (N, …).
        x: the rows.
        y: their targets, as the loss takes them.
        metric: accuracy against the share of the most frequent class, or R² against the mean.
        logits: whether a single output is a logit.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    with torch.no_grad():
        output = torch.cat([model(part) for part in x.split(_AT_ONCE)]).double()
    for module, training in modes.items():
        module.training = training
    if metric == "r2":
        return Judged(_r2(output, y.double()), 0.0)
    right, baseline = _accuracy(output, y, logits)
    return Judged(right if bool(output.isfinite().all()) else math.nan, baseline)


def _r2(output: Tensor, y: Tensor) -> float:
    residual = (output - y).square().mean()
    spread = (y - y.mean(0)).square().mean()
    return float(1 - residual / spread) if spread > 0 else math.nan


def _accuracy(output: Tensor, y: Tensor, logits: bool) -> tuple[float, float]:
    if not y.is_floating_point():
        return float((_chosen(output, logits) == y).double().mean()), _most(y)
    if y.dim() > 1 and y.shape[-1] > 1 and bool((y.sum(-1) == 1).all()):
        return float((output.argmax(-1) == y.argmax(-1)).double().mean()), _most(y.argmax(-1))
    if y.dim() > 1 and y.shape[-1] > 1:  # several yes/no columns
        right = ((output > (0 if logits else 0.5)) == (y > 0.5)).double().mean()
        return float(right), float(torch.maximum(y.mean(0), 1 - y.mean(0)).double().mean())
    values = y.unique()
    if output.shape[-1] > 1 and output.shape[:-1] == y.shape[:-1]:
        return float((output.argmax(-1, keepdim=True) == y).double().mean()), _most(y)
    scores = output.sigmoid() if logits else output
    nearest = values[(scores.reshape(y.shape).unsqueeze(-1) - values.double()).abs().argmin(-1)]
    return float((nearest == y).double().mean()), _most(y)


def _chosen(output: Tensor, logits: bool) -> Tensor:
    if output.shape[-1] > 1:
        return output.argmax(-1)
    return (output.squeeze(-1) > (0 if logits else 0.5)).long()


def _most(y: Tensor) -> float:
    return float(y.unique(return_counts=True)[1].max() / y.numel())
