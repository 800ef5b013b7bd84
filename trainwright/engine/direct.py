"""Torch's SGD, Adam and AdamW on a CPU in fewer calls: the same operations on the same numbers, to the last bit.

Torch goes through the weights one by one in Python, with up to ten operations for each, after it has looked at each for
what it may be besides an array of numbers: 15 to 20 µs a tensor. Here an operation takes a list of them, and what is
large is gone through in parts, so that what lies between two operations stays in the cache. Whatever is out of the
ordinary is left to torch. Source: `torch.optim.adam`, `torch.optim.sgd`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

_PART = 2**18  # numbers of a part for each thread; of smaller ones, more calls cost more than the cache saves
_ODD = ("amsgrad", "maximize", "capturable", "differentiable", "foreach")  # what a group may ask for besides
_NUMBERS = {float, int}
_CODES = {torch.float32: "f", torch.float64: "d"}  # of `array`
_KEPT = {SGD: ("momentum_buffer",), Adam: ("exp_avg", "exp_avg_sq", "step"), AdamW: ("exp_avg", "exp_avg_sq", "step")}
_NOTHING: dict[str, Any] = {}
_form = attrgetter("dtype", "layout", "is_cpu")  # of a tensor
_seen: WeakKeyDictionary[Optimizer, tuple[list[int], ...]] = WeakKeyDictionary()  # ids of columns that were ordinary
_GROUPS = 8  # of an optimizer that are remembered, less one

Group: TypeAlias = Mapping[str, Any]  # of an optimizer
Columns: TypeAlias = list[list[Tensor]]  # weights, their gradients, and what the optimizer keeps of them


def stepped(optimizer: Optimizer) -> bool:
    """Take the step of an optimizer, outside of gradients; False where it is left to torch, and nothing has changed."""
    kind = type(optimizer)
    if kind not in _KEPT or "grad_scale" in optimizer.__dict__ or "found_inf" in optimizer.__dict__:
        return False
    every: list[tuple[Group, Columns]] = []
    for group in optimizer.param_groups:
        for name in _ODD:
            if group.get(name):
                return False
        names = _KEPT[kind] if kind is not SGD or group["momentum"] else ()
        columns = _columns(optimizer, group["params"], names) if _plain(group) else None
        if columns is None:
            return False
        every.append((group, columns))
    move = _sgd if kind is SGD else _adam
    for asked, found in every:
        if found[0]:
            move(asked, found)
    return True


def _plain(group: Group) -> bool:
    """Whether rates and the like are numbers of Python."""
    found = [group["lr"], group["weight_decay"], group.get("momentum", 0), *group.get("betas", ())]
    return {*map(type, found)} <= _NUMBERS


def _columns(optimizer: Optimizer, params: Sequence[Tensor], names: Sequence[str]) -> Columns | None:
    """Of weights that have a gradient; None where one is out of the ordinary, or moves for the first time."""
    weights = [w for w in params if w.grad is not None]
    if not weights:
        return [[]]
    state: Mapping[Tensor, Any] = optimizer.state
    gradients: list[Any] = [w.grad for w in weights]
    kept = [state.get(w, _NOTHING) for w in weights] if names else []
    columns: list[Any] = [weights, *[[k.get(name) for k in kept] for name in names]]
    which = [*map(id, chain.from_iterable(columns))]  # to look at all of them anew would take as long as to move them
    seen = _seen.get(optimizer, ())
    if which not in seen:
        if not _ordinary(columns):
            return None
        _seen[optimizer] = (*seen[-_GROUPS:], which)
    if {*map(_form, gradients)} != {(weights[0].dtype, torch.strided, True)} or {*map(type, gradients)} != {Tensor}:
        return None
    return [weights, gradients, *columns[1:]]


def _ordinary(columns: list[Any]) -> bool:
    """Whether weights and what is kept of them are what the operations take them for."""
    weights, *kept = columns
    kind = weights[0].dtype
    return (
        kind in _CODES
        and {*map(_form, weights)} == {(kind, torch.strided, True)}
        and {*map(type, weights)} <= {nn.Parameter, Tensor}
        and all(type(x) is Tensor for column in kept for x in column)
        and all(x.dtype is kind for column in kept[:2] for x in column)
        and all(x.is_floating_point() for column in kept[2:] for x in column)
        # torch moves one weight after the other, which is something else where two of them are the same numbers
        and len({w.data_ptr() for w in weights}) == len(weights)
        and all(len({*map(id, column)}) == len(column) for column in kept)
    )


def _adam(group: Group, columns: Columns) -> None:
    """Of `Adam` and `AdamW`."""
    rate, eps, decay, (beta1, beta2) = group["lr"], group["eps"], group["weight_decay"], group["betas"]
    apart, kind, steps = group["decoupled_weight_decay"], columns[0][0].dtype, columns.pop()
    torch._foreach_add_(steps, _constant(1.0, torch.float32), alpha=1.0)
    if group["fused"]:
        weights, gradients, means, squares = columns
        move: Callable[..., Any] = torch._fused_adamw_ if apart else torch._fused_adam_
        move(
            weights, gradients, means, squares, [], steps, amsgrad=False, lr=rate, beta1=beta1, beta2=beta2,
            weight_decay=decay, eps=eps, maximize=False, grad_scale=None, found_inf=None,
        )  # fmt: skip
        return
    for step, part in _parts(columns, [step.item() for step in steps]):
        weights, gradients, means, squares = part
        size, root = rate / (1 - beta1**step), (1 - beta2**step) ** 0.5
        if decay and apart:
            torch._foreach_mul_(weights, _constant(1 - rate * decay, kind))
        elif decay:
            gradients = [*torch._foreach_add(gradients, weights, alpha=decay)]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, _constant(beta2, kind))
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        below = torch._foreach_sqrt(squares)
        torch._foreach_div_(below, _scalar(root, kind))
        torch._foreach_add_(below, _constant(eps, kind))
        torch._foreach_addcdiv_(weights, means, below, -size)


def _sgd(group: Group, columns: Columns) -> None:
    """Of `SGD`."""
    rate, decay, momentum = group["lr"], group["weight_decay"], group["momentum"]
    damped, nesterov, kind = group["dampening"], group["nesterov"], columns[0][0].dtype
    if group["fused"]:
        weights, gradients, *rest = columns
        torch._fused_sgd_(
            weights, gradients, rest[0] if rest else [], weight_decay=decay, momentum=momentum, lr=rate,
            dampening=damped, nesterov=nesterov, maximize=False, is_first_step=False, grad_scale=None, found_inf=None,
        )  # fmt: skip
        return
    for _, (weights, gradients, *rest) in _parts(columns, [0.0] * len(columns[0])):
        if decay:
            gradients = [*torch._foreach_add(gradients, weights, alpha=decay)]
        if momentum:
            buffers = rest[0]
            torch._foreach_mul_(buffers, _constant(momentum, kind))
            torch._foreach_add_(buffers, gradients, alpha=1 - damped)
            gradients = [*torch._foreach_add(gradients, buffers, alpha=momentum)] if nesterov else buffers
        torch._foreach_add_(weights, gradients, alpha=-rate)


def _parts(columns: Columns, steps: Sequence[float]) -> Iterator[tuple[float, list[Any]]]:
    """Columns of weights that have taken the same number of steps: of small ones, or of parts of a large one."""
    most = _PART * max(2, torch.get_num_threads())
    numbers = [w.numel() for w in columns[0]]
    if sum(numbers) <= most and len({*steps}) == 1:
        yield steps[0], columns
        return
    begin, held = 0, 0
    for i, row in enumerate(zip(*columns, strict=True)):
        if i > begin and (steps[i] != steps[begin] or held + numbers[i] > most):
            yield steps[begin], [column[begin:i] for column in columns]
            begin, held = i, 0
        held += numbers[i]
        if numbers[i] > most and all(x.is_contiguous() for x in row):
            for part in zip(*[x.view(-1).split(most) for x in row], strict=True):
                yield steps[i], [[x] for x in part]
            begin, held = i + 1, 0
    if begin < len(steps):
        yield steps[begin], [column[begin:] for column in columns]


def _scalar(x: float, kind: torch.dtype) -> Tensor:
    """0-d: an operation that gets a number of Python makes a tensor of it for each of a list anew."""
    return torch.frombuffer(array(_CODES[kind], (x,)), dtype=kind)[0]


@lru_cache(64)
def _constant(x: float, kind: torch.dtype) -> Tensor:
    """0-d: one that many steps use."""
    with torch.inference_mode(False):
        return torch.tensor(x, dtype=kind, device="cpu")
