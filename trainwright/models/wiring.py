"""Which activation stands behind each layer of weights, found by running the network once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainwright.models.activations import ACTIVATIONS, SATURATING

Layer: TypeAlias = (
    nn.Linear
    | nn.Conv1d
    | nn.Conv2d
    | nn.Conv3d
    | nn.ConvTranspose1d
    | nn.ConvTranspose2d
    | nn.ConvTranspose3d
    | nn.RNNBase
    | nn.RNNCellBase
    | nn.MultiheadAttention
)
"""Modules whose weights are matrices or kernels of a known layout."""

# What lies between weights and their activation without making the size of the weights matter less or more: norms,
# dropout, pools, sums with a shortcut, and whatever only moves numbers about. All else ends the search.
_NORMS = ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm")
_SILENCED = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_POOLED = tuple(f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for n in (1, 2, 3))
_JOINED = ("add", "cat", "stack", "chunk", "split", "unbind", "mean", "amax", "pad", "interpolate")
_MOVED = (
    "view",
    "reshape",
    "flatten",
    "unflatten",
    "transpose",
    "permute",
    "movedim",
    "squeeze",
    "unsqueeze",
    "expand",
)
_SAME = ("__getitem__", "__get__", "contiguous", "clone", "flip", "roll", "to", "float", "double", "half", "bfloat16")
_PASSED = frozenset([*_NORMS, *_SILENCED, *_POOLED, *_JOINED, *_MOVED, *_SAME])


class Behind(NamedTuple):
    """The activation behind a layer, and the gain of weights that keep the signal's size through it."""

    activation: str | None
    gain: float


def behind(model: nn.Module, run: Callable[[], object]) -> dict[str, Behind]:
    """Layer by layer, in the order in which ``run`` uses them, what their numbers go through next.

    Args:
        model: its layers are watched, whatever code joins them.
        run: calls the model once or more; gradients are not needed.
    """
    watch = _Watch()
    with _hooked(model, watch), watch:
        run()
    return {name: watch.found.get(name, Behind(None, 1.0)) for name in watch.met}


class _Watch(TorchFunctionMode):
    """Follows the numbers of every layer through torch's functions until an activation takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.met: dict[str, None] = {}  # layers, in order
        self.found: dict[str, Behind] = {}
        self.depth = 0  # of calls of the model itself: what a loss does with its outputs is not watched
        self._from: dict[int, set[str]] = {}  # id of a tensor -> layers whose numbers it holds
        self._kept: list[Tensor] = []  # alive, so that no id comes back

    def gives(self, name: str, output: Any) -> None:
        """A layer's own output."""
        self.met[name] = None
        for tensor in _tensors(output):
            self._mark(tensor, {name})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do what was asked, and see where the numbers went."""
        kwargs = kwargs or {}
        sources = self._sources([*args, *kwargs.values()]) if self.depth else set()
        out = func(*args, **kwargs)
        if sources:
            name = _plain_name(func)
            if name in ACTIVATIONS:
                gain = _gain(name, func, args[1:], kwargs)
                for layer in sources:
                    self.found.setdefault(layer, Behind(name, gain))
            kept = sources if name in _PASSED else set()
            for tensor in _tensors(out):
                self._mark(tensor, kept)
        return out

    def _sources(self, values: Sequence[Any]) -> set[str]:
        return set().union(*(self._from.get(id(t), ()) for value in values for t in _tensors(value)))

    def _mark(self, tensor: Tensor, layers: set[str]) -> None:
        self._from[id(tensor)] = layers
        self._kept.append(tensor)


@contextmanager
def _hooked(model: nn.Module, watch: _Watch) -> Iterator[None]:
    """Layers tell the watch what they gave; all hooks are gone afterwards."""

    def enter(module: nn.Module, given: Any) -> None:
        watch.depth += 1

    def leave(module: nn.Module, given: Any, output: Any) -> None:
        watch.depth -= 1

    def tell(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, given, output: watch.gives(name, output)

    hooks = [model.register_forward_pre_hook(enter)]
    hooks += [m.register_forward_hook(tell(name)) for name, m in model.named_modules() if isinstance(m, Layer)]
    hooks += [model.register_forward_hook(leave, always_call=True)]  # last: a model may be one layer
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _plain_name(func: Any) -> str:
    """``add`` for ``Tensor.add_``, ``torch.add`` and ``+``."""
    name = str(getattr(func, "__name__", ""))
    return name if name.startswith("__") else name.removesuffix("_")


def _gain(name: str, func: Any, options: Sequence[Any], named: Mapping[str, Any]) -> float:
    """1/√E[f(z)²] of the function with its own options, z standard normal; torch's gains where it saturates."""
    if name in SATURATING:
        return ACTIVATIONS[name].gain
    z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    value = func(z.clone(), *options, **{k: v for k, v in named.items() if k != "input"})
    square = float(torch.trapezoid(value.square() * density, z))
    return 1 / math.sqrt(square)
