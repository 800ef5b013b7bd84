"""A network declared as a list of layers, for images and for tables.

Letters in shapes: N samples, C channels, H height, W width, F numbers, K categories.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import Noted
from trainwright.models.activations import ACTIVATIONS, dense
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
    that is the output layer; a softmax behind it is left to the loss, which applies it once, and so is a sigmoid where
    the loss compares with yes or no. A log_softmax, for the loss nll, is kept. ``notes`` says so.
    An image begins as [channels, height, width], a row of a table as [numbers], categories as learned vectors.

    Args:
        outputs: numbers that come out; given by the data.
        inputs: numbers of one sample, where there are no images; given by the data.
        channels: of images; given by the data.
        size: height and width of images in pixels; given by the data.
        cardinalities: how many ids each category of a table has; given by the data.
        expects: what the loss compares the outputs with, where that is known; given by the data.
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
        expects: Literal["classes", "binary", "numbers"] | None = None,
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
            specs, self.notes, self.logs = _without_outputs(layers, outputs, expects)
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
        outputs: Tensor = self.head(self.hidden(torch.cat(parts, 1) if len(parts) > 1 else parts[0]))
        return outputs.log_softmax(1) if self.logs else outputs

    def _placed(self, x: Tensor) -> Tensor:
        """In the weights' type, and flat where there are no images."""
        if len(self.shape) == 1:
            x = x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)
        elif x.shape[1:] != self.shape:
            what = f"is built for images {self.shape}, but was given {tuple(x.shape[1:])}"
            raise UserError("model", what, "the axes are channels, height, width")
        return x if x.is_floating_point() else x.to(self.head.weight.dtype)


def _without_outputs(
    layers: tuple[Spec, ...], outputs: int, expects: str | None
) -> tuple[list[Spec], tuple[str, ...], bool]:
    """The hidden layers, what became of a declared output layer and its activation, and whether that is kept."""
    specs, notes = list(layers), []
    last, _ = named(specs[-1], len(specs))
    where = f"layer {len(specs)}, {last}"
    meant = last in ("softmax", "log_softmax") or (last == "sigmoid" and expects == "binary")
    if last == "sigmoid" and expects == "classes" and len(specs) > 1:
        _refuse_one_unit(specs, outputs)
    if meant:
        _check_meant(last, where, outputs, expects)
        kept = "kept; a softmax in the loss changes nothing more" if last == "log_softmax" else ""
        notes.append(f"{where}: {kept or 'left to the loss, which applies it once'}")
        specs.pop()
    name, options = named(specs[-1], len(specs)) if specs else ("", {})
    where = f"layer {len(specs)}, {name}"
    if name == "dense" and options == {"units": outputs}:
        notes.append(f"{where}: has as many units as there are outputs, so it is the output layer")
        specs.pop()
    elif name == "dense" and meant:
        what = f"{options.get('units', 'no')} units before a {last}, but the data has {outputs} {_things(expects)}"
        raise UserError(where, what, f"write units = {outputs}, or leave out both: the output layer is added")
    elif not meant:
        notes += _hidden_outputs(specs, outputs)
    return specs, tuple(notes), meant and last == "log_softmax"


def _hidden_outputs(specs: list[Spec], outputs: int) -> list[str]:
    """A note where the last layers look like outputs, but are followed by the output layer that is added."""
    if len(specs) < 2 or (last := named(specs[-1], len(specs))[0]) not in ACTIVATIONS:
        return []
    if named(specs[-2], len(specs) - 1) != ("dense", {"units": outputs}):
        return []
    where = f"layer {len(specs)}, {last}"
    return [f"{where}: is hidden, as the output layer, a dense of {outputs} units, is added behind it"]


def _check_meant(name: str, where: str, outputs: int, expects: str | None) -> None:
    """A softmax is of classes, and there are two at least."""
    if name == "sigmoid":
        return
    if expects in ("binary", "numbers"):
        what = "is for classes, but the loss compares " + ("yes or no" if expects == "binary" else "numbers")
        raise UserError(where, what, "leave it out")
    if outputs == 1:
        raise UserError(where, "of one output is always 1", "leave it out")


def _refuse_one_unit(specs: list[Spec], outputs: int) -> None:
    """One unit and a sigmoid, as some write two classes, would be a bottleneck before the output layer."""
    name, options = named(specs[-2], len(specs) - 1)
    if name == "dense" and options == {"units": 1}:
        what = f"one unit and a sigmoid, but the data has {outputs} classes, with an output each"
        instead = f"write units = {outputs} and 'softmax', or leave out both: the output layer is added"
        raise UserError(f"layer {len(specs) - 1}, dense", what, instead)


def _things(expects: str | None) -> str:
    return "outputs" if expects == "binary" else "classes"
