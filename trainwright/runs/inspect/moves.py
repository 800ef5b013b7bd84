"""Functions that move numbers and change none: where each cell goes is found by moving their numbers instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainwright.runs.inspect.graph import NOTHING

KEEP_ORDER = frozenset(
    ("view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "contiguous", "clone", "detach", "to", "float",
     "double", "view_as", "reshape_as", "type_as", "type", "cpu", "long", "int")
)  # fmt: skip
MOVES = KEEP_ORDER | frozenset(
    ("transpose", "permute", "t", "T", "mT", "expand", "expand_as", "chunk", "split", "split_with_sizes",
     "tensor_split", "unbind", "narrow", "select", "__getitem__", "roll", "flip", "repeat", "repeat_interleave",
     "movedim", "swapaxes", "index_select", "gather", "pad", "_pack_padded_sequence", "_pad_packed_sequence")
)  # fmt: skip
_PLAIN = ("to", "float", "double", "type_as", "type", "cpu", "long", "int", "detach", "contiguous", "clone")


def name_of(func: Any) -> str:
    """``linear``; of an attribute that is asked for, ``T``."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return str(name)


def moves(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a call moves numbers only: padding with a number of its own is none."""
    value = args[3] if len(args) > 3 else kwargs.get("value")
    return name in MOVES and (name != "pad" or value in (None, 0))


def again(func: Any, name: str, args: Any, kwargs: Any, where: Tensor) -> Any:
    """The same move, of the numbers of the cells."""
    if name in _PLAIN:
        return where
    if name == "pad":
        sides = args[1] if len(args) > 1 else kwargs["pad"]
        mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
        if mode == "constant":
            return F.pad(where, sides, value=NOTHING)
        return F.pad(where.double(), sides, mode=mode).long()  # edges are repeated; torch does so with fractions alone
    if name == "_pad_packed_sequence":
        _, sizes, first, _, total = args
        return torch._C._VariableFunctions._pad_packed_sequence(where, sizes, first, NOTHING, total)
    if "input" in kwargs and not args:
        return func(**{**kwargs, "input": where})
    return func(where, *args[1:], **kwargs)


def tensors(value: Any) -> list[Tensor]:
    """All tensors in whatever a function takes or gives, in order."""
    return list(_tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _tensors(inner)


def swapped(value: Any, swap: dict[int, Tensor]) -> Any:
    """The same with other tensors, by the identity of the old ones."""
    if isinstance(value, Tensor):
        return swap.get(id(value), value)
    if isinstance(value, dict):
        return {k: swapped(v, swap) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(swapped(v, swap) for v in value)
    return value
