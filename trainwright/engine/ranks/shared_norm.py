"""Batch norm over the samples of all ranks, so that several processes learn what one would.

torch's SyncBatchNorm needs an accelerator, and counts the samples of fillers.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

if TYPE_CHECKING:
    from trainwright.engine.ranks.group import Ranks


def share_norms(model: nn.Module, ranks: Ranks) -> bool:
    """Have every batch norm of a model see the batch of all ranks, while `Ranks.counting` says so; whether it has one.

    Outside of that, as in a probe of one rank alone, they are what they were. Names, buffers and classes stay.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm)]
    for norm in norms:
        norm.forward = MethodType(_forward_among(ranks), norm)  # type: ignore[method-assign]
    return bool(norms)


def _forward_among(ranks: Ranks):  # type: ignore[no-untyped-def]
    def forward(norm: _BatchNorm, x: Tensor) -> Tensor:
        if ranks.counts is None or not norm.training:
            return type(norm).forward(norm, x)
        norm._check_input_dim(x)
        return _normalized(norm, x, ranks.counts)

    return forward


def _normalized(norm: _BatchNorm, x: Tensor, counts: float) -> Tensor:
    """As torch's: the variance that divides is that of the batch, the one that is kept is unbiased.

    Args:
        norm: in training mode.
        x: (N, C, …).
        counts: 0 where this rank's samples are a filler, else 1.
    """
    axes = [0, *range(2, x.ndim)]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    wide = torch.promote_types(x.dtype, torch.float32)
    values = x.to(wide)
    sums = torch.cat([values.sum(axes), values.new_tensor([values.numel() / values.shape[1]])])
    sums = _summed(sums * counts)
    number = sums[-1].detach()
    mean = sums[:-1] / number
    away = values - mean.view(shape)
    variance = _summed(away.square().sum(axes) * counts) / number
    if norm.running_mean is not None and norm.running_var is not None:
        several = number > 1  # else as `models.norms` has it: one sample has no variance
        _remember(norm, mean.detach(), variance.detach(), number)
        away = torch.where(several, away, values - norm.running_mean.view(shape))
        variance = torch.where(several, variance, norm.running_var)
    out = away * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.affine:
        out = out * norm.weight.view(shape) + norm.bias.view(shape)
    return out.to(x.dtype)


@torch.no_grad()
def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor, number: Tensor) -> None:
    assert norm.num_batches_tracked is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    several = number > 1
    norm.num_batches_tracked.add_(several.to(norm.num_batches_tracked.dtype))
    share = 1.0 / norm.num_batches_tracked.clamp(min=1) if norm.momentum is None else mean.new_tensor(norm.momentum)
    share = torch.where(several, share, torch.zeros_like(share)).to(norm.running_mean.dtype)
    unbiased = variance * number / (number - 1).clamp(min=1)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), share)


def _summed(x: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(x)  # type: ignore[no-untyped-call]
    return total


class _Summed(torch.autograd.Function):
    """The sum over ranks; its gradient is the sum of the gradients that the ranks have."""

    @staticmethod
    @override
    def forward(ctx: object, x: Tensor) -> Tensor:
        import torch.distributed as dist

        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @override
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        import torch.distributed as dist

        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total
