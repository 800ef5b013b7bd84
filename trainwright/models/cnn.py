"""A small convolutional network for images.

Letters in shapes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.models.activations import Activation, activation_of, conv, dense

Size = Annotated[int, Field(ge=1)]


@models.add("cnn", default_for="image_classification")
@final
class CNN(nn.Module):
    """Convolutions, each with an activation and a max-pool; flattened; dense layers; outputs.

    The classic is ``filters = [32], kernel = 3, padding = "none", pool = 2, dense = [128]``.

    Args:
        channels: of the images; given by the data.
        size: height and width of the images in pixels; given by the data.
        outputs: numbers that come out; given by the data.
        filters: channels of each convolution.
        kernel: height and width of each convolution's window.
        padding: "same" keeps height and width, "none" loses kernel - 1 pixels.
        pool: height and width of the max-pool after each convolution; 1 pools nothing.
        dense: units of each dense layer before the outputs.
        activation: after every convolution and dense layer but the last.
        dropout: share of what goes into each dense layer silenced in training.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition"; He et al. 2015 for the
    initial weights.
    """

    def __init__(
        self,
        *,
        channels: Size,
        size: tuple[Size, Size],
        outputs: Size,
        filters: tuple[Size, ...] = (32, 64),
        kernel: Size = 3,
        padding: Literal["same", "none"] = "same",
        pool: Size = 2,
        dense: tuple[Size, ...] = (128,),
        activation: Activation = "relu",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        if padding == "same" and kernel % 2 == 0:
            raise UserError("model.kernel", f"{kernel} is even: no padding keeps the size", "use an odd kernel")
        height, width = size
        self.shape = (channels, height, width)
        maps: list[nn.Module] = []
        before, sides = channels, (height, width)
        for i, maps_out in enumerate(filters):
            maps += [conv(before, maps_out, kernel, same=padding == "same", activation=activation)]
            maps += [activation_of(activation)] + ([nn.MaxPool2d(pool)] if pool > 1 else [])
            before, sides = maps_out, _shrunk(sides, kernel, padding, pool, i, (height, width))
        self.features = nn.Sequential(*maps)
        self.top = nn.Sequential(*_top(before * sides[0] * sides[1], dense, outputs, activation, dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outputs)."""
        if x.shape[1:] != self.shape:
            what = f"is built for images {self.shape}, but was given {tuple(x.shape[1:])}"
            raise UserError("model", what, "the axes are channels, height, width")
        return self.top(self.features(x).flatten(1))  # type: ignore[no-any-return]


def _shrunk(
    sides: tuple[int, int], kernel: int, padding: str, pool: int, layer: int, whole: tuple[int, int]
) -> tuple[int, int]:
    """Height and width after one convolution and pool."""
    lost = kernel - 1 if padding == "none" else 0
    height, width = ((side - lost) // pool for side in sides)
    if min(height, width) < 1:
        what = f"nothing of an image of {whole[0]}x{whole[1]} pixels is left after {layer + 1} filters"
        raise UserError("model.filters", what, "use fewer filters, a smaller pool, or padding = 'same'")
    return height, width


def _top(inputs: int, units: tuple[int, ...], outputs: int, activation: Activation, dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size in units:
        layers += [nn.Dropout(dropout)] if dropout else []
        layers += [dense(inputs, size, activation), activation_of(activation)]
        inputs = size
    layers += [nn.Dropout(dropout)] if dropout else []
    return [*layers, dense(inputs, outputs, None)]
