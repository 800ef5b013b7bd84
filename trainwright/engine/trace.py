"""What samples go through in a forward pass: modules with weights, and activations, also those called as functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ACTIVATIONS = {
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus"),
    *("sigmoid", "logsigmoid", "tanh", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink"),
    *("softsign", "tanhshrink", "threshold", "softmax", "log_softmax", "softmin", "exp", "clamp", "glu"),
}  # fmt: skip
_SAME = {"log_sigmoid": "logsigmoid", "relu_": "relu", "sigmoid_": "sigmoid", "tanh_": "tanh"}


@dataclass(frozen=True, slots=True)
class Call:
    """One module or activation, once, and what it gave: numbers that are left on the device."""

    name: str  # of the module; of a function called within one, "module.relu"
    kind: str  # "linear", "relu", …
    module: nn.Module | None  # whose weights it uses; None of a function
    made: Tensor  # (N, …) what it gives; an operation in place may have changed it since
    figures: Tensor  # (5,) mean, deviation, and shares: exact zeros, units that are 0 for every sample, flat ends
    axis: int | None = None  # of a softmax


def kind_of(module: nn.Module) -> str:
    """``linear``, ``conv2d``, ``batchnorm1d``: the class in small letters."""
    return type(module).__name__.lstrip("_").lower()


@contextmanager
def traced(model: nn.Module) -> Iterator[list[Call]]:
    """The calls of the forward passes within the block, in their order.

    The tensors are the very ones that the model computes with, and keep their graph: whoever reads them must not write.
    """
    calls: list[Call] = []
    stack: list[str] = [""]
    names = {module: name for name, module in model.named_modules()}

    def enter(module: nn.Module, given: Any) -> None:
        stack.append(names.get(module, ""))

    def leave(module: nn.Module, given: Any, made: Any) -> None:
        name = stack.pop() if len(stack) > 1 else ""
        y = first_tensor_of(made)
        own = any(True for _ in module.parameters(recurse=False))
        if y is not None and (own or isinstance(module, nn.modules.dropout._DropoutNd)):
            calls.append(Call(name, kind_of(module), module, y, figures_of(y, kind_of(module))))

    with ExitStack() as hooks:
        for module in names:
            hooks.enter_context(_hook(module.register_forward_pre_hook(enter)))
            hooks.enter_context(_hook(module.register_forward_hook(leave, always_call=False)))
        hooks.enter_context(_Activations(calls, stack, names))
        yield calls


@contextmanager
def _hook(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


class _Activations(TorchFunctionMode):
    """Notes activations that are called as functions; those that are modules call the same functions."""

    def __init__(self, calls: list[Call], stack: list[str], names: dict[nn.Module, str]) -> None:
        super().__init__()
        self.calls, self.stack = calls, stack
        self.dedicated = {name for module, name in names.items() if _is_activation(module)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        said = getattr(func, "__name__", "")
        name = _SAME.get(said, said)
        given = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("input")
        if name not in ACTIVATIONS or not isinstance(given, Tensor) or not given.is_floating_point():
            return func(*args, **kwargs)
        made = func(*args, **kwargs)
        if isinstance(made, Tensor):
            place = self.stack[-1]
            label = place if place in self.dedicated and place else f"{place}.{name}".lstrip(".")
            axis = _axis(args, kwargs, made) if name in ("softmax", "log_softmax", "softmin") else None
            self.calls.append(Call(label, name, None, made, figures_of(made, name), axis))
        return made


@torch.no_grad()
def figures_of(made: Tensor, kind: str) -> Tensor:
    """(5,) mean and deviation of (N, …) numbers; the shares that are 0, of units 0 for all samples, in flat ends.

    A unit is a channel of images (N, C, H, W), else a column of the last axis.
    """
    x = made.detach()
    x = x.float() if x.is_floating_point() else x.new_zeros((), dtype=torch.float32)
    if not x.numel() or x.ndim < 2:
        x = x.reshape(-1, 1) if x.numel() else x.new_zeros((1, 1))
    silent = x == 0
    units = silent.all((0, 2, 3)) if x.ndim == 4 else silent.all(tuple(range(x.ndim - 1)))
    match kind:
        case "sigmoid" | "hardsigmoid":
            flat = (x - 0.5).abs() > 0.49
        case "tanh" | "hardtanh" | "softsign":
            flat = x.abs() > 0.98
        case _:
            flat = silent.new_zeros(())
    return torch.stack([x.mean(), x.std(correction=0), *map(_share, (silent, units, flat))])


def _share(true: Tensor) -> Tensor:
    """0-d float32: of truth values, without a copy of them as numbers."""
    return true.count_nonzero().float() / true.numel()


def _axis(args: Any, kwargs: Any, made: Tensor) -> int | None:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if axis is None:
        axis = 0 if made.ndim in (0, 1, 3) else 1  # as torch guesses
    return int(axis) % max(1, made.ndim)


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == "torch.nn.modules.activation"


def first_tensor_of(value: Any) -> Tensor | None:
    """The first tensor in whatever a module takes or gives."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return next((t for t in map(first_tensor_of, value) if t is not None), None)
    return None


def last_operation(calls: list[Call], output: Tensor) -> tuple[str, int]:
    """Which operation made the output, and the axis of a softmax: "linear" where it is none that bounds it.

    Looks through changes of shape. Args: the calls of one forward pass, and what it gave.
    """
    for call in reversed(calls):
        if call.made is output or _same_numbers(call.made, output):
            return call.kind, 1 if call.axis is None else call.axis
    name = type(output.grad_fn).__name__.removesuffix("Backward0").lower() if output.grad_fn is not None else ""
    return (name if name in ACTIVATIONS else "linear" if not name or name in ("addmm", "mm") else ""), 1


def _same_numbers(made: Tensor, output: Tensor) -> bool:
    """Views of one memory with the same number of elements."""
    return (
        made.numel() == output.numel()
        and made.dtype == output.dtype
        and made.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()
    )


def without_dropout(model: nn.Module) -> Callable[[], None]:
    """Puts the model into training mode, but leaves nothing out of it; returns what puts the modes back."""
    modes = {m: m.training for m in model.modules()}
    model.train()
    for module in modes:
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()

    def back() -> None:
        for module, training in modes.items():
            module.training = training

    return back
