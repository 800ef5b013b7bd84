"""Muon: orthogonal steps for matrices, and AdamW's for all other weights, in one optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias, final

import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.errors import UserError
from trainwright.core.kinds import optimizers
from trainwright.core.span import Span
from trainwright.optim.groups import Params, decayed, divided, is_matrix, moving

Rate = Annotated[float, Field(gt=0, le=1e6), Span(1e-5, 1.0, log=True)]
Share = Annotated[float, Field(ge=0, lt=1)]
Scaling: TypeAlias = Literal["match_rms_adamw", "original"]

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: the steepest at 0 that keep singular values within about 0.7 to 1.2


@optimizers.add("muon")
def muon(
    params: Params,
    *,
    lr: Rate = 1e-3,
    companion_lr: Rate | None = None,
    momentum: Share = 0.95,
    nesterov: bool = True,
    rounds: Annotated[int, Field(ge=1, le=99)] = 5,
    scaling: Scaling = "match_rms_adamw",
    weight_decay: Annotated[float, Field(ge=0), Span(1e-4, 1.0, log=True)] = 0.1,
    decay_all: bool = False,
    betas: tuple[Share, Share] = (0.9, 0.999),
    eps: Rate = 1e-8,
) -> Muon:
    """The momentum of every matrix made orthogonal before the step; vectors take AdamW's steps.

    A convolution's kernel (out, in, height, width) counts as the matrix (out, in * height * width), and so does any
    other weight of more than two dimensions, such as an ensemble's stack of matrices. Embeddings and the output
    layer are matrices too, which Muon's author leaves to AdamW: an optimizer sees weights without names, so they
    are taken for matrices unless their group says ``"rule": "adamw"`` (from Python: a function that makes the
    groups). On accelerators the orthogonalization is done in bfloat16, as in the original, elsewhere in the
    precision of the weights.

    Args:
        lr: step size.
        companion_lr: step size of what is no matrix; that of the matrices where it is left out.
        momentum: how much of the running mean of the gradient is kept each step.
        nesterov: look ahead along the momentum.
        rounds: iterations of the orthogonalization.
        scaling: match_rms_adamw makes steps as large as AdamW's, so that its rates fit (0.2 times the root of the
            longer side); original multiplies by the root of rows over columns, where that is above 1, and wants an lr
            near 0.02 with a companion_lr near 3e-4.
        weight_decay: share of each weight, times the rate, taken off at every step.
        decay_all: shrink norms and biases too (all weights of one dimension or none).
        betas: of AdamW: how much of the running means is kept each step, of the gradient and of its square.
        eps: of AdamW: added to the root of the second mean.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Liu et al. 2025, "Muon is
    scalable for LLM training", arXiv:2502.16982, for the scaling.
    """
    groups = divided(params, is_matrix, "rule", {"rule": "muon"}, {"rule": "adamw"})
    for group in groups:
        if group["rule"] == "adamw" and companion_lr is not None:
            group.setdefault("lr", companion_lr)
    options = {
        "lr": lr,
        "momentum": momentum,
        "nesterov": nesterov,
        "rounds": rounds,
        "scaling": scaling,
        "weight_decay": weight_decay,
        "betas": betas,
        "eps": eps,
    }
    return Muon(decayed(groups, weight_decay, decay_all), options)


@final
class Muon(torch.optim.Optimizer):
    """Both rules; a group's ``rule`` says which it follows.

    Its state is ``mean``, of the shape of the weight, and for AdamW's rule ``square`` and ``steps`` (a whole number).
    """

    def __init__(self, params: Params, options: dict[str, Any]) -> None:
        super().__init__(params, {"rule": "adamw", **options})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """One more group; UserError for a rule that there is not, or a vector that cannot be made orthogonal."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["rule"] not in ("muon", "adamw"):
            raise UserError("optimizer", f"a group has rule '{group['rule']}'", "write 'muon' or 'adamw'")
        if group["rule"] == "muon" and not all(map(is_matrix, group["params"])):
            raise UserError("optimizer", "a group of rule 'muon' holds a vector", "put it into a group of rule 'adamw'")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            move = self._orthogonal if group["rule"] == "muon" else self._adamw
            for weight in moving(group):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                move(weight, group)
        return loss

    def _orthogonal(self, weight: Tensor, group: dict[str, Any]) -> None:
        gradient, state = weight.grad, self.state[weight]
        assert gradient is not None
        if not state:
            state["mean"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        mean = state["mean"].lerp_(gradient, 1 - group["momentum"])
        wanted = (gradient.lerp(mean, group["momentum"]) if group["nesterov"] else mean).flatten(1)
        update = orthogonal(wanted, group["rounds"]).to(weight.dtype).reshape(weight.shape)
        weight.add_(update, alpha=-group["lr"] * _size(wanted.shape, group["scaling"]))

    def _adamw(self, weight: Tensor, group: dict[str, Any]) -> None:
        gradient, state = weight.grad, self.state[weight]
        assert gradient is not None
        if not state:
            state["mean"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            state["square"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            state["steps"] = 0
        state["steps"] += 1
        beta1, beta2 = group["betas"]
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (state["square"] / (1 - beta2 ** state["steps"])).sqrt_().add_(group["eps"])
        weight.addcdiv_(state["mean"], root, value=-group["lr"] / (1 - beta1 ** state["steps"]))


def orthogonal(matrix: Tensor, rounds: int) -> Tensor:
    """(A, B) near U Vᵀ of the singular value decomposition U S Vᵀ, by ``rounds`` of Newton-Schulz; 0 stays 0.

    Source: Jordan et al. 2024, with their quintic polynomial, which leaves singular values a little off 1 on purpose.
    """
    a, b, c = _QUINTIC
    wide = torch.promote_types(matrix.dtype, torch.float32)
    x: Tensor = matrix.to(wide if matrix.device.type == "cpu" else torch.bfloat16)
    upright = x.shape[0] > x.shape[1]
    x = x.T if upright else x
    x = x / x.norm().clamp_min(1e-7)  # singular values at most 1
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if upright else x


def _size(shape: torch.Size, scaling: Scaling) -> float:
    """What an orthogonal (A, B) is multiplied by."""
    rows, columns = shape
    return 0.2 * math.sqrt(max(rows, columns)) if scaling == "match_rms_adamw" else math.sqrt(max(1.0, rows / columns))
