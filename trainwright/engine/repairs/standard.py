"""Inputs and answers in units in which a network learns: mean 0 and deviation 1, both of the training part.

Letters in shapes: N samples, F numbers, C columns or channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import repairs
from trainwright.core.repair import Repair

_MEAN, _DEVIATION = "standard_mean", "standard_deviation"


@repairs.add("standard_inputs", consent=False)
@final
class StandardInputs(Repair):
    """What a layer is given is first brought to mean 0 and deviation 1, column by column or channel by channel.

    Mean and deviation are measured once, on training samples, and are then buffers of the layer.

    Args:
        layer: a dense, convolutional or recurrent layer: the first one that samples go through.
    """

    def __init__(self, *, layer: str) -> None:
        self.layer = layer

    def change(self, model: nn.Module) -> None:
        """Make the buffers, and use them."""
        layer = self._layer(model)
        for name, value in ((_MEAN, 0.0), (_DEVIATION, 1.0)):
            weight = next(layer.parameters())
            layer.register_buffer(name, torch.full((_width(layer),), value, device=weight.device, dtype=weight.dtype))
        layer.register_forward_pre_hook(_standardized)

    def learn(self, model: nn.Module, run: Callable[[], object], targets: Tensor | None) -> None:
        """Measure what the layer is given."""
        layer, given = self._layer(model), []

        def look(module: nn.Module, args: Any) -> None:
            given.append(args[0].detach().double().transpose(_axis(layer, args[0]), -1).reshape(-1, _width(layer)))

        hook = layer.register_forward_pre_hook(look, prepend=True)
        try:
            with torch.no_grad():
                run()
        finally:
            hook.remove()
        if not given:
            raise UserError("model", f"no sample goes through {self.layer}", "scale the inputs by hand")
        x = torch.cat(given)
        _keep(layer, x.mean(0), x.std(0, correction=0))

    def _layer(self, model: nn.Module) -> nn.Module:
        layer: nn.Module | None = dict(model.named_modules()).get(self.layer)
        if layer is None or not _width(layer):
            raise UserError("model", f"{self.layer} is no layer whose inputs can be scaled", "scale them by hand")
        return layer


@repairs.add("standard_targets", consent=False)
@final
class StandardTargets(Repair):
    """The model says (target - mean) / deviation, and that is undone behind it, so that answers are in their old units.

    The gradient is that of the loss in the new units. Mean and deviation are measured once, on training targets, and
    are then buffers of the model.

    Args:
        columns: numbers of an answer, each with a mean and deviation of its own; 1 shares them.
        power: of the error in the loss: 2 of the squared error, 1 of the absolute error and of Huber's.
    """

    def __init__(self, *, columns: Annotated[int, Field(ge=1)] = 1, power: Literal[1, 2] = 2) -> None:
        self.columns, self.power = columns, power

    def change(self, model: nn.Module) -> None:
        """Make the buffers, and use them."""
        weight = next(model.parameters())
        for name, value in ((_MEAN, 0.0), (_DEVIATION, 1.0)):
            model.register_buffer(
                f"answer_{name}", torch.full((self.columns,), value, device=weight.device, dtype=weight.dtype)
            )
        model.register_forward_hook(partial(_undone, self.power))

    def learn(self, model: nn.Module, run: Callable[[], object], targets: Tensor | None) -> None:
        """Measure the targets."""
        if targets is None:
            raise UserError("model", "there is not one target whose scale could be measured", "scale them by hand")
        y = targets.detach().double().reshape(-1, self.columns)
        _keep(model, y.mean(0), y.std(0, correction=0), "answer_")


class _Unscaled(torch.autograd.Function):
    """y s + m, with the gradient of the loss in the new units: s^(1 - power) dL/dy in the place of s dL/dy."""

    @staticmethod
    def forward(context: Any, said: Tensor, mean: Tensor, deviation: Tensor, power: int) -> Tensor:
        context.save_for_backward(deviation)
        context.power = power
        return said * deviation + mean

    @staticmethod
    def backward(context: Any, *slopes: Any) -> Any:
        (deviation,) = context.saved_tensors
        return slopes[0] * deviation ** (1 - context.power), None, None, None


def _undone(power: int, model: nn.Module, given: Any, made: Any) -> Any:
    if not isinstance(made, Tensor):
        raise UserError("model", f"gives a {type(made).__name__}, no tensor that could be scaled", "scale by hand")
    mean, deviation = getattr(model, f"answer_{_MEAN}"), getattr(model, f"answer_{_DEVIATION}")
    if made.requires_grad:
        return _Unscaled.apply(made, mean, deviation, power)  # type: ignore[no-untyped-call]
    return made * deviation + mean


def _standardized(layer: nn.Module, args: Any) -> Any:
    x = args[0]
    shape = [1] * x.ndim
    shape[_axis(layer, x)] = -1
    mean, deviation = (getattr(layer, name).reshape(shape) for name in (_MEAN, _DEVIATION))
    return ((x - mean) / deviation, *args[1:])


def _axis(layer: nn.Module, x: Tensor) -> int:
    """Of the columns or channels."""
    return x.ndim - 1 - len(layer.kernel_size) if isinstance(layer, nn.modules.conv._ConvNd) else x.ndim - 1


def _width(layer: nn.Module) -> int:
    """Columns or channels that a layer is given; 0 where it has none."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    if isinstance(layer, nn.modules.conv._ConvNd):
        return layer.in_channels
    return layer.input_size if isinstance(layer, nn.RNNBase) else 0


def _keep(module: nn.Module, mean: Tensor, deviation: Tensor, begin: str = "") -> None:
    """A column that says the same of every sample is left alone."""
    with torch.no_grad():
        getattr(module, f"{begin}{_MEAN}").copy_(mean)
        getattr(module, f"{begin}{_DEVIATION}").copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))
