"""A step as plain data, for a page that draws it: what there is, the numbers, and the arithmetic of a cell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.inside.cell import Worked, raveled, unraveled
from trainwright.inside.change import worked_change
from trainwright.inside.words import block_of, title_of, words_of
from trainwright.inside.worked import worked, worked_gradient
from trainwright.runs.inspect.graph import Node, What
from trainwright.runs.inspect.taken import Taken

WHOLE = 1 << 16  # cells of a tensor that are told one by one; of a larger one, the strongest of each tile
FEW = 1 << 12  # likewise, of a network that is told by summaries
TILES = 48  # a side of the tiled picture at most
EPSILON = torch.finfo(torch.float32).eps
_TERMS = 24  # of a sum, the largest ones
_LOSS = {
    "title": "the loss",
    "words": "How wrong the answer was, over all that counts: the number that training lowers.",
}
_COMPARED = {
    "cross_entropy": "logits", "binary_cross_entropy_with_logits": "logits",
    "mse_loss": "the answer", "l1_loss": "the answer",
}  # fmt: skip
Form = tuple[int, int, int]  # slabs, rows, columns


def graph_of(taken: Taken) -> dict[str, Any]:
    """What there is: each tensor with its form and what it was made of, in order."""
    answer, called = _answer(taken)
    maps = any(n.op == "conv" for n in taken.shown)
    return {
        "loss": taken.loss, "after": taken.after, "norm": taken.norm, "finite": taken.finite,
        "difference": taken.difference, "optimizer": taken.optimizer,
        "nodes": [
            {
                **_node(n, called if n.number == answer else "", maps),
                "tile": tiled(n, taken.light),
                **(_LOSS if n is taken.shown[-1] else {}),
            }
            for n in taken.shown
        ],
    }  # fmt: skip


def _node(node: Node, answer: str, maps: bool) -> dict[str, Any]:
    slabs, rows, columns = form_of(node)
    return {
        "id": node.number, "kind": node.kind, "op": node.op, "name": node.name,
        "title": title_of(node.op, node.name, answer if node.op == "linear" else ""), "words": words_of(node.op)[1],
        "block": block_of(node.name), "shape": list(node.value.shape), "slabs": slabs, "rows": rows, "cols": columns,
        "picture": maps and node.value.ndim == 4 and node.kind != "weight",
        "reads": list(dict.fromkeys(o.node for o in node.operands)),
        "gradient": node.gradient is not None, "change": node.change is not None,
    }  # fmt: skip


def _answer(taken: Taken) -> tuple[int, str]:
    """What the loss compares with the truth: its number, and what it is called; -1 where no such loss is known."""
    last = next((n for n in reversed(taken.shown) if n.op in _COMPARED), None)
    return (last.operands[0].node, _COMPARED[last.op]) if last is not None else (-1, "")


def form_of(node: Node) -> Form:
    """A tensor as slabs of rows and columns; axes of length 1 in front are left out."""
    shape = list(node.value.shape)
    while len(shape) > 2 and shape[0] == 1:
        shape.pop(0)
    if len(shape) < 2:
        return 1, 1, max(1, math.prod(shape))
    return math.prod(shape[:-2]), shape[-2], shape[-1]


def tiled(node: Node, light: bool) -> list[int] | None:
    """Rows and columns of a tile, of a tensor that is too large to be told cell by cell."""
    slabs, rows, columns = form_of(node)
    if slabs * rows * columns <= (FEW if light else WHOLE):
        return None
    side = max(1, int(TILES / math.sqrt(slabs)))
    return [-(-rows // side), -(-columns // side)]


def numbers_of(taken: Taken, what: What) -> Iterator[tuple[int, np.ndarray[Any, Any], float]]:
    """Of each tensor that has them: its number, its cells or tiles as float32, and a scale for its colours."""
    for node in taken.shown:
        found = node.numbers(what)
        if found is None:
            continue
        cells = found.reshape(form_of(node))
        tile = tiled(node, taken.light)
        told = cells if tile is None else strongest(cells, tile[0], tile[1])
        yield node.number, told.contiguous().numpy().astype("<f4"), scale_of(told)


def scale_of(cells: Tensor) -> float:
    """What is drawn in the full colour: what 99 in 100 numbers do not reach, so that one outlier hides nothing."""
    size = cells.reshape(-1).abs()
    size = size[size.isfinite()]
    if not size.numel():
        return 0.0
    if size.numel() > 1_000_000:
        size = size[:: size.numel() // 500_000]
    top = float(torch.quantile(size, 0.99)) if size.numel() > 64 else float(size.max())
    return top or float(size.max())


def strongest(cells: Tensor, high: int, wide: int) -> Tensor:
    """(S, R, C) -> (S, tiles down, tiles across), of each tile the number furthest from 0."""
    slabs, rows, columns = cells.shape
    down, across = -(-rows // high), -(-columns // wide)
    if rows % high or columns % wide:
        cells = torch.nn.functional.pad(cells, (0, across * wide - columns, 0, down * high - rows))
    lines = cells.reshape(slabs, down, high, across * wide)
    top = lines.amax(2).reshape(slabs, down, across, wide).amax(3)
    bottom = lines.amin(2).reshape(slabs, down, across, wide).amin(3)
    return torch.where(top >= -bottom, top, bottom)


def cell_of(taken: Taken, number: int, flat: int, what: What) -> dict[str, Any]:
    """A cell: where it is, its three numbers, and the arithmetic that made one of them."""
    node = taken.graph.nodes[number]
    match what:
        case "value":
            told = worked(taken.graph, number, flat)
        case "gradient":
            told = worked_gradient(taken.graph, number, flat)
        case _:
            told = worked_change(taken, number, flat)
    return {
        "node": number, "cell": flat, "at": list(unraveled(flat, node.value.shape)),
        "value": _number(node.value, flat), "gradient": _number(node.gradient, flat),
        "change": _number(node.change, flat), "what": what, "agrees": _agrees(told, node, flat, what), **_worked(told),
    }  # fmt: skip


def cell_at(taken: Taken, number: int, place: tuple[int, int, int], what: What) -> int:
    """The flat cell at a slab, row and column as they are drawn: of a tiled tensor the strongest of the tile."""
    node = taken.graph.nodes[number]
    form, tile = form_of(node), tiled(node, taken.light)
    if tile is None:
        return raveled(place, form)
    found = node.numbers(what)
    cells = (node.value if found is None else found).reshape(form)
    slab, row, column = place
    part = cells[slab, row * tile[0] : (row + 1) * tile[0], column * tile[1] : (column + 1) * tile[1]]
    best = int(part.abs().argmax())
    at = (slab, row * tile[0] + best // part.shape[1], column * tile[1] + best % part.shape[1])
    return raveled(at, form)


def _number(x: Tensor | None, flat: int) -> float | None:
    if x is None:
        return None
    return float(x.reshape(-1)[flat])


def _agrees(told: Worked, node: Node, flat: int, what: What) -> bool | None:
    """Whether the arithmetic comes to the number the network has, to float32's precision; None where none is told.

    Sums in float32 lose digits as their terms grow, and a change is known as well as the weight it was added to.
    """
    if math.isnan(told.again):
        return None
    size = max(abs(told.value), math.fsum(abs(t.value) for t in told.terms), *(abs(v) for _, v in told.steps), 1e-30)
    if what == "change":
        return abs(told.again - told.value) <= 1e-4 * abs(told.value) + 2 * EPSILON * abs(
            float(node.value.reshape(-1)[flat])
        )
    lost = 512 if what == "gradient" else 64  # a slope is itself a sum of which only the result is known here
    return abs(told.again - told.value) <= lost * EPSILON * size


def _worked(told: Worked) -> dict[str, Any]:
    """The largest terms in full, the others as one number: they add up to the same."""
    order = sorted(range(len(told.terms)), key=lambda i: -abs(told.terms[i].value))[:_TERMS]
    terms = [told.terms[i] for i in order]
    return {
        "formula": told.formula, "again": told.again, "of": len(told.terms),
        "terms": [{"cells": [list(c) for c in t.cells], "numbers": list(t.numbers), "value": t.value} for t in terms],
        "rest": math.fsum(t.value for i, t in enumerate(told.terms) if i not in set(order)),
        "steps": [[said, value] for said, value in told.steps],
    }  # fmt: skip
