"""A model's layers and parameters as a table of text."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from trainwright.runs.keras import Keras, original


def summary(model: nn.Module) -> str:
    """One line per layer that holds parameters or has no children: name, kind, shapes of its weights, parameters."""
    rows: list[tuple[str, str, str, str]] = []
    for name, kind, own in _of_keras(model) if isinstance(model, Keras) else _layers(model):
        shapes = ", ".join(f"{n} {tuple(p.shape)}" for n, p in own)
        rows.append((name or "(model)", kind, shapes, f"{sum(p.numel() for _, p in own):,}"))
    total = sum(p.numel() for p in model.parameters())
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    head = ("layer", "kind", "weights", "parameters")
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(4)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in [head, *rows]]
    lines.insert(1, "  ".join("-" * w for w in widths))
    frozen = "" if learned == total else f", {total - learned:,} of them frozen"
    return "\n".join([*lines, f"{total:,} parameters{frozen}"])


def parameters(model: nn.Module) -> int:
    """How many numbers the model holds that can be learned or are frozen."""
    return sum(p.numel() for p in model.parameters())


_Row = tuple[str, str, list[tuple[str, nn.Parameter]]]  # name, kind, parameters


def _layers(model: nn.Module) -> Iterator[_Row]:
    for name, module in model.named_modules():
        own = list(module.named_parameters(recurse=False))
        if own or (name and not any(True for _ in module.children())):
            yield name, type(module).__name__, own


def _of_keras(model: Keras) -> Iterator[_Row]:
    """By the names of the variables: Keras holds them all in one place."""
    found: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, variable in model.named_parameters():
        layer, _, last = name.rpartition("/")
        found.setdefault(layer, []).append((last, variable))
    for layer, own in found.items():
        yield layer, f"a layer of {type(original(model)).__name__}", own
