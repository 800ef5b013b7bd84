"""A network declared as a list of layers, for images and for tables.

Letters in shapes: N samples, C channels, H height, W width, F numbers, K categories.
"""

from __future__ import annotations

from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import Noted
from trainwright.models.activations import dense
from trainwright.models.mlp import embeddings
from trainwright.models.stack import Shape, Spec, named, stacked

Size = Annotated[int, Field(ge=1)]
_WHERE = "model.layers"
_EXAMPLE = 'write layers = ["flatten", { name = "dense", units = 128 }, "relu"]'


@models.add("sequential", speaks=Noted)
@final
class Sequential(nn.Module):
    """Layers one after the other, as listed; shapes are inferred, and the output layer is added.

    A layer is a table of its name and options, or a bare name: ``[{ name = "conv", filters = 32 }, "relu", "max_pool",
    "flatten", { name = "dense", units = 128 }, "relu"]``. An activation is a layer. ``explain layer`` lists all.

    The list need not say the outputs. Where it does, with a last dense layer of as many units as there are outputs,
    that is the output layer; a softmax behind it is left to the loss, which applies it once. ``notes`` says so.
    An image begins as [channels, height, width], a row of a table as [numbers], categories as learned vectors.

    Args:
        outputs: numbers that come out; given by the data.
        inputs: numbers of one sample, where there are no images; given by the data.
        channels: of images; given by the data.
        size: height and width of images in pixels; given by the data.
        cardinalities: how many ids each category of a table has; given by the data.
        layers: names, or tables of a name and options, from the input on.
    """

    def __init__(
        self,
        *,
        outputs: Size,
        inputs: Annotated[int, Field(ge=0)] | None = None,
        channels: Size | None = None,
        size: tuple[Size, Size] | None = None,
        cardinalities: tuple[Size, ...] = (),
        layers: tuple[Spec, ...] = (),
    ) -> None:
        super().__init__()
        if not layers:
            raise UserError(_WHERE, "there are no layers", _EXAMPLE)
        self.embeddings, learned = embeddings(cardinalities)
        if channels is not None and size is not None:
            self.shape: Shape = (channels, *size)
        else:
            self.shape = ((inputs or 0) + learned,)
        if 0 in self.shape:
            raise UserError("model", "there are no inputs", "give the data a column of numbers or categories")
        try:
            specs, self.notes = _without_outputs(layers, outputs)
            self.hidden, shape = stacked(specs, self.shape)
        except UserError as error:
            raise UserError(f"{_WHERE}, {error.where}", error.what, error.instead) from None
        if len(shape) != 1:
            what = f"the outputs need features, but the last layer gives {list(shape)}"
            raise UserError(_WHERE, what, "write 'flatten' or 'global_pool' at the end")
        self.head = dense(shape[0], outputs, None)

    def forward(self, x: Tensor | None = None, categorical: Tensor | None = None) -> Tensor:
        """Images (N, C, H, W), or numbers (N, F) or (N, …) of F elements and category ids (N, K) -> (N, outputs)."""
        parts = [] if x is None else [self._placed(x)]
        if categorical is not None:
            parts += [e(categorical[:, i]) for i, e in enumerate(self.embeddings)]
        return self.head(self.hidden(torch.cat(parts, 1) if len(parts) > 1 else parts[0]))  # type: ignore[no-any-return]

    def _placed(self, x: Tensor) -> Tensor:
        """In the weights' type, and flat where there are no images."""
        if len(self.shape) == 1:
            x = x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)
        elif x.shape[1:] != self.shape:
            what = f"is built for images {self.shape}, but was given {tuple(x.shape[1:])}"
            raise UserError("model", what, "the axes are channels, height, width")
        return x if x.is_floating_point() else x.to(self.head.weight.dtype)


def _without_outputs(layers: tuple[Spec, ...], outputs: int) -> tuple[list[Spec], tuple[str, ...]]:
    """The hidden layers, and what became of a declared output layer and softmax."""
    specs, notes = list(layers), []
    soft = named(specs[-1], len(specs))[0] == "softmax"
    if soft:
        where = f"layer {len(specs)}, softmax"
        if outputs == 1:
            raise UserError(where, "of one output is always 1", "leave it out")
        notes.append(f"{where}: left to the loss, which applies it once")
        specs.pop()
    name, options = named(specs[-1], len(specs)) if specs else ("", {})
    where = f"layer {len(specs)}, {name}"
    if name == "dense" and options == {"units": outputs}:
        notes.append(f"{where}: has as many units as there are outputs, so it is the output layer")
        specs.pop()
    elif name == "dense" and soft:
        what = f"{options.get('units', 'no')} units before a softmax, but the data has {outputs} classes"
        raise UserError(where, what, f"write units = {outputs}, or leave out both: the output layer is added")
    return specs, tuple(notes)
