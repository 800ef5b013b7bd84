"""The loss over a large vocabulary from hidden states, a piece at a time: the whole logits never exist at once.

Letters in shapes: M tokens, V vocabulary, W width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_PIECE, _PIECE_ELSEWHERE = 2**22, 2**25  # logits at once on a CPU, whose caches are small, and on an accelerator
_ROWS = 256  # at least: each piece adds to the gradient of all weights


def summed_nats(x: Tensor, weight: Tensor, truth: Tensor, nothing: int) -> tuple[Tensor, Tensor]:
    """The cross-entropy of ``x @ weight.T``, and of each token; the gradient is found in the same pass.

    The same numbers as of all logits at once, but for the order in which sums are added. It can be differentiated
    once, by the sum.

    Args:
        x: (M, W) hidden states.
        weight: (V, W) of the output layer, which has no bias.
        truth: (M,) ids.
        nothing: an id that is not counted.

    Returns the sum (0-d) and (M,) nats without a graph, in 32 bits at least.

    Source: Wijmans et al. 2024, "Cut your losses in large-vocabulary language models", for the aim; the pieces are
    those of rows alone.
    """
    kind = x.device.type
    low = (
        torch.get_autocast_dtype(kind)
        if torch.is_autocast_enabled(kind)
        else torch.promote_types(x.dtype, torch.float32)
    )
    made: Any = _Nats.apply
    total, each = made(x, weight, truth, nothing, low, torch.is_grad_enabled())
    return total, each


class _Nats(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, truth: Tensor, nothing: int, low: torch.dtype, learns: bool
    ) -> tuple[Tensor, Tensor]:
        """As `summed_nats`; keeps the gradients by x and by the weights, which backward scales."""
        wide = torch.promote_types(low, torch.float32)
        rows = max(_ROWS, (_PIECE if x.device.type == "cpu" else _PIECE_ELSEWHERE) // len(weight))
        by_x = torch.empty_like(x) if learns and ctx.needs_input_grad[0] else None
        by_weight = torch.zeros_like(weight) if learns and ctx.needs_input_grad[1] else None
        each = torch.empty(len(x), dtype=wide, device=x.device)
        with torch.autocast(x.device.type, enabled=False):
            right = weight.to(low)
            for at in range(0, len(x), rows):
                here = slice(at, at + rows)
                left, real = x[here].to(low), truth[here] != nothing
                true = truth[here].masked_fill(~real, 0)[:, None]
                logits = (left @ right.T).to(wide)  # (rows, V)
                norm = logits.logsumexp(1, keepdim=True)
                each[here] = ((norm - logits.gather(1, true))[:, 0]).masked_fill_(~real, 0.0)
                if by_x is None and by_weight is None:
                    continue
                slope = logits.sub_(norm).exp_()  # in place: the largest tensor there is
                slope.scatter_add_(1, true, torch.full_like(norm, -1.0))
                slope = slope.masked_fill_(~real[:, None], 0.0).to(low)
                if by_x is not None:
                    by_x[here] = slope @ right
                if by_weight is not None:
                    by_weight += slope.T @ left
        ctx.kept = by_x, by_weight
        ctx.mark_non_differentiable(each)
        return each.sum(), each

    @staticmethod
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the sum, times what comes from behind it."""
        if torch.is_grad_enabled():  # somebody asks for a graph of it, and would miss what is left out
            raise RuntimeError("the loss of a large vocabulary is differentiated once; ask for logits instead")
        by_x, by_weight = ctx.kept
        scaled = [None if g is None else g * scale.to(g.dtype) for g in (by_x, by_weight)]
        return (*scaled, None, None, None, None)
