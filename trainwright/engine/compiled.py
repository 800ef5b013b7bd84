"""Training steps through torch's compiler: the repeated blocks of a model, each class of them once for every shape.

Compiled is only what a training step calls with a shape that it has again and again. Evaluation, other shapes, and
modules that somebody listens to by hooks run as they are written, so nothing is compiled twice for their sake. Names
of weights stay; a copy of the model is plain.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

_SHAPES = 4  # that a block is compiled for, at most
_OFTEN = 16  # calls with another shape than the first before it is compiled too
_LIMIT = 64  # shapes of all blocks of one class together, before torch runs the rest as it is written
_BY: dict[str, Any] = {"options": {"fallback_random": True}}  # inductor, which draws as torch does elsewhere
_PLACE, _THREADS = "TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS"


class Compiled:
    """Has the blocks of a model run compiled in training steps, until `back` puts all back.

    Draws of dropout are those of the plain model, so the same seeds give the same training but for rounding.

    Args:
        model: on its device; it keeps its modules and their names.
        device: of the model; for a CPU torch writes C++, for others Triton.
        folder: where compiled code is kept between processes, unless the environment names another.
        failed: is told why torch cannot compile it, once; unless that raises, the model runs on as it is written.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, folder: Path, failed: Callable[[Exception], None]
    ) -> None:
        self.failed = failed
        self.on = True
        self.seconds = 0.0  # by the clock on the wall, of calls for which torch had to compile or to look it up
        self._ways: dict[type[nn.Module], Callable[..., Any]] = {}
        self._blocks = regions(model)
        self._leave = _kept_in(folder, alone=device.type == "cpu")
        self._calls = [_Way(block, self) for block in self._blocks]
        for call in self._calls:
            call.module._compiled_call_impl = call

    @property
    def used(self) -> bool:
        """Whether anything has run compiled yet."""
        return any(call.ready for call in self._calls)

    def back(self) -> None:
        """Everything runs as it is written, and nothing reminds of it."""
        for block in self._blocks:
            block.__dict__.pop("_compiled_call_impl", None)
        self._leave()

    def way(self, kind: type[nn.Module]) -> Callable[..., Any]:
        """The forward pass of a class, compiled: (module, …) -> what it gives."""
        if kind not in self._ways:
            compiler: Any = torch.compile
            self._ways[kind] = compiler(kind.forward, dynamic=False, recompile_limit=_LIMIT, **_BY)
        return self._ways[kind]

    def stop(self, error: Exception) -> None:
        """From now on everything runs as it is written."""
        self.on = False
        self.failed(error)


def regions(model: nn.Module) -> list[nn.Module]:
    """What is compiled by itself: members of stacks whose class occurs there more than once, else the whole model.

    Nothing where its owner has compiled it or a part of it, or runs it in another way than torch's own.
    """
    if any(_taken(module) for module in model.modules()):
        return []
    found = list(_repeated(model)) or [model]
    return found if all(_usual(block) for block in found) else []


def obstacle(device: torch.device) -> str:
    """Why torch cannot compile on this machine, as far as that can be seen at once; empty where nothing is known."""
    if sys.version_info >= (3, 15):
        return "torch does not compile on this Python"
    if device.type != "cpu":
        return "" if _has_triton(device) else "Triton is not installed"
    if sys.platform == "win32":
        return "" if shutil.which(os.environ.get("CXX", "cl")) else "no C++ compiler is found"
    wanted = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    return "" if shutil.which(wanted) else f"no C++ compiler is found ({wanted})"


class _Way:
    """In the place of a module's call: compiled where that is due, else as it is written."""

    def __init__(self, module: nn.Module, shared: Compiled) -> None:
        self.module, self.shared = module, shared
        self._inside = tuple(module.modules())
        self._seen: Counter[Hashable] = Counter()
        self.ready: set[Hashable] = set()  # shapes for which it is compiled

    def __call__(self, *given: Any, **named: Any) -> Any:
        """As the module's own."""
        module = self.module
        plain: Callable[..., Any] = module._call_impl
        if not (self.shared.on and module.training and torch.is_grad_enabled()) or self._listened():
            return plain(*given, **named)
        shape = _shape((given, named))
        if shape in self.ready:
            return self.shared.way(type(module))(module, *given, **named)
        if not self._due(shape):
            return plain(*given, **named)
        began = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the compiler about itself
                made = self.shared.way(type(module))(module, *given, **named)
        except Exception as error:
            self.shared.stop(error)
            return plain(*given, **named)
        finally:
            self.shared.seconds += time.perf_counter() - began
        self.ready.add(shape)
        return made

    def _due(self, shape: Hashable) -> bool:
        if shape is None or len(self.ready) >= _SHAPES:
            return False
        if self.ready:
            self._seen[shape] += 1
            if len(self._seen) > _LIMIT:  # of many lengths none is usual
                self._seen.clear()
            return self._seen[shape] > _OFTEN
        return True

    def _listened(self) -> bool:
        """Whether somebody would not hear of what is computed inside."""
        if _has_any_global_hook() or torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack():
            return True
        return any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in self._inside)


def _shape(value: Any) -> Hashable:
    """What code is compiled for; None where that cannot be told."""
    if isinstance(value, Tensor):
        return (*value.shape, value.dtype)
    if value is None or isinstance(value, bool | int | str):
        return (type(value), value)
    if isinstance(value, tuple | list):
        inside = tuple(map(_shape, value))
        return None if None in inside else inside
    if isinstance(value, dict):
        inside = tuple(_shape(v) for v in value.values())
        return None if None in inside else (tuple(map(str, value)), inside)
    return None


def _repeated(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules that stand in a stack beside others of their class, and have modules of their own."""
    kinds: Mapping[type, int] = {}
    if isinstance(module, nn.ModuleList | nn.Sequential):
        kinds = Counter(type(child) for child in module if any(True for _ in child.children()))
    for child in module.children():
        if kinds.get(type(child), 0) > 1 and not isinstance(child, nn.ModuleList | nn.Sequential):
            yield child
        else:
            yield from _repeated(child)


def _taken(module: nn.Module) -> bool:
    """Whether it is compiled already, in whichever way."""
    from torch.jit import ScriptModule

    wrapped = type(module).__name__ == "OptimizedModule"  # its class is not loaded where nobody compiles
    return wrapped or module._compiled_call_impl is not None or isinstance(module, ScriptModule)


def _usual(module: nn.Module) -> bool:
    """Whether it is called as torch calls modules."""
    return "forward" not in module.__dict__ and type(module).__call__ is nn.Module.__call__


def _has_triton(device: torch.device) -> bool:
    from importlib.util import find_spec

    return device.type == "mps" or find_spec("triton") is not None  # torch writes Metal itself


def _kept_in(folder: Path, *, alone: bool) -> Callable[[], None]:
    """Have torch keep what it compiles there, readable by its owner alone, for it is run; returns what ends that.

    Args:
        folder: made where it is not there.
        alone: without further processes, each of which loads torch: C++ of one graph is one file.
    """
    wanted = {_PLACE: str(folder), **({_THREADS: "1"} if alone else {})}
    mine = {name: value for name, value in wanted.items() if name not in os.environ}
    if _PLACE in mine:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.update(mine)

    def back() -> None:
        for name, value in mine.items():
            if os.environ.get(name) == value:
                del os.environ[name]

    return back
