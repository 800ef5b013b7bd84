"""What a step leaves to look at: tensors, what each was computed from, their gradients and changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

Kind: TypeAlias = Literal["weight", "data", "constant", "value"]
What: TypeAlias = Literal["value", "gradient", "change"]
NOTHING = -1  # in place of a cell: a zero that no tensor holds, such as padding


@dataclass(frozen=True, slots=True)
class Operand:
    """What an operation reads: the cells of a node, moved but not changed.

    Reshaping, cutting, transposing and the like compute nothing, so they are no nodes: they say where a cell
    comes from.
    """

    node: int
    shape: tuple[int, ...]
    cells: Tensor | None = None  # int64 of that shape: the node's cells by their flat number; None: as they lie
    whole: torch.dtype | None = None  # of numbers of classes and tokens, and of truth values

    def at(self, flat: int) -> int:
        """The cell of the node behind a flat position of the operand."""
        return flat if self.cells is None else int(self.cells.reshape(-1)[flat])

    def of(self, value: Tensor) -> Tensor:
        """The operand's numbers, from the node's."""
        found = value.reshape(self.shape) if self.cells is None else value.reshape(-1)[self.cells.clamp_min(0)]
        if self.cells is not None:
            found = torch.where(self.cells < 0, found.new_zeros(()), found)
        return found if self.whole is None else found.to(self.whole)


@dataclass(slots=True)
class Node:
    """A tensor of the step: a weight, the data, or what an operation made."""

    number: int
    kind: Kind
    op: str  # "linear"; of a weight "weight"
    name: str  # of the weight, or of the module that computed it
    value: Tensor  # float32; before the update
    operands: tuple[Operand, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)  # of the operation; see `worked`
    run: Callable[..., Tensor] | None = None  # the operation again, from its operands
    slopes: list[Tensor | None] = field(default_factory=list)  # gradients of its rows as they come; then none
    gradient: Tensor | None = None  # of the loss, in the value's shape
    change: Tensor | None = None  # of a weight, by the update

    def numbers(self, what: What) -> Tensor | None:
        """One of the three tensors."""
        return {"value": self.value, "gradient": self.gradient, "change": self.change}[what]


@dataclass(slots=True)
class Graph:
    """All nodes, in the order in which they came; the last one is the loss."""

    nodes: list[Node] = field(default_factory=list)
    branches: int | None = None  # the first node that other data may make in another way; None where all go one way

    def readers(self, number: int) -> list[Node]:
        """The nodes that read a node."""
        return [n for n in self.nodes if any(o.node == number for o in n.operands)]

    def needed(self) -> list[Node]:
        """The nodes that the last one depends on, and itself, in order."""
        keep, todo = {self.nodes[-1].number}, [self.nodes[-1]]
        while todo:
            for operand in todo.pop().operands:
                if operand.node not in keep:
                    keep.add(operand.node)
                    todo.append(self.nodes[operand.node])
        return [n for n in self.nodes if n.number in keep]

    def settle(self) -> None:
        """Keep the gradients of the backward pass, and let its graph go."""
        for node in self.nodes:
            kept = [g.detach().float().clone() for g in node.slopes if g is not None]
            if kept and len(kept) == len(node.slopes):
                node.gradient = (kept[0] if len(kept) == 1 else torch.cat(kept)).reshape(node.value.shape)
            node.slopes = []
