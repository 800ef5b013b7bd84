"""Whether a device computes what it should: a few operations and their slopes beside float64 on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor

from trainwright.core.trial_facts import DeviceTest

_EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}
_TIMES = 64.0  # rounding of sums of some hundred numbers, in every order; TensorFloat-32 is asked for by nobody
Operation = Callable[..., Tensor]


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


_OPERATIONS: dict[str, tuple[Operation, tuple[tuple[int, ...], ...]]] = {
    "matrix product": (lambda a, b: a @ b / 16, ((128, 256), (256, 128))),
    "convolution": (lambda x, w: F.conv2d(x, w, padding=1) / 12, ((8, 16, 12, 12), (16, 16, 3, 3))),
    "softmax and logarithm": (lambda x: F.log_softmax(x, 1), ((256, 100),)),
    "layer norm": (lambda x: F.layer_norm(x, (128,)), ((64, 128),)),
    "sum of many": (lambda x: x.sum(0, keepdim=True) / 64, ((4096, 8),)),
    "gelu": (F.gelu, ((256, 64),)),
    "attention": (_attention, ((4, 4, 32, 16),) * 3),
}


def self_test(device: torch.device, precision: str, autocast: Callable[[], AbstractContextManager[None]]) -> DeviceTest:
    """The operation whose values or slopes are furthest from float64's on the CPU, relative to their size.

    Takes less than a second, and draws from generators of its own.

    Args:
        device: that is tested.
        precision: of the forward and backward pass.
        autocast: makes that precision.
    """
    dtype = torch.float64 if precision == "float64" else torch.float32
    worst, error = "", 0.0
    for name, (operation, shapes) in _OPERATIONS.items():
        generator = torch.Generator().manual_seed(len(name))
        given = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        if precision in ("bfloat16", "float16"):  # what both can hold
            given = [g.to(getattr(torch, precision)).double() for g in given]
        exact = _values(operation, given)
        there = [g.to(device=device, dtype=dtype) for g in given]
        with autocast():
            found = _values(operation, there)
        apart = max(_apart(a, b) for a, b in zip(found, exact, strict=True))
        if apart > error or not math.isfinite(apart):
            worst, error = name, apart
        if not math.isfinite(apart):
            break
    return DeviceTest(device.type, precision, worst, error, _TIMES * _EPS[precision])


def _values(operation: Operation, given: list[Tensor]) -> list[Tensor]:
    """What it gives, and the slopes of a mixture of that."""
    with torch.enable_grad():
        leaves = [g.clone().requires_grad_() for g in given]
        made = operation(*leaves)
        mix = torch.randn(made.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(leaves[0])
        slopes = torch.autograd.grad((made.to(mix.dtype) * mix).sum(), leaves)
    return [x.detach().double().cpu() for x in (made, *slopes)]


def _apart(found: Tensor, exact: Tensor) -> float:
    """Root mean square of the difference beside that of what is right."""
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt().clamp_min(1e-30))
