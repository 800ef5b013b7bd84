"""Losses that are not ours: torch's modules and functions, and a person's own callables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwright.core.criterion import Criterion
from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.registry import failed
from trainwright.optim.measures import Counted, aligned, by_elements, classes, first_tensor, own_mean, wide


def module_of(loss: object) -> nn.Module | None:
    """The loss as one of torch's modules, whose meaning is known; None for anything else."""
    if isinstance(loss, nn.Module):
        return loss if type(loss) in _MODULES else None
    return next((module() for function, module in _FUNCTIONS if loss is function), None)


def of_module(module: nn.Module, where: str) -> Criterion:
    """The number the module computes with ``reduction="mean"`` on a whole batch, whatever the micro-batches."""
    if getattr(module, "reduction", "mean") == "sum":
        raise UserError(where, f"{type(module).__name__} has reduction='sum'", "leave it at 'mean'")
    return _MODULES[type(module)](module)


def wants_probabilities(loss: object) -> bool:
    """Whether a binary loss compares probabilities (`nn.BCELoss`) where the others compare logits."""
    return type(loss) is nn.BCELoss or loss is F.binary_cross_entropy


@final
class Own:
    """A person's own callable (output, target), brought to (N,)."""

    def __init__(self, loss: Callable[..., Any], where: str) -> None:
        self.loss, self.where = loss, where
        self.name = getattr(loss, "__name__", type(loss).__name__)
        self._looked = False  # whether it was seen to average
        if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
            what = f"{self.name} has weights of its own, which no optimizer would train"
            raise UserError(where, what, "put them into the model, or freeze them with requires_grad_(False)")

    def __call__(self, output: Any, target: Any) -> Tensor:
        """(N,) one number per sample; N is the first axis of the target, or of its first entry."""
        n = len(first_tensor(target))
        if isinstance(self.loss, nn.Module):
            self.loss.to(first_tensor(output).device)
        try:
            value = self.loss(output, target)
        except (TrainwrightError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise failed(f"{self.where}, {self.name},", error) from error
        if not isinstance(value, Tensor):
            raise UserError(self.where, f"{self.name} returned {type(value).__name__}", "return a tensor")
        if value.ndim and value.shape != (n,):
            what = f"{self.name} returned shape {tuple(value.shape)} for {n} samples"
            raise UserError(self.where, what, f"return one number per sample ({n},), or their mean")
        if first_tensor(output).requires_grad and not value.requires_grad:
            what = f"{self.name} returned numbers that do not depend on the model's output, or were cut off from it"
            raise UserError(self.where, what, "compute them with torch, without detach(), item() or numpy()")
        if not self._looked and n > 1:
            self._looked = True
            self._look(output, target, value.detach())
        return value if value.ndim else value.expand(n)

    def _look(self, output: Any, target: Any, value: Tensor) -> None:
        """UserError for a sum in place of a mean, which would be learned from without a word.

        It is told by what the callable says of the same samples twice; one that does not take them so is left alone.
        Shapes that spread over each other are the doctor's to find.
        """
        one = isinstance(output, Tensor) and isinstance(target, Tensor) and not value.ndim
        if not one or isinstance(self.loss, nn.Module) or not bool(value.isfinite()) or not float(value):
            return
        twice = torch.cat([output, output]), torch.cat([target, target])
        if self._says(*twice, 2 * value) and self._says(*twice, value) is False:
            what = f"{self.name} returned a sum: twice as much for the same samples twice"
            raise UserError(self.where, what, "return one number per sample, or their mean")

    def _says(self, output: Tensor, target: Tensor, value: Tensor) -> bool | None:
        """Whether the callable says about ``value`` of these; None where it cannot be asked."""
        with torch.no_grad(), torch.random.fork_rng(devices=[output.device] if output.is_cuda else []):
            try:
                found = self.loss(output.detach(), target)
            except Exception:
                return None
        alike = isinstance(found, Tensor) and found.shape == value.shape
        return torch.allclose(found, value, rtol=1e-4, atol=1e-7, equal_nan=True) if alike else None


def crossed(output: Tensor, target: Tensor) -> bool:
    """Whether torch would compare each output with all targets: (N, 1) with (N,), or the other way round."""
    n = len(output)
    return n > 1 and (tuple(output.shape), tuple(target.shape)) in (((n, 1), (n,)), ((n,), (n, 1)))


def _of_cross_entropy(m: Any) -> Criterion:
    return classes(Counted(m.weight, m.ignore_index), m.label_smoothing, logs=False)


def _of_nll(m: Any) -> Criterion:
    return classes(Counted(m.weight, m.ignore_index), 0.0, logs=True)


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
    output = wide(output)
    target = aligned(output, target).to(output.dtype)
    measure = F.binary_cross_entropy_with_logits
    each = measure(output, target, weight.like(output), reduction="none", pos_weight=positive.like(output))
    return own_mean(each)


def _weighted_probability(weight: _Factors, output: Tensor, target: Tensor) -> Tensor:
    output = wide(output)
    target = aligned(output, target).to(output.dtype)
    try:
        return own_mean(F.binary_cross_entropy(output, target, weight.like(output), reduction="none"))
    except RuntimeError:
        if not bool(output.isfinite().all()):
            return own_mean(output * math.nan)  # a step that is not finite, as with other losses
        must_be_probabilities(output)
        raise


def must_be_probabilities(output: Tensor) -> None:
    """UserError for finite outputs beyond 0 and 1. A wait for the device."""
    low, high = output.detach().aminmax()
    if low < 0 or high > 1:
        what = f"gives numbers from {float(low):.3g} to {float(high):.3g}, and this loss takes probabilities"
        instead = "take loss = 'binary_cross_entropy' (nn.BCEWithLogitsLoss), which has the sigmoid in it"
        raise UserError("model", what, f"{instead}, or end the model with nn.Sigmoid()")


_MODULES: Mapping[type[nn.Module], Callable[[Any], Criterion]] = {
    nn.CrossEntropyLoss: _of_cross_entropy,
    nn.NLLLoss: _of_nll,
    nn.BCEWithLogitsLoss: _of_bce_logits,
    nn.BCELoss: _of_bce,
    nn.MSELoss: lambda m: by_elements(F.mse_loss, "numbers"),
    nn.L1Loss: lambda m: by_elements(F.l1_loss, "numbers"),
    nn.HuberLoss: lambda m: by_elements(partial(F.huber_loss, delta=m.delta), "numbers"),
    nn.SmoothL1Loss: lambda m: by_elements(partial(F.smooth_l1_loss, beta=m.beta), "numbers"),
}

_FUNCTIONS: tuple[tuple[object, type[nn.Module]], ...] = (
    (F.cross_entropy, nn.CrossEntropyLoss),
    (F.nll_loss, nn.NLLLoss),
    (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss),
    (F.binary_cross_entropy, nn.BCELoss),
    (F.mse_loss, nn.MSELoss),
    (F.l1_loss, nn.L1Loss),
    (F.huber_loss, nn.HuberLoss),
    (F.smooth_l1_loss, nn.SmoothL1Loss),
)
