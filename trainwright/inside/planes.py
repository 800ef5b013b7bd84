"""What each number of a layer comes to everywhere on the plane of a network's two inputs: its own map of the plane."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainwright.inside.told import scale_of
from trainwright.runs.inspect.graph import Node
from trainwright.runs.inspect.samples import points
from trainwright.runs.inspect.taken import Taken

MOST = 256  # numbers of a tensor that are told
FINE, COARSE, FEW = 48, 24, 64  # places of a side; the finer map where the numbers are few
_LARGEST = 4096  # numbers of a tensor of one sample, above which nothing is told
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5  # float32 sums in another order


def maps(taken: Taken, number: int, low: Sequence[float], high: Sequence[float]) -> tuple[dict[str, Any] | None, bytes]:
    """The maps of a tensor's numbers as a head and float32 (numbers, side, side), rows from the bottom.

    The operations of the step are done again for every place, and for the sample itself: where that does not come to
    the numbers of the step, or something cannot be done again, nothing is told (None). Nor is it where the network
    looked at the sample's numbers to decide what it does: elsewhere it may do something else.

    Args:
        taken: the step.
        number: of the tensor.
        low: corner of the plane.
        high: the opposite one.
    """
    node = taken.graph.nodes[number]
    side = FINE if node.value.numel() <= FEW else COARSE
    found = _everywhere(taken, node, points(low, high, side))
    if found is None:
        return None, b""
    told = found[:, :MOST].T.reshape(-1, side, side).contiguous()
    head = {"side": side, "count": len(told), "of": node.value.numel(), "scale": scale_of(told)}
    return head, told.numpy().astype("<f4").tobytes()


def _everywhere(taken: Taken, node: Node, places: Tensor) -> Tensor | None:
    """(P, cells) the tensor at each place."""
    needed = _before(taken, node)
    given = [n for n in needed if n.kind == "data"]
    branches = taken.graph.branches
    if node.kind != "value" or len(given) != 1 or given[0].value.numel() != 2:
        return None
    if branches is not None and node.number >= branches:
        return None
    sample = given[0].value.reshape(1, 2)
    known = {given[0].number: torch.cat([places, sample]).reshape(-1, *given[0].value.shape)}
    for each in needed:
        if each.kind != "value" or not any(o.node in known for o in each.operands):
            continue
        made = _again(taken, each, known) if each.value.numel() <= _LARGEST else None
        if made is None or not torch.allclose(made[-1], each.value, _RELATIVE, _ABSOLUTE, equal_nan=True):
            return None
        known[each.number] = made
    return known[node.number][:-1].reshape(len(places), -1) if node.number in known else None


def _before(taken: Taken, node: Node) -> list[Node]:
    """The tensors that one was made of, and itself, in order."""
    keep, todo = {node.number}, [node]
    while todo:
        more = {o.node for o in todo.pop().operands} - keep
        keep |= more
        todo += [taken.graph.nodes[n] for n in more]
    return [n for n in taken.graph.nodes if n.number in keep]


def _again(taken: Taken, node: Node, known: Mapping[int, Tensor]) -> Tensor | None:
    """(P, shape) an operation for every place at once; None where it cannot be done again."""
    if node.run is None:
        return None
    run: Callable[..., Tensor] = node.run

    def one(*values: Tensor) -> Tensor:
        return run(*(o.of(v) for o, v in zip(node.operands, values, strict=True))).reshape(node.value.shape)

    values = [known.get(o.node, taken.graph.nodes[o.node].value) for o in node.operands]
    axes = tuple(0 if o.node in known else None for o in node.operands)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operations that are done place by place
            made: Tensor = torch.vmap(one, in_dims=axes)(*values)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    return made
