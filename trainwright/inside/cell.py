"""A cell and what it was made of: terms, and the numbers around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainwright.runs.inspect.graph import Graph, Node

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """A product of cells, or one cell."""

    cells: tuple[tuple[int, int], ...]  # (node, flat cell) of each factor; (-1, -1) is a number that no tensor holds
    numbers: Numbers  # the factors
    value: float  # what it adds


@dataclass(slots=True)
class Worked:
    """How a number comes about, in float64 from the float32 numbers that the network had."""

    formula: str
    value: float  # as the network has it
    again: float  # as the terms come to; NaN where no arithmetic is told
    terms: list[Term] = field(default_factory=list)
    steps: list[tuple[str, float]] = field(default_factory=list)  # what is added, in words, and how much; in order


class Cell:
    """A cell of a node, and its operation's operands around it.

    Args:
        graph: of the step.
        node: what an operation made.
        flat: the cell.
    """

    def __init__(self, graph: Graph, node: Node, flat: int) -> None:
        self.graph, self.node, self.flat = graph, node, flat
        self.shape = tuple(node.value.shape)
        self.at = unraveled(flat, self.shape)
        self.value = float(node.value.reshape(-1)[flat])

    def shape_of(self, operand: int) -> tuple[int, ...]:
        """Of an operand."""
        return self.node.operands[operand].shape

    def numbered(self, operand: int) -> Tensor:
        """The flat positions of an operand, in its shape."""
        shape = self.shape_of(operand)
        return torch.arange(math.prod(shape)).reshape(shape)

    def beside(self, operand: int) -> int:
        """The position of an operand that stands where the cell stands, after broadcasting."""
        shape = self.shape_of(operand)
        own = self.at[len(self.at) - len(shape) :]
        return raveled([0 if n == 1 else i for i, n in zip(own, shape, strict=True)], shape)

    def read(self, operand: int, positions: Tensor | Sequence[int]) -> tuple[list[tuple[int, int]], list[float]]:
        """Node and cell, and the number, of positions of an operand; -1 is a zero beside it."""
        of = self.node.operands[operand]
        where = torch.as_tensor(positions, dtype=torch.int64).reshape(-1)
        cells = where if of.cells is None else of.cells.reshape(-1)[where.clamp_min(0)].masked_fill(where < 0, -1)
        found = self.graph.nodes[of.node].value.reshape(-1)[cells.clamp_min(0)].double().masked_fill(cells < 0, 0.0)
        return [(of.node if c >= 0 else -1, c) for c in cells.tolist()], found.tolist()

    def one(self, operand: int, position: int) -> Term:
        """A cell as a term."""
        (cell,), (number,) = self.read(operand, [position])
        return Term((cell,), (number,), number)

    def products(self, a: int, at: Tensor | range, b: int, bt: Tensor | range, scale: float = 1.0) -> list[Term]:
        """The products of positions of two operands, one by one."""
        ca, na = self.read(a, torch.as_tensor(list(at) if isinstance(at, range) else at))
        cb, nb = self.read(b, torch.as_tensor(list(bt) if isinstance(bt, range) else bt))
        return [
            Term((x, y), (p, q), p * q * scale)
            for x, y, p, q in zip(ca, cb, na, nb, strict=True)
            if x[0] >= 0 and y[0] >= 0
        ]

    def told(self, formula: str, again: float, terms: list[Term], steps: list[tuple[str, float]]) -> Worked:
        """The answer."""
        return Worked(formula, self.value, again, terms, steps)


Rule = Callable[[Cell], Worked]
"""Of one operation: how a cell of what it made came about."""


def total(terms: Sequence[Term]) -> float:
    """What terms add up to."""
    return math.fsum(t.value for t in terms)


def products(cell: Cell, pairs: list[tuple[Term, Term]], formula: str) -> Worked:
    """A sum of products of two cells each."""
    terms = [Term((*a.cells, *b.cells), (a.value, b.value), a.value * b.value) for a, b in pairs]
    return cell.told(formula, total(terms), terms, [])


def unraveled(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The place of a flat cell."""
    out = []
    for n in reversed(shape):
        flat, i = divmod(flat, n)
        out.append(i)
    return tuple(reversed(out))


def raveled(at: Sequence[int], shape: Sequence[int]) -> int:
    """The flat cell of a place."""
    flat = 0
    for i, n in zip(at, shape, strict=True):
        flat = flat * n + i
    return flat
