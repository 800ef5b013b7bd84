"""Where numbers stop being finite: every operation of a pass is looked at, and every module's output and gradient."""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))  # whose lines nobody wants to read
_RAW = ("empty", "new_empty", "resize", "set_")  # give memory as it was found
_SPOKEN = {"lift_fresh": "constant"}
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)[^\n]*\n\s*(?P<code>[^\n]*)')


@dataclass(slots=True)
class Made:
    """A tensor that is not finite, and what made it."""

    op: str  # "log"
    kind: Literal["NaN", "infinity"]
    phase: Literal["forward", "backward"]
    module: str  # whose forward or backward it was; empty outside all
    line: str  # of the user's code: "loss.py, line 12: return x.log()"
    of: str  # what it was made of: "numbers from 0 to 0.93"
    given: list[Made] = field(default_factory=list)  # of these, what was not finite already

    def told(self) -> str:
        """In words."""
        where = f" in {self.module}" if self.module else ""
        line = f" ({self.line})" if self.line else ""
        of = f" of {self.of}" if self.of else ""
        return f"{'the gradient of ' if self.phase == 'backward' else ''}{self.op} made {self.kind}{of}{where}{line}"

    def chain(self) -> list[Made]:
        """What it came from, the first first: infinities first, and then what made NaN of them."""
        if self.kind == "NaN" and (nans := [m for m in self.given if m.kind == "NaN"]):
            return nans[0].chain()
        if self.kind == "infinity" and self.given:
            return self.given[0].chain()
        return [*(self.given[0].chain() if self.given else []), self]


@dataclass(slots=True)
class Range:
    """What a module gave, or what came back to it."""

    low: float
    high: float
    finite: float  # share of its numbers


@dataclass(slots=True)
class Layer:
    """One call of a module."""

    name: str
    kind: str
    output: Range
    gradient: Range | None = None  # of the loss by its output


def range_of(tensor: Tensor) -> Range:
    """Smallest and largest finite number, and the share of finite ones."""
    flat = tensor.detach().flatten()
    sound = flat[flat.isfinite()]
    if not len(sound):
        return Range(math.nan, math.nan, 0.0)
    low, high = sound.aminmax()
    return Range(float(low), float(high), len(sound) / len(flat))


class Origins(TorchDispatchMode):
    """Notes every operation whose result is not finite, and what it was given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.made: list[Made] = []
        self.layers: list[Layer] = []
        self._by: dict[int, Made] = {}
        self._kept: list[Tensor] = []  # so that no number of a tensor is given to another
        self._inside: list[str] = []
        self._owner: dict[Any, str] = {}  # of a node of the graph: the module it belongs to
        self._names = {m: _named(name, m) for name, m in model.named_modules()}

    @contextmanager
    def watching(self) -> Iterator[Origins]:
        """Look at everything that is computed within."""
        with ExitStack() as stack:
            for module in self._names:
                for handle in (
                    module.register_forward_pre_hook(self._enter),
                    module.register_forward_hook(self._leave),
                ):
                    stack.callback(handle.remove)
            stack.enter_context(_anomaly())
            stack.enter_context(self)
            yield self

    def of(self, tensor: Tensor) -> Made | None:
        """What made a tensor that is not finite."""
        return self._by.get(id(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, and look at what it gave."""
        inputs = [t for t in tree_leaves((args, kwargs or {})) if isinstance(t, Tensor) and t.is_floating_point()]
        given = [self._by[id(t)] for t in inputs if id(t) in self._by]
        of = _spread(inputs)
        out = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket.__name__)
        for tensor in tree_leaves(out):
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or name.startswith(_RAW):
                continue
            if bool(tensor.isfinite().all()):
                self._by.pop(id(tensor), None)
            elif id(tensor) not in self._by:
                self._note(tensor, name, given, of)
        return out

    def _note(self, tensor: Tensor, name: str, given: list[Made], of: str) -> None:
        node: Any = torch._C._current_autograd_node()
        made = Made(
            _SPOKEN.get(name, name.strip("_")) if node is None else _operation(node.name()),
            "NaN" if bool(tensor.isnan().any()) else "infinity",
            "forward" if node is None else "backward",
            self._inside[-1] if node is None and self._inside else self._owner.get(node, ""),
            _here() if node is None else _line("".join(node.metadata.get("traceback_", ()))),
            of,
            given,
        )
        self._by[id(tensor)] = made
        self._kept.append(tensor)
        self.made.append(made)

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        self._inside.append(self._names[module])

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        name = self._inside.pop()
        tensors = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point()]
        stops = {t.grad_fn for t in tree_leaves(inputs) if isinstance(t, Tensor) and t.grad_fn is not None}
        for tensor in tensors[:1]:
            layer = Layer(name, type(module).__name__, range_of(tensor))
            self.layers.append(layer)
            if tensor.requires_grad:
                tensor.register_hook(lambda g, layer=layer: setattr(layer, "gradient", range_of(g)))
                self._claim(tensor.grad_fn, name, stops)

    def _claim(self, node: Any, name: str, stops: set[Any]) -> None:
        """The nodes of the graph between a module's inputs and its output are its own, unless a part of it has them."""
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if node is None or node in self._owner or node in stops:
                continue
            self._owner[node] = name
            waiting += [following for following, _ in node.next_functions]


def _named(name: str, module: nn.Module) -> str:
    return f"{name} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"


def _spread(inputs: Sequence[Tensor]) -> str:
    """``numbers from 0 to 0.93``, over everything an operation is given."""
    ranges = [r for t in inputs if t.numel() for r in (range_of(t),) if r.finite]
    if not ranges:
        return ""
    low, high = min(r.low for r in ranges), max(r.high for r in ranges)
    return f"{low:.4g}" if low == high else f"numbers from {low:.4g} to {high:.4g}"


def _operation(node: str) -> str:
    """``sqrt`` of ``SqrtBackward0``."""
    return re.sub(r"Backward\d*$", "", node.rpartition("::")[2]).lower()


def _here() -> str:
    """The innermost line that is not torch's or ours."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(_OURS) and "/torch/" not in frame.filename:
            return f"{Path(frame.filename).name}, line {frame.lineno}: {(frame.line or '').strip()}"
    return ""


def _line(text: str) -> str:
    """The same of a formatted stack, as anomaly mode keeps it for the backward pass."""
    for found in reversed(list(_FRAME.finditer(text))):
        if not found["file"].startswith(_OURS) and "/torch/" not in found["file"]:
            return f"{Path(found['file']).name}, line {found['line']}: {found['code'].strip()}"
    return ""


@contextmanager
def _anomaly() -> Iterator[None]:
    """Every node of the graph remembers which line made it; torch says each time that this is slow."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            yield
