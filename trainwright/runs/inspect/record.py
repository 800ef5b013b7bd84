"""Records a forward pass: each operation with what it read and what it made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainwright.runs.inspect import decomposed, moves
from trainwright.runs.inspect.calls import call_of
from trainwright.runs.inspect.graph import Graph, Kind, Node, Operand

_READ = ("item", "tolist", "numpy", "equal", "allclose", "__bool__", "__int__", "__float__", "__index__", "__array__")


class Recorder(TorchFunctionMode):
    """Watches the functions of torch while a model computes.

    Operations that are several in one (attention, recurrent cells) are taken apart, so that what is inside of them is
    kept too; that changes the last digits at most.

    Args:
        model: whose weights are called by their names.
        given: tensors of the batch, by name.
        light: weights are not copied and have no gradients; all between them has.
        until: the time (`perf_counter`) after which nothing is noted any more, but TimeoutError raised.
    """

    def __init__(
        self, model: nn.Module, given: Mapping[str, Tensor], *, light: bool = False, until: float = math.inf
    ) -> None:
        super().__init__()
        self.until = until
        self.graph = Graph()
        self.model, self.light = model, light
        self._named: dict[int, tuple[Kind, str]] = {id(b): ("constant", name) for name, b in model.named_buffers()}
        self._named |= {id(p): ("weight", name) for name, p in model.named_parameters()}
        self._named |= {id(t): ("data", name) for name, t in given.items()}
        self._known: dict[int, tuple[Tensor, int, Tensor | None]] = {}  # by identity: node and cells; kept alive so
        self._of_data: set[int] = set()  # nodes that depend on numbers of the batch
        self._stack: list[str] = [""]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record what is computed within the block."""
        names = {module: name for name, module in self.model.named_modules()}

        def enter(module: nn.Module, given: Any) -> None:
            self._stack.append(names.get(module, ""))

        def leave(module: nn.Module, given: Any, made: Any) -> None:
            if len(self._stack) > 1:
                self._stack.pop()

        with ExitStack() as hooks:
            for module in names:
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(leave).remove)
            hooks.enter_context(self)
            yield

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what was asked, and note what came of it."""
        kwargs, name = kwargs or {}, moves.name_of(func)
        if name in decomposed.WHOLE:
            made = decomposed.WHOLE[name](self, args, kwargs)
            if made is not None:
                return made
        if name == "dropout" and not _trains(args, kwargs):
            return args[0] if args else kwargs["input"]
        if moves.moves(name, args, kwargs):
            return self._moved(func, name, args, kwargs)
        if kwargs.get("inplace"):
            kwargs = {**kwargs, "inplace": False}
        before = self._about_to_change(name, args)
        made = func(*args, **kwargs)
        if self.graph.branches is None and self._decides(name, args, kwargs, made):
            self.graph.branches = len(self.graph.nodes)
        if before is not None and isinstance(made, Tensor):
            self._changed(name, args, kwargs, made, before)
        elif isinstance(made, tuple) and made and isinstance(made[0], Tensor) and name == "max":
            self._note(func, name, args, kwargs, made[0])
        elif (
            isinstance(made, Tensor)
            and made.is_floating_point()
            and not name.endswith("_like")
            and not name.startswith("new_")
        ):
            self._note(func, name, args, kwargs, made)
        return made

    def operand(self, x: Tensor) -> Operand:
        """What a tensor is: a node, or cells of one; a tensor that came from nowhere is a constant."""
        _, number, cells = self._origin(x)
        return Operand(number, tuple(x.shape), cells, None if x.is_floating_point() else x.dtype)

    def is_known(self, x: Any) -> bool:
        """Whether a tensor depends on weights or on numbers of the batch."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return False
        if id(x) in self._known:
            return self.graph.nodes[self._known[id(x)][1]].kind != "constant"
        return self._named.get(id(x), ("constant", ""))[0] != "constant"

    def node(
        self,
        op: str,
        made: Tensor,
        operands: Sequence[Operand],
        run: Callable[..., Tensor],
        options: Mapping[str, Any] | None = None,
        live: Sequence[Tensor] = (),
        shown: Tensor | None = None,
    ) -> Node:
        """Note a tensor that an operation made.

        Args:
            op: its name.
            made: the tensor that goes on.
            operands: that were read.
            run: gives ``made`` again, from tensors of the operands' shapes.
            options: of the operation.
            live: whose gradients are kept; ``made`` unless given.
            shown: the value to keep; that of ``made`` unless given.
        """
        if time.perf_counter() > self.until:
            raise TimeoutError("recording one sample takes too long")
        if self.light and not made.requires_grad and torch.is_grad_enabled():
            made.requires_grad_()  # the first that was made of weights that have no gradients themselves
        kept = (made if shown is None else shown).detach().float().clone()
        number = len(self.graph.nodes)
        found = Node(number, "value", op, self._stack[-1], kept, tuple(operands), options or {}, run)
        if any(o.node in self._of_data for o in operands):
            self._of_data.add(number)
        for tensor in list(live) or [made]:
            if tensor.requires_grad:
                found.slopes.append(None)
                tensor.register_hook(partial(_keep, found, len(found.slopes) - 1))
        self.graph.nodes.append(found)
        self.is_cells(made, number, None)
        return found

    def number_of(self, x: Tensor) -> int | None:
        """The node that a tensor is, where it was read."""
        return self._known[id(x)][1] if id(x) in self._known else None

    def is_cells(self, x: Tensor, number: int, cells: Tensor | None) -> None:
        """Say that a tensor holds cells of a node."""
        self._known[id(x)] = (x, number, cells)

    def _origin(self, x: Tensor) -> tuple[Tensor, int, Tensor | None]:
        if id(x) not in self._known:
            kind, name = self._named.get(id(x), ("constant", ""))
            number = len(self.graph.nodes)
            value = x.detach().float() if self.light else x.detach().float().clone()
            self.graph.nodes.append(Node(number, kind, kind, name, value))
            if kind == "data":
                self._of_data.add(number)
            self.is_cells(x, number, None)
        return self._known[id(x)]

    def _decides(self, name: str, args: Any, kwargs: Any, made: Any) -> bool:
        """Whether numbers of the batch become what is not followed: a number of Python's, a mask, a place, an order."""
        hidden = any(not t.is_floating_point() for t in moves.tensors(made))
        if not hidden and name not in _READ:
            return False
        given = [t for t in moves.tensors((args, kwargs)) if t.is_floating_point()]
        known = [self._known[id(t)][1] in self._of_data for t in given if id(t) in self._known]
        return any(known) or any(self._named.get(id(t), ("constant", ""))[0] == "data" for t in given)

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        made = func(*args, **kwargs)
        source = next((a for a in args if isinstance(a, Tensor)), kwargs.get("input"))
        if not isinstance(source, Tensor) or not (id(source) in self._known or id(source) in self._named):
            return made
        _, number, cells = self._origin(source)
        if name in moves.KEEP_ORDER and cells is None and isinstance(made, Tensor):
            if made is not source:
                self.is_cells(made, number, None)
            return made
        where = torch.arange(source.numel()).reshape(source.shape) if cells is None else cells
        for tensor, moved in zip(
            moves.tensors(made), moves.tensors(moves.again(func, name, args, kwargs, where)), strict=True
        ):
            if tensor is not source:
                self.is_cells(tensor, number, moved)
        return made

    def _note(self, func: Any, name: str, args: Any, kwargs: Any, made: Tensor) -> None:
        if not any(self.is_known(t) for t in moves.tensors((args, kwargs))):
            return
        call = call_of(name, args, kwargs, made)
        if call is not None and call.op == "addcmul" and self._turned(call.operands, made):
            return
        tensors = call.operands if call is not None else moves.tensors((args, kwargs))
        picked = list(tensors)
        operands = [self.operand(t) for t in picked]

        def run(*given: Tensor) -> Tensor:
            swap = {id(old): new for old, new in zip(picked, given, strict=True)}
            again: Tensor | tuple[Tensor, ...] = func(*moves.swapped(args, swap), **moves.swapped(kwargs, swap))
            return again[0] if isinstance(again, tuple) else again

        told: Callable[..., Tensor] = run
        if call is not None and call.op == "embedding_bag":
            told = partial(bagged, call.options["padding"])
        self.node(call.op if call else f"other:{name}", made, operands, told, call.options if call else {})

    def _about_to_change(self, name: str, args: Any) -> Operand | None:
        """What a tensor is that is going to be changed in place; None for any other call."""
        plain = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
        return self.operand(args[0]) if plain and args and self.is_known(args[0]) else None

    def _changed(self, name: str, args: Any, kwargs: Any, made: Tensor, before: Operand) -> None:
        """Note an operation in place: the tensor is another node from now on."""
        plain = name.strip("_").removeprefix("i") if name.startswith("__i") else name.removesuffix("_")
        func, call = getattr(torch.Tensor, plain, None), call_of(plain, args, kwargs, made)
        others = (call.operands if call is not None else moves.tensors((args, kwargs)))[1:]
        picked = [args[0], *others]

        def run(*given: Tensor) -> Tensor:
            swap = {id(old): new for old, new in zip(picked, given, strict=True)}
            again: Tensor = func(*moves.swapped(args, swap), **moves.swapped(kwargs, swap))  # type: ignore[misc]
            return again

        operands = [before, *(self.operand(t) for t in others)]
        options = call.options if call else {}
        self.node(call.op if call else f"other:{plain}", made, operands, run if func else _unknown, options)

    def _turned(self, of: Sequence[Tensor], made: Tensor) -> bool:
        """Note numbers turned in pairs by fixed angles, as rotary positions do, as one operation instead of two."""
        first, other = self.graph.nodes[self.operand(of[0]).node], self.operand(of[1])
        if first.op != "mul" or self.operand(of[0]).cells is not None or self.is_known(of[2]):
            return False
        x, cos, sin = first.operands[0], first.operands[1], self.operand(of[2])
        if other.node != x.node or self.graph.nodes[cos.node].kind != "constant":
            return False
        for operand, said in ((cos, "cosines of the places"), (sin, "sines of the places")):
            self.graph.nodes[operand.node].name = self.graph.nodes[operand.node].name or said
        first.operands = ()  # half of an operation: nobody asks for it, and it reads nothing
        self.node("turn", made, [x, cos, other, sin], lambda a, c, b, s: torch.addcmul(a * c, b, s))
        return True


def _keep(node: Node, at: int, gradient: Tensor) -> None:
    """A gradient as it comes: of a tensor that is changed in place later, that of its numbers before."""
    node.slopes[at] = gradient


def _unknown(*given: Tensor) -> Tensor:
    raise NotImplementedError("there is no such operation that is not in place")


def bagged(padding: int | None, ids: Tensor, weight: Tensor) -> Tensor:
    """The sums of a bag by operations that have a second derivative."""
    real = torch.ones_like(ids) if padding is None else (ids != padding)
    return (torch.nn.functional.embedding(ids, weight) * real.unsqueeze(2)).sum(1)


def _trains(args: Any, kwargs: Any) -> bool:
    return bool(kwargs.get("training", args[2] if len(args) > 2 else True))
