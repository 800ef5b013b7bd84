"""Lion: steps of one size, whose direction is the sign of a running mean of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, final

import torch
from pydantic import Field

from trainwright.core.kinds import optimizers
from trainwright.core.span import Span
from trainwright.optim.groups import Params, decayed, moving

Share = Annotated[float, Field(ge=0, lt=1)]


@optimizers.add("lion")
def lion(
    params: Params,
    *,
    lr: Annotated[float, Field(gt=0, le=1e6), Span(1e-6, 1e-2, log=True)] = 1e-4,
    betas: tuple[Share, Share] = (0.9, 0.99),
    weight_decay: Annotated[float, Field(ge=0), Span(1e-4, 10.0, log=True)] = 0.1,
    decay_all: bool = False,
) -> Lion:
    """Steps by the sign of a running mean of the gradient, the weights shrunk apart from it.

    Every weight moves by the whole rate at every step: the paper takes rates 3 to 10 times smaller than adamw's, and
    decays as many times larger. It keeps one number per weight where adamw keeps two.

    Args:
        lr: step size of every weight.
        betas: how much of the running mean counts beside the gradient in a step; how much of it is kept after it.
        weight_decay: share of each weight, times the rate, taken off at every step.
        decay_all: shrink norms and biases too (all weights of one dimension or none).

    Source: Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2, arXiv:2302.06675.
    """
    return Lion(decayed(params, weight_decay, decay_all), lr=lr, betas=betas, weight_decay=weight_decay)


@final
class Lion(torch.optim.Optimizer):
    """The rule itself; its state is ``mean``, of the shape of the weight."""

    def __init__(self, params: Params, *, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._move(group)
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        weights = moving(group)
        if not weights:
            return
        gradients = [p.grad for p in weights if p.grad is not None]
        for p in weights:
            if not self.state[p]:
                self.state[p]["mean"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        means = [self.state[p]["mean"] for p in weights]
        beta1, beta2 = group["betas"]
        steps = torch._foreach_lerp(means, gradients, 1 - beta1)
        torch._foreach_sign_(steps)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, steps, alpha=-group["lr"])
        torch._foreach_lerp_(means, gradients, 1 - beta2)
