"""A declared list of layers becomes modules: names looked up, options checked, shapes inferred, mistakes placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.foreign_values import here
from trainwright.core.kinds import Layer, Place, layers
from trainwright.core.schema import check
from trainwright.models.activations import ACTIVATIONS

Spec: TypeAlias = str | dict[str, Any]  # a name, or {name, …options}
Shape: TypeAlias = tuple[int, ...]  # of one sample

# between weights and their activation these change no mean square, or make the weights' scale not matter
_PASSED = ("batch_norm", "layer_norm", "dropout", "max_pool", "avg_pool", "global_pool", "flatten")


@layers.add("residual")
def residual(*, layers: tuple[Spec, ...]) -> Layer:
    """A list of layers within the list; what came in is added to what they give.

    Args:
        layers: as in the model; together they keep the shape.

    Source: He et al. 2016, "Deep residual learning for image recognition".
    """

    def at(place: Place) -> nn.Module:
        if not layers:
            raise UserError("", "has no layers", 'write layers = ["relu", { name = "dense", units = 64 }]')
        inner, shape = stacked(layers, place.shape)
        if shape != place.shape:
            raise UserError("", f"its layers give {_said(shape)}, which cannot be added", "let them keep the shape")
        return _Residual(inner)

    return at


@final
class _Residual(nn.Module):
    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, …)."""
        return x + self.inner(x)  # type: ignore[no-any-return]


def stacked(specs: Sequence[Spec], shape: Shape) -> tuple[nn.Sequential, Shape]:
    """The modules of a list, named by number and kind, and the shape that comes out of them.

    Raises UserError whose place is the layer, by number and kind, and which says what shape it was given.
    """
    modules = nn.Sequential()
    names = [named(spec, number) for number, spec in enumerate(specs, 1)]
    for number, (name, options) in enumerate(names, 1):
        where = f"layer {number}, {name}"
        module = _made(name, options, Place(shape, _following([n for n, _ in names[number:]])), where)
        shape = _after(module, shape, where)
        modules.add_module(f"{number}_{name}", module)
    return modules, shape


def named(spec: Spec, number: int) -> tuple[str, dict[str, Any]]:
    """The name and the options of a spec."""
    options: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"layer {number}", "names no layer", 'write { name = "dense", units = 64 }')
    if name not in layers:
        ours = here("layer", name)
        instead = f"it is called '{ours}' here" if ours else did_you_mean(name, layers.names())
        raise UserError(f"layer {number}", f"no layer is named '{name}'", instead)
    return name, options


def _made(name: str, options: dict[str, Any], place: Place, where: str) -> nn.Module:
    if "activation" in options:
        what = "an activation is a layer of its own"
        raise UserError(f"{where}.activation", what, f"write {options['activation']!r} behind this layer")
    layer: Layer = layers.make(name, check(layers[name], options, where))
    try:
        made = layer(place)
    except UserError as error:
        inner = ", ".join(part for part in (where, error.where) if part)
        what = error.what if error.where else f"{error.what}, and was given {_said(place.shape)}"
        raise UserError(inner, what, error.instead) from None
    if not isinstance(made, nn.Module):
        raise UserError(where, f"made a {type(made).__name__}", "return an nn.Module")
    return made


def _after(module: nn.Module, shape: Shape, where: str) -> Shape:
    """The shape of what a layer gives, found by giving it one sample of zeros."""
    module.eval()
    try:
        with torch.no_grad():
            out = module(torch.zeros(1, *shape))
    except UserError:
        raise
    except Exception as error:  # a layer of someone else's, or too large for the memory
        raise UserError(where, f"cannot compute {_said(shape)}: {type(error).__name__}: {error}") from error
    module.train()
    return tuple(out.shape[1:])


def _following(names: Sequence[str]) -> str | None:
    """The activation behind a layer, past what lies between."""
    first = next((name for name in names if name not in _PASSED), None)
    return first if first in ACTIVATIONS else None


def _said(shape: Shape) -> str:
    """A shape as a person would say it."""
    kinds = {1: "features", 2: "a sequence of steps and features", 3: "maps of channels, height, width"}
    return f"{kinds.get(len(shape), 'a sample')} [{', '.join(map(str, shape))}]"
