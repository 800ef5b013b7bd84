"""What losses are made of: one number per sample, shapes that must agree, and how much class targets weigh."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias, final

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from trainwright.core.criterion import Criterion, counted
from trainwright.core.errors import UserError

Factors: TypeAlias = Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2)] | None
_FEW = 256  # numbers that Python counts faster than NumPy
ClassWeights: TypeAlias = Factors | Literal["balanced"]


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


def wide(x: Tensor) -> Tensor:
    """At least float32: sums of half-precision numbers lose what they count."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def elements(measure: Callable[..., Tensor], output: Tensor, target: Tensor) -> Tensor:
    """(N,) the mean of ``measure`` over each sample's own elements."""
    output = wide(output)
    return own_mean(measure(output, aligned(output, target).to(output.dtype), reduction="none"))


def elements_total(measure: Callable[..., Tensor], output: Tensor, target: Tensor) -> Tensor:
    """0-d: the sum of `elements` over the samples."""
    output = wide(output)
    total = measure(output, aligned(output, target).to(output.dtype), reduction="sum")
    own = output.numel() // max(1, len(output))
    return total / own if own > 1 else total


def by_elements(measure: Callable[..., Tensor], expects: Literal["binary", "numbers"]) -> Criterion:
    """A loss that is the mean of ``measure`` over each sample's own elements."""
    return Criterion(partial(elements, measure), expects, total=partial(elements_total, measure))


def own_mean(values: Tensor) -> Tensor:
    """(N, …) -> (N,) the mean over each sample's own elements."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def own_sum(values: Tensor) -> Tensor:
    """(N, …) -> (N,) the sum over each sample's own positions."""
    return values.flatten(1).sum(1) if values.ndim > 1 else values


def given_weights(weights: Sequence[float] | None, where: str) -> Tensor | None:
    """(C,) float64, or None; UserError where they would weigh nothing."""
    if weights is None:
        return None
    values = torch.tensor(weights, dtype=torch.float64)
    if not bool(torch.isfinite(values).all()) or not bool((values > 0).any()):
        raise UserError(where, f"{list(weights)} leaves no class that counts", "write finite numbers, one above 0")
    return values


def classes(counted: Counted, smoothing: float, *, logs: bool) -> Criterion:
    """Cross-entropy of class targets: against logits, or with ``logs`` against log-probabilities (N, C, …)."""
    each = partial(_class_loss, counted=counted, smoothing=smoothing, logs=logs)
    plain = not logs and not smoothing and counted.weight is None and not counted.balanced
    return Criterion(each, "classes", counted, counted.learn, partial(_class_total, counted) if plain else None)


def counted_by(weights: ClassWeights, ignore_index: int, where: str) -> Counted:
    """What class weights, as a person writes them, make targets weigh."""
    if weights == "balanced":
        return Counted(None, ignore_index, balanced=True)
    return Counted(given_weights(weights, where), ignore_index)


@final
class Counted:
    """The weight of class targets: how many count, each as much as its class.

    Args:
        weight: of each class; None for 1.
        ignore_index: a class number that does not count.
        balanced: the weights follow from how often each class occurs, which `learn` is told.
    """

    def __init__(self, weight: Tensor | None, ignore_index: int, *, balanced: bool = False) -> None:
        self.weight, self.ignore_index, self.balanced = weight, ignore_index, balanced
        self._placed: dict[tuple[torch.device, torch.dtype, int], Tensor] = {}

    def learn(self, counts: Sequence[float]) -> None:
        """Balanced weights: all classes together weigh the same, and the training part as much as without them.

        A class that the training part does not have weighs as one that it has once.
        """
        if not self.balanced:
            return
        many = torch.tensor(counts, dtype=torch.float64)
        if 0 <= self.ignore_index < len(many):
            many[self.ignore_index] = 0
        many = many[: int(many.nonzero().max()) + 1] if bool(many.any()) else many[:0]
        self.weight = many.sum() / ((many > 0).sum() * many.clamp_min(1))
        self._placed = {}

    def like(self, x: Tensor, dtype: torch.dtype, outputs: int | None = None) -> Tensor | None:
        """The class weights on the device of ``x``, copied there once; UserError unless they are ``outputs``."""
        if self.weight is None:
            if self.balanced and outputs is not None:
                what = "'balanced' needs to know how often each class occurs, which nobody told this loss"
                raise UserError("loss.class_weights", what, "write a number for each class, in the order of the labels")
            return None
        more = 0 if outputs is None else outputs - len(self.weight)
        if more and not (self.balanced and more > 0):
            what = f"{len(self.weight)} class weights for {outputs} outputs of the model"
            raise UserError("loss", what, "write one weight for each class, in the order of the labels")
        key = (x.device, dtype, more)
        if key not in self._placed:
            self._placed[key] = F.pad(self.weight.detach(), (0, more), value=1.0).to(x.device, dtype)
        return self._placed[key]

    def __call__(self, target: Tensor) -> Tensor:
        """0-d, on the target's device: class numbers (N, …), or probabilities (N, C, …)."""
        if target.is_floating_point():  # probabilities (N, C, …): torch divides by the positions, weighted or not
            return torch.tensor(float(target.numel() // max(target.shape[1], 1)), device=target.device)
        if self.weight is None and target.is_cpu:
            return counted(self._count(target), target.device)
        counts = target != self.ignore_index
        # summed in float64 where the device has it: micro-batches add up to the whole
        weight = self.like(target, torch.float32 if target.device.type == "mps" else torch.float64)
        if weight is None:
            return counts.sum().float()
        # a class beyond the weights is told by the loss, which knows the model's outputs
        known = torch.where(counts, target, 0).clamp_max(len(weight) - 1)
        return (weight[known] * counts).sum()

    def _count(self, target: Tensor) -> float:
        """How many count; torch's comparison and sum take longer than a small step's loss."""
        n = target.numel()
        if n <= _FEW:
            labels = target if target.ndim == 1 else target.flatten()
            return float(n - labels.tolist().count(self.ignore_index))
        return float(np.count_nonzero(target.numpy() != self.ignore_index))


def _class_loss(output: Tensor, target: Tensor, *, counted: Counted, smoothing: float, logs: bool) -> Tensor:
    """(N,) the loss of each sample, added up over its positions."""
    output = wide(output)
    target = _class_target(output, target)
    weight = counted.like(output, output.dtype, output.shape[1])
    if logs:
        each = F.nll_loss(output, target, weight, ignore_index=counted.ignore_index, reduction="none")
    else:
        index = counted.ignore_index
        each = F.cross_entropy(output, target, weight, ignore_index=index, reduction="none", label_smoothing=smoothing)
    return own_sum(each)


def _class_total(counted: Counted, output: Tensor, target: Tensor) -> Tensor:
    """0-d: the sum of `_class_loss` over the samples, without weights and smoothing."""
    output = wide(output)
    return F.cross_entropy(output, _class_target(output, target), ignore_index=counted.ignore_index, reduction="sum")


def numbered(output: Tensor, target: Tensor, name: str) -> Tensor:
    """(N, …) class numbers int64 for the loss ``name``, which takes no probabilities."""
    if target.is_floating_point() and target.shape == output.shape:
        what = f"'{name}' compares with class numbers, but the target has shape {tuple(target.shape)}"
        raise UserError("loss", what, "give whole class numbers (int64), or use 'cross_entropy' or 'kl'")
    return _class_target(output, target)


def _class_target(output: Tensor, target: Tensor) -> Tensor:
    """Class numbers (N, …) int64, or probabilities of the output's shape."""
    if target.dtype == torch.int64 and output.ndim == 2 and target.shape == output.shape[:1] and output.shape[1] > 1:
        return target
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
