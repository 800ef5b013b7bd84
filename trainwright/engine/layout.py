"""Where the numbers of a tensor lie in memory; their values stay the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.engine.stand_in import stand_in
from trainwright.models import strided


class _Flatten(nn.Flatten):
    """As `nn.Flatten`, also by its name; a gradient comes back laid as the pictures were.

    Else it lies with the width last, and all before it, up to the last convolution, reads one and writes the other:
    the gradient of a ReLU took ten times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, …) -> (N, C H W)."""
        if input.ndim == 4 and input.requires_grad and _is_laid(input):
            input = _Laid.apply(input)  # type: ignore[no-untyped-call]
        return super().forward(input)

    def _get_name(self) -> str:
        return "Flatten"

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """A copy, and what is written to a file, is torch's own: nobody would put those back."""
        return nn.Flatten, (self.start_dim, self.end_dim), *super().__reduce_ex__(protocol)[2:]


class _Picked(strided.Conv2d):
    """As `nn.Conv2d`, also in copies and what is written to a file."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Of torch's own class: nobody would put those back."""
        made: Any = super().__reduce_ex__(protocol)
        return made[0], (nn.Conv2d, *made[1][1:]), *made[2:]


class _Laid(torch.autograd.Function):
    """Pictures as they are, and their gradient with the channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """(N, C, H, W), a view."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The same numbers."""
        return gradient.contiguous(memory_format=torch.channels_last)


def channels_last(model: nn.Module, optimizer: Optimizer) -> Callable[[], None]:
    """Have the weights of convolutions over pictures lie with the channels last; returns what puts all back.

    A convolution with such weights gives pictures that lie so as well, and pools and what works number by number pass
    them on: nothing is laid anew between the layers, and on the way back nothing behind an `nn.Flatten`. Sums of a
    convolution are then added in another order.

    Args:
        model: is changed where weights lie with the width last; other layouts are its author's.
        optimizer: what it remembers of such weights is laid as they are.
    """
    moved = [(weight, weight.stride()) for weight in _weights(model) if weight.is_contiguous()]
    for weight, _ in moved:
        # with one channel the numbers lie the same either way, and the strides alone tell a convolution how to answer;
        # contiguous() would leave those
        last = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device, memory_format=torch.channels_last)
        weight.data = last.copy_(weight.data)
    lay(optimizer)
    usual = stand_in(model, nn.Flatten, _Flatten)
    exposed = stand_in(model, nn.Conv2d, _Picked, strided.at_risk)  # torch may compute these beyond its memory

    def back() -> None:
        exposed()
        usual()
        for weight, stride in moved:
            before = torch.empty_strided(weight.shape, stride, dtype=weight.dtype, device=weight.device)
            weight.data = before.copy_(weight.data)
        lay(optimizer)

    return back


def has_pictures(model: nn.Module) -> bool:
    """Whether there is a convolution over pictures whose weights lie with the width last."""
    return any(weight.is_contiguous() for weight in _weights(model))


def lay(optimizer: Optimizer) -> None:
    """Have what an optimizer remembers of each weight lie as the weight does.

    The updates in one pass of torch 2.13 on a CPU go through both in the order of memory, whatever that order is.
    """
    for weight, entry in optimizer.state.items():
        for name, value in entry.items():
            if isinstance(value, Tensor):
                entry[name] = laid(value, weight)


def laid(value: Tensor, weight: Tensor) -> Tensor:
    """A tensor that lies as a weight of the same shape does; any other as it is."""
    if value.shape != weight.shape or value.stride() == weight.stride():
        return value
    return torch.empty_like(weight, dtype=value.dtype, device=value.device, requires_grad=False).copy_(value)


def _is_laid(x: Tensor) -> bool:
    """Whether the channels lie last, and not the width as well: with one pixel both do."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _weights(model: nn.Module) -> Iterator[nn.Parameter]:
    """Of convolutions over pictures."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and isinstance(module.weight, nn.Parameter):
            yield module.weight
