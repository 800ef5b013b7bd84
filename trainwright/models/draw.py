"""First weights drawn anew: every matrix and kernel by one rule, each with the gain of the activation behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainwright.core.batch import seed_of
from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.kinds import Init
from trainwright.models.wiring import Behind, Layer

_NAMED = 5  # weights that a note lists


class Drawn(NamedTuple):
    """What was done to the weights."""

    layers: int
    alike: tuple[str, ...]  # layers of several units that all begin alike
    left: tuple[str, ...]  # weights of two dimensions or more that stay as their author made them

    def notes(self, name: str) -> list[str]:
        """What a person should know of it."""
        notes = [f"init: {name} for the weights of {self.layers} layer{'s' if self.layers > 1 else ''}"]
        if self.left:
            notes.append(f"init: as their author made them: {_listed(self.left)}")
        if self.alike:
            what = "all units begin alike, get the same gradient, and stay alike"
            notes.append(f"init: {_listed(self.alike)}: {what}; a random init tells them apart")
        return notes


def draw(
    model: nn.Module, weights: MutableMapping[str, Tensor], fill: Init, gains: Mapping[str, Behind], seed: int
) -> Drawn:
    """Draw the layers' weights in ``weights`` anew, and zero the biases of dense and convolutional layers.

    Norms, embeddings and the biases of recurrent layers keep what their author gave them. Each weight has randomness of
    its own, by seed and name: the same on any device, whatever other layers there are. Weights that two layers share
    are drawn once; with an embedding they are the embedding's.

    Args:
        model: says where the layers are, and is not changed.
        weights: name -> whole tensor, as in the model's state_dict; changed in place.
        fill: the rule.
        gains: by layer; one that is missing has a gain of 1.
        seed: of all.
    """
    done = {id(p) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) for p in m.parameters()}
    layers, alike = 0, []
    for name, layer in _layers(model):
        gain = gains[name].gain if name in gains else 1.0
        drawn = False
        for part, parameter in layer.named_parameters(name, recurse=False):
            if id(parameter) in done:
                continue
            done.add(id(parameter))
            if parameter.ndim < 2:
                _zero(layer, weights[part])
                continue
            drawn = True
            dice = torch.Generator().manual_seed(seed_of(seed, "init", part) % 2**63)
            own = gain if not isinstance(layer, nn.RNNBase | nn.RNNCellBase) else 1.0  # its gates are inside
            for matrix in _matrices(layer, weights[part]):
                fresh = _filled(matrix, fill, own, dice)
                matrix.copy_(fresh)
                if len(fresh) > 1 and bool((fresh == fresh[:1]).all()):
                    alike.append(part)
        layers += drawn
    if not layers:
        raise UserError("init", "the model has no dense, convolutional or recurrent layer", "leave init out")
    left = [n for n, p in model.named_parameters() if p.ndim >= 2 and id(p) not in done]
    return Drawn(layers, tuple(dict.fromkeys(alike)), tuple(left))


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, m) for name, m in model.named_modules() if isinstance(m, Layer))


def _zero(layer: nn.Module, bias: Tensor) -> None:
    """No bias; those of recurrent layers may hold a gate open."""
    if not isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        bias.zero_()


def _matrices(layer: nn.Module, weight: Tensor) -> Iterator[Tensor]:
    """Views (outputs, inputs, *window) of what a layer keeps in one tensor: gates, groups, and queries beside keys."""
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        yield from (part.transpose(0, 1) for part in weight.chunk(layer.groups))
    elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        yield from weight.chunk(layer.groups)
    elif isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        yield from weight.split(layer.hidden_size)
    elif isinstance(layer, nn.MultiheadAttention) and len(weight) == 3 * layer.embed_dim:
        yield from weight.chunk(3)
    else:
        yield weight


def _filled(matrix: Tensor, fill: Init, gain: float, dice: torch.Generator) -> Tensor:
    """Fresh numbers of a matrix's shape, drawn on the CPU in float32 at least; UserError where the rule fails."""
    fresh = torch.zeros(matrix.shape, dtype=torch.promote_types(matrix.dtype, torch.float32))
    try:
        with torch.no_grad():
            fill(fresh, gain, dice)
    except TrainwrightError:
        raise
    except Exception as error:
        what = f"raised {type(error).__name__} for a weight {tuple(matrix.shape)}: {error}"
        raise UserError("init", what, "give a function (weight, gain, generator) that fills the weight") from error
    if not bool(fresh.isfinite().all()):
        what = f"filled a weight {tuple(matrix.shape)} with numbers that are not finite"
        raise UserError("init", what, "fill it with finite numbers")
    return fresh


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
