"""Torch's optimizers and backward pass without what torch puts around them.

Around every `step` of an optimizer are a mark for profilers, a look at hooks, and two graph breaks for a compiler: 20
to 45 µs of a small step, and with the first of them `torch._dynamo`, a second and more of a short training. Making one
and reading its state loads it as well, and a backward pass that begins with a gradient loads `sympy`. Where nobody
compiles or profiles, what they wrap does the same alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import graph
from torch.optim import Optimizer
from torch.optim import optimizer as theirs

from trainwright.engine.direct import stepped

_GUARDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")  # of `Optimizer`, kept from a compiler
_BACKWARD = torch.autograd.backward  # as it was loaded: who listens to a loss puts another in its place
_ENGINE: Callable[..., Any] | None = getattr(graph, "_engine_run_backward", None)
_MARK = "__dynamo_disable"  # under which torch keeps what a compiler made of them


def step(optimizer: Optimizer) -> None:
    """`Optimizer.step`; its hooks are called, and whatever was put in its place is."""
    kind: Any = type(optimizer)
    within, bare = _within(kind)
    if within is None or _watched(optimizer):
        optimizer.step()
        return
    args: tuple[Any, ...] = (optimizer,)
    named: dict[str, Any] = {}
    if theirs._global_optimizer_pre_hooks or optimizer._optimizer_step_pre_hooks:
        for hook in (*theirs._global_optimizer_pre_hooks.values(), *optimizer._optimizer_step_pre_hooks.values()):
            if (changed := hook(optimizer, args, named)) is not None:
                args, named = changed
    if bare:
        before = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # as `no_grad`, without its 10 µs
        try:
            if args != (optimizer,) or named or not stepped(optimizer):
                within(*args, **named)
        finally:
            torch._C._set_grad_enabled(before)
    else:
        within(*args, **named)
    if theirs._global_optimizer_post_hooks or optimizer._optimizer_step_post_hooks:
        for hook in (*optimizer._optimizer_step_post_hooks.values(), *theirs._global_optimizer_post_hooks.values()):
            hook(optimizer, args, named)


def backward(loss: Tensor, begin: Tensor) -> None:
    """`torch.autograd.backward` of a tensor from a gradient of its shape, type and device."""
    if _ENGINE is None or torch.autograd.backward is not _BACKWARD or type(loss) is not Tensor:
        torch.autograd.backward(loss, begin)
    else:
        _ENGINE((loss,), (begin,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def _watched(optimizer: Optimizer) -> bool:
    """Whether somebody would notice that it is not called as usual."""
    return bool(
        "step" in optimizer.__dict__  # wrapped, as schedulers of torch do, or compiled
        or optimizer.defaults.get("differentiable")
        or torch._C._autograd._profiler_enabled()
    )


@cache
def _within(kind: Any) -> tuple[Callable[..., Any] | None, bool]:
    """The step as its author wrote it, and whether gradients must be switched off around it; None where that is hidden.

    Torch wraps the step of every class when the first optimizer of it is made, and most of its own once more.
    """
    if (written := _unwrapped(kind.step, "Optimizer.profile_hook_step")) is None:
        return None, False
    inner = _unwrapped(written, "_use_grad_for_differentiable")
    return (written, False) if inner is None else (inner, True)


def _unwrapped(function: Any, wrapper: str) -> Any:
    """What a function wraps, where it was made by ``wrapper`` of torch's optimizers; else None."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_filename != theirs.__file__ or not code.co_qualname.startswith(f"{wrapper}.<locals>"):
        return None
    return getattr(function, "__wrapped__", None)


@contextmanager
def no_compiler() -> Iterator[None]:
    """In the block, making, reading and loading an optimizer does not load a compiler that nobody has asked for."""
    if "torch._dynamo" in sys.modules:
        yield
        return
    found = [getattr(getattr(Optimizer, name), "__wrapped__", None) for name in _GUARDED]
    marked = [f for f in found if f is not None and not hasattr(f, _MARK)]
    for function in marked:
        setattr(function, _MARK, function)
    try:
        yield
    finally:
        for function in marked:
            delattr(function, _MARK)
