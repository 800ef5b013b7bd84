"""Steps that were taken aside as a file: safetensors with every number once, and what they are as JSON in its head."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.engine import checkpoint, tensorfile
from trainwright.runs.directory import CHECKPOINTS, owner, spelled
from trainwright.runs.inspect.graph import Graph, Node, Operand
from trainwright.runs.inspect.taken import Moved, Taken

FORMAT = 1
LARGEST = 256 << 20  # bytes of a file that is read
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Captured:
    """The step that one sample alone would have made."""

    taken: Taken
    told: Mapping[str, Any]  # what a person knows of the sample


@dataclass(slots=True)
class _Store:
    """Tensors by name; one that several refer to is kept once."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    named: dict[int, str] = field(default_factory=dict)  # by identity
    alive: list[Tensor] = field(default_factory=list)  # so that no identity is given twice

    def keep(self, x: Tensor | None, name: str = "") -> str | None:
        """The name under which a tensor lies; what has a name of its own is taken for the same wherever it occurs."""
        if x is None:
            return None
        if name and name in self.tensors:
            return name
        if not name and id(x) in self.named:
            return self.named[id(x)]
        name = name or str(len(self.tensors))
        self.named[id(x)] = name
        self.alive.append(x)
        kept = x.detach().cpu().contiguous()
        kept = kept.clone(memory_format=torch.contiguous_format) if kept.numel() == 1 else kept  # of any stride
        self.tensors[name] = kept.to(torch.int32) if kept.dtype == torch.int64 else kept  # numbers of cells
        return name


def written(captures: Sequence[Captured], facts: Mapping[str, Any]) -> list[bytes | memoryview]:
    """The content of a file with steps from one state: their weights, and what the optimizer remembers, lie there once.

    Weights of a step that is `light` are left out: they lie in the run's checkpoint of that step.

    Args:
        captures: the steps.
        facts: JSON about all of them.
    """
    store = _Store()
    samples = [_sample(capture, store) for capture in captures]
    text = json.dumps(spelled({"format": FORMAT, **facts, "samples": samples}), allow_nan=False)
    return list(tensorfile.pieces(store.tensors, {"captured": text}))


def _sample(capture: Captured, store: _Store) -> dict[str, Any]:
    taken = capture.taken
    number = {node.number: i for i, node in enumerate(taken.shown)}
    moved = {number[n]: m for n, m in taken.moved.items() if n in number}
    branches = taken.graph.branches
    return {
        "branches": None if branches is None else sum(n < branches for n in number),
        "told": dict(capture.told),
        "loss": taken.loss, "after": taken.after, "norm": taken.norm, "finite": taken.finite, "light": taken.light,
        "difference": taken.difference, "optimizer": taken.optimizer,
        "nodes": [_node(node, number, store, taken.light) for node in taken.shown],
        "moved": {str(n): _moved(m, taken.shown[n], store) for n, m in moved.items()},
    }  # fmt: skip


def _node(node: Node, number: Mapping[int, int], store: _Store, light: bool) -> dict[str, Any]:
    weight = node.kind == "weight"
    return {
        "kind": node.kind, "op": node.op, "name": node.name,
        "value": None if light and weight else store.keep(node.value, f"weight.{node.name}" if weight else ""),
        "gradient": store.keep(node.gradient), "change": store.keep(node.change),
        "operands": [
            [number[o.node], list(o.shape), store.keep(o.cells), o.whole and str(o.whole).split(".")[1]]
            for o in node.operands
        ],
        "options": {k: _option(v, store) for k, v in node.options.items()},
    }  # fmt: skip


def _option(value: Any, store: _Store) -> Any:
    if isinstance(value, Tensor):
        return {"tensor": store.keep(value)}
    if isinstance(value, list | tuple):
        return [_option(v, store) for v in value]
    if not isinstance(value, _PLAIN):
        raise TypeError(f"an option of an operation is a {type(value).__name__}")
    return value


def _moved(moved: Moved, node: Node, store: _Store) -> dict[str, Any]:
    """What the optimizer did to a weight; options of a group that are no numbers are left out."""
    clipped, gradient = moved.clipped, node.gradient
    same = gradient is not None and torch.equal(clipped, gradient)
    return {
        "clipped": store.keep(gradient if same else clipped),
        "before": {k: store.keep(v, f"moment.{k}.{node.name}") for k, v in moved.before.items()},
        "options": {k: v for k, v in map(_of_group, moved.options.items()) if _is_plain(v)},
    }


def _of_group(item: tuple[str, Any]) -> tuple[str, Any]:
    key, value = item
    return key, float(value) if isinstance(value, Tensor) and value.numel() == 1 else value


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list | tuple) and all(map(_is_plain, value)))


class Stored:
    """A file of captures.

    Raises UserError where it is no such file, or one of a newer version.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        if path.stat().st_size > LARGEST:
            raise UserError(path.name, "is too large for a capture")
        try:
            with safe_open(path, framework="pt") as file:
                self.facts: dict[str, Any] = json.loads((file.metadata() or {})["captured"])
                self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            version = int(self.facts["format"])
        except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise UserError(path.name, f"is no capture: {type(error).__name__}") from error
        if version > FORMAT:
            raise UserError(path.name, f"is of format {version}, of a newer version of Trainwright")
        self.path, self.version = path, str(path.stat().st_mtime_ns)
        self._weights: Mapping[str, Tensor] | None = None

    @property
    def light(self) -> bool:
        """Whether the weights are those of the run's checkpoint, and were not moved."""
        return any(sample["light"] for sample in self.facts["samples"])

    def __len__(self) -> int:
        return len(self.facts["samples"])

    def read(self, index: int) -> Captured:
        """One of the steps; UserError where the file contradicts itself.

        Operations cannot be done again: ``run`` of every node is None.
        """
        try:
            found = self.facts["samples"][index]
            return Captured(self._taken(found), found["told"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(self.path.name, f"is no whole capture: {type(error).__name__}: {error}") from error

    def _taken(self, found: Mapping[str, Any]) -> Taken:
        nodes = [self._node(i, n) for i, n in enumerate(found["nodes"])]
        for node in nodes:
            self._must_fit(node, nodes)
        branches = found.get("branches")
        return Taken(
            Graph(nodes, None if branches is None else int(branches)), nodes,
            Batch({}, {}, torch.tensor(1.0), torch.zeros(1, dtype=torch.int64), 1),
            float(found["loss"]), float(found["norm"]), bool(found["finite"]), str(found["optimizer"]),
            {int(n): self._moved(m) for n, m in found["moved"].items()}, bool(found["light"]),
            float(found["difference"]), float(found["after"]),
        )  # fmt: skip

    def _node(self, number: int, told: Mapping[str, Any]) -> Node:
        operands = [
            Operand(int(n), tuple(shape), self._cells(cells), getattr(torch, whole) if whole else None)
            for n, shape, cells, whole in told["operands"]
        ]
        options = {k: self._option(v) for k, v in told["options"].items()}
        value = self._weight(told["name"]) if told["value"] is None else self.tensors[told["value"]]
        node = Node(number, told["kind"], told["op"], told["name"], value, tuple(operands), options)
        node.gradient, node.change = (self.tensors[told[k]] if told[k] else None for k in ("gradient", "change"))
        return node

    def _weight(self, name: str) -> Tensor:
        """A weight of the run's checkpoint of that step."""
        if self._weights is None:
            run = self.path.parent.parent
            kept = checkpoint.at(run / CHECKPOINTS, int(self.facts["step"]))
            self._weights = checkpoint.load_part(kept, "model", owner(run))
        return self._weights[name].float()

    def _must_fit(self, node: Node, nodes: list[Node]) -> None:
        """Every operand lies within its node: what is read later must not reach beyond."""
        for operand in node.operands:
            size = nodes[operand.node].value.numel()
            shape = torch.Size(operand.shape)
            fits = size == shape.numel() if operand.cells is None else tuple(operand.cells.shape) == tuple(shape)
            if operand.cells is not None and operand.cells.numel():
                fits = fits and int(operand.cells.min()) >= -1 and int(operand.cells.max()) < size
            if operand.node < 0 or not fits:
                raise ValueError(f"node {node.number} reads what is not there")

    def _cells(self, name: str | None) -> Tensor | None:
        return None if name is None else self.tensors[name].to(torch.int64)

    def _moved(self, told: Mapping[str, Any]) -> Moved:
        before = {k: self.tensors[name] for k, name in told["before"].items()}
        return Moved(self.tensors[told["clipped"]], before, {k: self._option(v) for k, v in told["options"].items()})

    def _option(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.tensors[value["tensor"]]
        if isinstance(value, list):
            return [self._option(v) for v in value]
        return float(value) if value in ("NaN", "Infinity", "-Infinity") else value
