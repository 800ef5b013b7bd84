"""A model's layers, what each gives, and its parameters: as facts for the manifest, as a table, and in short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn

from trainwright.runs.figures import aligned
from trainwright.runs.keras import Keras, original

Shape: TypeAlias = list[int]  # of one sample
Layers: TypeAlias = Sequence[Mapping[str, Any]]  # as `layers_of` gives them

_MOST = 12  # rows of the short form


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[str, Shape]]:
    """What each module gives while the block runs the model: its first tensor's shape of one sample, by name."""
    shapes: dict[str, Shape] = {}

    def seen(name: str, given: Any) -> None:
        first = next(
            (t for t in (given if isinstance(given, tuple | list) else (given,)) if isinstance(t, Tensor)), None
        )
        if first is not None:
            shapes.setdefault(name, list(first.shape[1:]))

    hooks = [
        module.register_forward_hook(lambda _m, _i, given, name=name: seen(name, given))
        for name, module in model.named_modules()
        if name and not isinstance(model, Keras)
    ]
    try:
        yield shapes
    finally:
        for hook in hooks:
            hook.remove()


def layers_of(model: nn.Module, shapes: Mapping[str, Shape]) -> list[dict[str, Any]]:
    """Every module within the model, outer ones first: name, kind, shape it gives, parameters with inner ones'."""
    if isinstance(model, Keras):  # which holds its variables in one place
        return [
            {"name": name, "kind": kind, "shape": None, "parameters": sum(p.numel() for _, p in own)}
            for name, kind, own in _of_keras(model)
        ]
    return [
        {"name": name, "kind": _kind(module), "shape": shapes.get(name), "parameters": parameters(module)}
        for name, module in model.named_modules()
        if name
    ]


def outline(layers: Layers) -> list[str]:
    """The layers in at most a dozen lines: as deep as fits; nothing where even the outermost do not."""
    known = [x for x in layers if x["shape"] is not None or x["parameters"]]
    deepest: list[Mapping[str, Any]] = []
    for depth in range(1, 1 + max((_depth(x["name"]) for x in layers), default=0)):
        rows = [x for x in known if _depth(x["name"]) == depth or (_depth(x["name"]) < depth and _is_leaf(x, layers))]
        if len(rows) > _MOST:
            break
        deepest = rows
    return aligned([(x["name"], x["kind"], _said(x["shape"]), f"{x['parameters']:,}") for x in deepest])


def summary(model: nn.Module, layers: Layers = ()) -> str:
    """One line per layer that holds parameters or has no children.

    Its name and kind, what it gives where ``layers`` know it, the shapes of its weights, and its parameters.
    """
    shapes = {x["name"]: x["shape"] for x in layers}
    head = ("layer", "kind", "gives", "weights", "parameters")
    rows: list[tuple[str, ...]] = []
    for name, kind, own in _holding(model):
        weights = ", ".join(f"{n} {tuple(p.shape)}" for n, p in own)
        count = f"{sum(p.numel() for _, p in own):,}"
        rows.append((name or "(model)", kind, _said(shapes.get(name)), weights, count))
    total, moving = parameters(model), learned(model)
    lines = aligned([head, *rows])
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines.insert(1, "  ".join("-" * w for w in widths))
    frozen = "" if moving == total else f", {total - moving:,} of them frozen"
    return "\n".join([*lines, f"{total:,} parameters{frozen}"])


def parameters(model: nn.Module) -> int:
    """How many numbers the model holds that can be learned or are frozen."""
    return sum(p.numel() for p in model.parameters())


def learned(model: nn.Module) -> int:
    """How many of them can be learned as things stand."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _holding(model: nn.Module) -> Iterator[tuple[str, str, list[tuple[str, nn.Parameter]]]]:
    """Name, kind and parameters of each layer that holds some or has no children."""
    if isinstance(model, Keras):
        yield from _of_keras(model)
        return
    for name, module in model.named_modules():
        own = list(module.named_parameters(recurse=False))
        if own or (name and not any(True for _ in module.children())):
            yield name, _kind(module), own


def _of_keras(model: Keras) -> Iterator[tuple[str, str, list[tuple[str, nn.Parameter]]]]:
    """By the names of the variables: Keras holds them all in one place."""
    found: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, variable in model.named_parameters():
        layer, _, last = name.rpartition("/")
        found.setdefault(layer, []).append((last, variable))
    for layer, own in found.items():
        yield layer, f"a layer of {type(original(model)).__name__}", own


def _kind(module: nn.Module) -> str:
    return type(module).__name__.lstrip("_")


def _depth(name: str) -> int:
    return name.count(".") + 1


def _is_leaf(layer: Mapping[str, Any], layers: Layers) -> bool:
    return not any(x["name"].startswith(layer["name"] + ".") for x in layers)


def _said(shape: Shape | None) -> str:
    return "" if shape is None else "[" + ", ".join(map(str, shape)) + "]"
