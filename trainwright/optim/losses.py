"""Losses: one number per sample, never averaged over the batch, and how much each sample counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, TypeAlias, final

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from torch import Tensor, nn

from trainwright.core.config import split_spec
from trainwright.core.criterion import Criterion
from trainwright.core.errors import UserError
from trainwright.core.kinds import losses
from trainwright.core.schema import check

LossSpec: TypeAlias = str | dict[str, Any] | SkipJsonSchema[Criterion] | SkipJsonSchema[Callable[..., Any]]
"""A name, a spec, a `Criterion`, one of torch's loss modules, or any callable (output, target)."""


@losses.add("cross_entropy")
def cross_entropy(*, label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0, ignore_index: int = -100) -> Criterion:
    """Minus the log-probability of the true class, from logits (N, C, …) and class numbers (N, …).

    A sample with several positions adds them up, and weighs as many as are counted. Probabilities (N, C, …) are
    accepted as targets as well.

    Args:
        label_smoothing: share of the target spread evenly over all classes.
        ignore_index: a class number that does not count.

    Source: Szegedy et al. 2016, "Rethinking the Inception architecture", section 7, for the smoothing.
    """
    return _classes(None, ignore_index, label_smoothing, logs=False)


@losses.add("mse")
def mse() -> Criterion:
    """Squared error, averaged over a sample's own numbers."""
    return Criterion(partial(_elements, F.mse_loss), "numbers")


@losses.add("mae")
def mae() -> Criterion:
    """Absolute error, averaged over a sample's own numbers."""
    return Criterion(partial(_elements, F.l1_loss), "numbers")


@losses.add("huber")
def huber(*, delta: Annotated[float, Field(gt=0)] = 1.0) -> Criterion:
    """Half the squared error up to ``delta``, linear beyond: less moved by outliers.

    Args:
        delta: the error at which the parabola becomes a line, in units of the (standardized) target.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    return Criterion(partial(_elements, partial(F.huber_loss, delta=delta)), "numbers")


@losses.add("binary_cross_entropy")
def binary_cross_entropy() -> Criterion:
    """Minus the log-probability of yes or no, from one logit for each; averaged over a sample's own outputs."""
    return Criterion(partial(_elements, F.binary_cross_entropy_with_logits), "binary")


def criterion_of(loss: str | Mapping[str, Any] | Criterion | Callable[..., Any], where: str = "loss") -> Criterion:
    """Whatever a person gives as a loss, as a `Criterion`.

    A name or a spec goes through the registry. Torch's own loss modules and functions mean the number torch computes
    with ``reduction="mean"`` on the whole batch, whatever the micro-batches. Any other callable ``(output, target)`` must
    return one number per sample (N,), or a scalar, which is taken for the mean over the samples it was given; what
    its target is cannot be known, ``expects`` then says ``numbers``.

    Raises `UserError` for an unknown name, a wrong option, or a module with ``reduction="sum"``.
    """
    if isinstance(loss, Criterion):
        return loss
    if isinstance(loss, str):
        loss = {"name": loss}
    if isinstance(loss, Mapping):
        name, options = split_spec(loss, where)
        factory = losses[name]
        return factory(**check(factory, options, where))
    if type(loss) in _MODULES:
        if getattr(loss, "reduction", "mean") == "sum":
            raise UserError(where, f"{type(loss).__name__} has reduction='sum'", "leave it at 'mean'")
        return _MODULES[type(loss)](loss)
    if loss in _FUNCTIONS:
        return _MODULES[_FUNCTIONS[loss]](_FUNCTIONS[loss]())
    if not callable(loss):
        raise UserError(where, f"{loss!r} is no loss", "give a name such as 'mse', or a callable (output, target)")
    return Criterion(_Own(loss, where), "numbers")


def is_known(loss: object) -> bool:
    """Whether what the loss expects of its target is known: not so for a person's own callable."""
    return isinstance(loss, str | Mapping | Criterion) or type(loss) in _MODULES or loss in _FUNCTIONS


def wants_probabilities(loss: object) -> bool:
    """Whether a binary loss compares probabilities (`nn.BCELoss`) where the others compare logits."""
    return type(loss) is nn.BCELoss or loss is F.binary_cross_entropy


def aligned(output: Tensor, target: Tensor, where: str = "loss") -> Tensor:
    """``target`` in the shape of ``output``, where they differ by axes of length 1 alone.

    (N,) against (N, 1) is aligned, never broadcast to (N, N). Raises `UserError` with both shapes otherwise.
    """
    if target.shape == output.shape:
        return target
    if _core(target.shape) != _core(output.shape):
        raise _unlike(output, target, where)
    return target.reshape(output.shape)


def first_tensor(x: Any) -> Tensor:
    """The first tensor of what a model returns: a tensor, or the first entry of a mapping or a tuple."""
    given = type(x).__name__
    while not isinstance(x, Tensor):
        if not isinstance(x, Mapping | Sequence) or isinstance(x, str) or not x:
            raise UserError("model", f"it returned {given} without a tensor", "return a tensor, a mapping or a tuple")
        x = next(iter(x.values() if isinstance(x, Mapping) else x))
    return x


def _core(shape: torch.Size) -> tuple[int, ...]:
    """The samples' axis, then every axis longer than 1."""
    return (*shape[:1], *(n for n in shape[1:] if n != 1))


def _unlike(output: Tensor, target: Tensor, where: str = "loss") -> UserError:
    shapes = f"the model's output has shape {tuple(output.shape)}, the target {tuple(target.shape)}"
    return UserError(where, shapes, "their shapes must agree; the first axis is the sample")


def _wide(x: Tensor) -> Tensor:
    """At least float32: sums of half-precision numbers lose what they count."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _elements(measure: Callable[..., Tensor], output: Tensor, target: Tensor) -> Tensor:
    """(N,) the mean of ``measure`` over each sample's own elements."""
    output = _wide(output)
    return _own_mean(measure(output, aligned(output, target).to(output.dtype), reduction="none"))


def _own_mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def _classes(weight: Tensor | None, ignore_index: int, smoothing: float, *, logs: bool) -> Criterion:
    counted = _Counted(weight, ignore_index)
    each = partial(_class_loss, counted=counted, smoothing=smoothing, logs=logs)
    return Criterion(each, "classes", counted)


@final
class _Counted:
    """The weight of class targets: how many count, each as much as its class."""

    def __init__(self, weight: Tensor | None, ignore_index: int) -> None:
        self.weight, self.ignore_index = weight, ignore_index
        self._placed: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, x: Tensor, dtype: torch.dtype) -> Tensor | None:
        """The class weights on the device of ``x``, copied there once."""
        if self.weight is None:
            return None
        key = (x.device, dtype)
        if key not in self._placed:
            self._placed[key] = self.weight.detach().to(x.device, dtype)
        return self._placed[key]

    def __call__(self, target: Tensor) -> Tensor:
        if target.is_floating_point():  # probabilities (N, C, …): torch divides by the positions, weighted or not
            return torch.tensor(float(target.numel() // max(target.shape[1], 1)), device=target.device)
        counts = target != self.ignore_index
        weight = self.like(target, torch.float32)
        if weight is None:
            return counts.sum().float()
        return (weight[torch.where(counts, target, 0)] * counts).sum()


def _class_loss(output: Tensor, target: Tensor, *, counted: _Counted, smoothing: float, logs: bool) -> Tensor:
    """(N,) the loss of each sample, added up over its positions."""
    output = _wide(output)
    target = _class_target(output, target)
    weight = counted.like(output, output.dtype)
    if logs:
        each = F.nll_loss(output, target, weight, ignore_index=counted.ignore_index, reduction="none")
    else:
        index = counted.ignore_index
        each = F.cross_entropy(output, target, weight, ignore_index=index, reduction="none", label_smoothing=smoothing)
    return each.flatten(1).sum(1) if each.ndim > 1 else each


def _class_target(output: Tensor, target: Tensor) -> Tensor:
    """Class numbers (N, …) int64, or probabilities of the output's shape."""
    if output.ndim < 2 or output.shape[1] == 1:
        what = f"the model gives one output per sample (shape {tuple(output.shape)}), but classes need one column each"
        raise UserError("loss", what, "give the model as many outputs as classes, or use 'binary_cross_entropy'")
    if target.is_floating_point():
        if target.shape == output.shape:
            return target.to(output.dtype)
        what = f"the target holds {str(target.dtype).removeprefix('torch.')} numbers, not classes"
        raise UserError("loss", what, "give whole class numbers (int64), or use a loss for numbers such as 'mse'")
    like = output.select(1, 0)
    if _core(target.shape) != _core(like.shape):
        raise _unlike(output, target)
    return target.reshape(like.shape).long()


@final
class _Own:
    """A person's own callable, brought to (N,)."""

    def __init__(self, loss: Callable[..., Any], where: str) -> None:
        self.loss, self.where = loss, where
        self.name = getattr(loss, "__name__", type(loss).__name__)
        if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
            what = f"{self.name} has weights of its own, which no optimizer would train"
            raise UserError(where, what, "put them into the model, or freeze them with requires_grad_(False)")

    def __call__(self, output: Any, target: Any) -> Tensor:
        n = len(first_tensor(target))
        if isinstance(self.loss, nn.Module):
            self.loss.to(first_tensor(output).device)
        value = self.loss(output, target)
        if not isinstance(value, Tensor):
            raise UserError(self.where, f"{self.name} returned {type(value).__name__}", "return a tensor")
        if value.ndim and value.shape != (n,):
            what = f"{self.name} returned shape {tuple(value.shape)} for {n} samples"
            raise UserError(self.where, what, f"return one number per sample ({n},), or their mean")
        return value if value.ndim else value.expand(n)


def _of_cross_entropy(m: Any) -> Criterion:
    return _classes(m.weight, m.ignore_index, m.label_smoothing, logs=False)


def _of_nll(m: Any) -> Criterion:
    return _classes(m.weight, m.ignore_index, 0.0, logs=True)


def _of_bce_logits(m: Any) -> Criterion:
    return Criterion(partial(_weighted_binary, _Factors(m.weight), _Factors(m.pos_weight)), "binary")


def _of_bce(m: Any) -> Criterion:
    return Criterion(partial(_weighted_probability, _Factors(m.weight)), "binary")


@final
class _Factors:
    """Factors per output, on the device of what they multiply."""

    def __init__(self, values: Tensor | None) -> None:
        self.values = values

    def like(self, output: Tensor) -> Tensor | None:
        if self.values is None:
            return None
        if self.values.ndim >= output.ndim and self.values.shape[0] != 1:
            what = f"weight {tuple(self.values.shape)} belongs to one batch, not to outputs {tuple(output.shape)}"
            raise UserError("loss", what, "give a weight per output, without the samples' axis")
        if self.values.device != output.device or self.values.dtype != output.dtype:
            self.values = self.values.detach().to(output.device, output.dtype)
        return self.values


def _weighted_binary(weight: _Factors, positive: _Factors, output: Tensor, target: Tensor) -> Tensor:
    output = _wide(output)
    target = aligned(output, target).to(output.dtype)
    measure = F.binary_cross_entropy_with_logits
    each = measure(output, target, weight.like(output), reduction="none", pos_weight=positive.like(output))
    return _own_mean(each)


def _weighted_probability(weight: _Factors, output: Tensor, target: Tensor) -> Tensor:
    output = _wide(output)
    target = aligned(output, target).to(output.dtype)
    return _own_mean(F.binary_cross_entropy(output, target, weight.like(output), reduction="none"))


_MODULES: Mapping[type[nn.Module], Callable[[Any], Criterion]] = {
    nn.CrossEntropyLoss: _of_cross_entropy,
    nn.NLLLoss: _of_nll,
    nn.BCEWithLogitsLoss: _of_bce_logits,
    nn.BCELoss: _of_bce,
    nn.MSELoss: lambda m: mse(),
    nn.L1Loss: lambda m: mae(),
    nn.HuberLoss: lambda m: huber(delta=m.delta),
    nn.SmoothL1Loss: lambda m: Criterion(partial(_elements, partial(F.smooth_l1_loss, beta=m.beta)), "numbers"),
}

_FUNCTIONS: Mapping[object, type[nn.Module]] = {
    F.cross_entropy: nn.CrossEntropyLoss,
    F.nll_loss: nn.NLLLoss,
    F.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    F.binary_cross_entropy: nn.BCELoss,
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.huber_loss: nn.HuberLoss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
}
