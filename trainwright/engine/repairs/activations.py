"""Other activations between the layers, or activations where there were none."""

from __future__ import annotations

from functools import partial
from typing import Any, final

from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import repairs
from trainwright.core.repair import Repair
from trainwright.engine.trace import kind_of
from trainwright.models.activations import Activation, activation_of

_HEAVY = (nn.Linear, nn.modules.conv._ConvNd)


@repairs.add("activations", consent=True)
@final
class Activations(Repair):
    """Activations between the layers are exchanged for another kind; the one at the model's end stays.

    Args:
        of: kinds that are exchanged.
        by: what comes in their place.
        last: the module at the model's end, which stays.
        layers: further modules that are exchanged, by name: activations of a class that is not known here.
    """

    def __init__(
        self,
        *,
        of: tuple[str, ...] = ("sigmoid", "tanh"),
        by: Activation = "relu",
        last: str = "",
        layers: tuple[str, ...] = (),
    ) -> None:
        self.of, self.by, self.last, self.layers = of, by, last, layers

    def change(self, model: nn.Module) -> None:
        """Put other modules in their place; UserError where there are none."""
        named = dict(model.named_modules())
        chosen = [name for name, m in named.items() if kind_of(m) in self.of and name not in ("", self.last)]
        chosen += [name for name in self.layers if name not in chosen and name in named and _weightless(named[name])]
        if not chosen:
            raise UserError("model", f"has no module that is {' or '.join(self.of)}", "change it in forward()")
        for name in chosen:
            above, _, last = name.rpartition(".")
            setattr(named[above], last, activation_of(self.by))


def _weightless(module: nn.Module) -> bool:
    """An activation has no weights and no parts: whatever has them does something else."""
    return not any(module.children()) and not any(True for _ in (*module.parameters(), *module.buffers()))


@repairs.add("activations_between", consent=True)
@final
class ActivationsBetween(Repair):
    """An activation behind each dense or convolutional layer but the last.

    Args:
        by: which one.
    """

    def __init__(self, *, by: Activation = "relu") -> None:
        self.by = by

    def change(self, model: nn.Module) -> None:
        """Put it behind the layers; UserError where there are fewer than two."""
        for layer in _hidden(model):
            layer.register_forward_hook(partial(_through, activation_of(self.by)))


@repairs.add("norms_between", consent=True)
@final
class NormsBetween(Repair):
    """A layer norm behind each dense or convolutional layer but the last."""

    def change(self, model: nn.Module) -> None:
        """Make the norms parts of their layers; UserError where there are fewer than two layers."""
        for layer in _hidden(model):
            width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            norm = nn.LayerNorm(width) if isinstance(layer, nn.Linear) else nn.GroupNorm(1, width)
            layer.add_module("norm", norm.to(layer.weight.device, layer.weight.dtype))
            layer.register_forward_hook(_normed)


def _hidden(model: nn.Module) -> list[Any]:
    heavy = [m for m in model.modules() if isinstance(m, _HEAVY)]
    if len(heavy) < 2:
        raise UserError("model", "has no two dense or convolutional layers", "change it by hand")
    return heavy[:-1]


def _through(change: nn.Module, layer: nn.Module, given: Any, made: Tensor) -> Tensor:
    out: Tensor = change(made)
    return out


def _normed(layer: nn.Module, given: Any, made: Tensor) -> Tensor:
    norm: Any = layer.norm
    out: Tensor = norm(made)
    return out
