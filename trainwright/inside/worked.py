"""The exact arithmetic that made a cell: which cells it was made of, term by term, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainwright.inside.cell import Cell, Term, Worked
from trainwright.inside.rules import RULES
from trainwright.runs.inspect.graph import Graph, Node


def worked(graph: Graph, number: int, flat: int) -> Worked:
    """How the value of a cell was made."""
    node = graph.nodes[number]
    cell = Cell(graph, node, flat)
    if node.kind != "value":
        said = {"weight": "learned: the optimizer moves it", "data": "given by the data", "constant": "fixed"}
        return cell.told(said[node.kind], cell.value, [], [])
    rule = RULES.get(node.op)
    if rule is None:
        return cell.told(f"made by {node.op.removeprefix('other:')}, whose terms are not told", math.nan, [], [])
    return rule(cell)


def worked_gradient(graph: Graph, number: int, flat: int) -> Worked:
    """How the gradient of the loss by a cell comes about: what the cell feeds, and how much that moves the loss."""
    node = graph.nodes[number]
    if node.gradient is None:
        rests = "it rests, or the network is too large for it"
        why = rests if node.kind == "weight" else "nothing that learns lies before it"
        return Worked(f"no gradient: {why}", math.nan, math.nan)
    value = float(node.gradient.reshape(-1)[flat])
    readers = [n for n in graph.readers(number) if n.gradient is not None]
    if not readers:
        return Worked("the loss moves as itself: 1", value, 1.0)
    terms: list[Term] = []
    steps = []
    for reader in readers:
        if reader.run is None:
            return Worked("its terms are told where the network itself is at hand", value, math.nan)
        try:
            found = _through(graph, node, flat, reader)
        except NotImplementedError:
            why = f"torch knows no second derivative of {name_of(reader)}: its terms are not told"
            return Worked(why, value, math.nan)
        terms += found
        steps.append((f"through {len(found):,} of {name_of(reader)}", math.fsum(t.value for t in found)))
    again = math.fsum(t.value for t in terms)
    return Worked("Σ gradient of what it feeds · how that moves with it", value, again, terms, steps)


def _through(graph: Graph, node: Node, flat: int, reader: Node) -> list[Term]:
    """Of each cell of a reader that moves with a cell: its gradient times its slope."""
    slopes = _slopes(graph, node, flat, reader).reshape(-1)
    assert reader.gradient is not None
    moved = slopes.nonzero().reshape(-1)
    gradients = reader.gradient.reshape(-1)[moved].double().tolist()
    return [
        Term(((reader.number, o), (-1, -1)), (g, s), g * s)
        for o, g, s in zip(moved.tolist(), gradients, slopes[moved].double().tolist(), strict=True)
    ]


def _slopes(graph: Graph, node: Node, flat: int, reader: Node) -> Tensor:
    """How every cell of a reader moves with one cell of a node: the derivative forwards, exact to float32."""
    given = [_operand(graph, reader, i) for i in range(len(reader.operands))]
    moving = [i for i, o in enumerate(reader.operands) if o.node == node.number and given[i].is_floating_point()]
    tangents = []
    for i in moving:
        operand = reader.operands[i]
        if operand.cells is None:
            tangent = torch.zeros(math.prod(operand.shape))
            tangent[flat] = 1.0
            tangents.append(tangent.reshape(operand.shape))
        else:
            tangents.append((operand.cells == flat).float())

    def partly(*some: Tensor) -> Tensor:
        assert reader.run is not None
        whole = list(given)
        for i, x in zip(moving, some, strict=True):
            whole[i] = x
        return reader.run(*whole)

    return _forwards(partly, [given[i] for i in moving], tangents)


def _forwards(function: Callable[..., Tensor], given: Sequence[Tensor], tangents: Sequence[Tensor]) -> Tensor:
    """The derivative of a function along tangents, by going backwards twice.

    The way back is linear in what is sent back; its own derivative by that is the way forwards. Torch's forward mode
    does the same and loads a compiler first.
    """
    with torch.enable_grad():
        leaves = [x.detach().clone().requires_grad_() for x in given]
        made = function(*leaves)
        sent = torch.zeros_like(made, requires_grad=True)
        back = torch.autograd.grad(made, leaves, sent, create_graph=True, allow_unused=True)
        pairs = [(b, t) for b, t in zip(back, tangents, strict=True) if b is not None and b.requires_grad]
        if not pairs:
            return torch.zeros_like(made).detach()
        found = torch.autograd.grad([b for b, _ in pairs], sent, [t for _, t in pairs], allow_unused=True)[0]
    return torch.zeros_like(made).detach() if found is None else found


def _operand(graph: Graph, reader: Node, at: int) -> Tensor:
    """An operand as the operation takes it."""
    operand = reader.operands[at]
    value = operand.of(graph.nodes[operand.node].value)
    return value.nan_to_num() if value.is_floating_point() else value


def name_of(node: Node) -> str:
    """A node for a person: what it is and where."""
    op = node.op.removeprefix("other:").replace(":", " ").replace("_", " ")
    return f"{op} ({node.name})" if node.name else op
