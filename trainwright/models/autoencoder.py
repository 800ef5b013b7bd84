"""Autoencoders: dense layers for anything, convolutions for pictures; a code that is a point, or a distribution.

Letters in shapes: N samples, C channels, H height, W width, D numbers of a sample, K numbers of a code.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias, final

from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import Latent
from trainwright.models.activations import Activation, activation_of, conv, dense

Size = Annotated[int, Field(ge=1)]
Kind: TypeAlias = Literal["point", "normal"]
Said: TypeAlias = tuple[Tensor, Tensor, Tensor]


@models.add("autoencoder", default_for="autoencoding", speaks=Latent)
@final
class Autoencoder(nn.Module):
    """Dense layers that narrow down to a code, and the same backwards.

    Args:
        inputs: numbers of one sample; given by the data.
        codes: numbers of a code; given by the task.
        units: of the hidden layers before the code; behind it they come in reverse.
        activation: behind each hidden layer.
        latent: whether a code is a "point", or a "normal" distribution (a variational autoencoder).

    Source: Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks"; Kingma & Welling
    2014, "Auto-encoding variational Bayes".
    """

    def __init__(
        self,
        *,
        inputs: Size,
        codes: Size,
        units: tuple[Size, ...] = (256, 128),
        activation: Activation = "gelu",
        latent: Kind = "point",
    ) -> None:
        super().__init__()
        self.latent: str = latent
        self.encoder = _layers((inputs, *units), activation)
        self.code = _Code(units[-1] if units else inputs, codes, latent)
        self.decoder = _layers((codes, *units[::-1]), activation)
        self.head = dense(units[0] if units else codes, inputs, None)
        self.shape: tuple[int, ...] = (inputs,)

    def forward(self, x: Tensor, dice: Tensor | None = None) -> Said:
        """(N, …) and standard normal numbers (N, K) to draw codes with -> what is said (N, …), the codes (N, K), and
        nats between their distribution and a standard normal one (N,)."""
        code, drawn, divergence = self.code(self.encoder(x.flatten(1)), dice)
        return self.decode(drawn).view_as(x), code, divergence

    def encode(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, K), the means of distributions."""
        return self.code(self.encoder(x.flatten(1)), None)[0]  # type: ignore[no-any-return]

    def decode(self, code: Tensor) -> Tensor:
        """(N, K) -> (N, D)."""
        return self.head(self.decoder(code))  # type: ignore[no-any-return]


@models.add("conv_autoencoder", speaks=Latent)
@final
class ConvAutoencoder(nn.Module):
    """Convolutions that halve a picture to a code; behind it maps are enlarged and convolved, which leaves no grid.

    Windows over series are pictures that are one pixel high, with a channel for each series.

    Args:
        channels: of the pictures, or series; given by the data.
        size: height and width in pixels; of series 1, and the steps of a window; given by the data.
        codes: numbers of a code; given by the task.
        filters: channels of each convolution; each halves height and width, rounded up.
        kernel: height and width of each convolution's window; 1 along a side of one pixel.
        activation: behind every convolution but the last.
        latent: whether a code is a "point", or a "normal" distribution (a variational autoencoder).

    Source: Masci et al. 2011, "Stacked convolutional auto-encoders for hierarchical feature extraction"; Odena et al.
    2016, "Deconvolution and checkerboard artifacts", for enlarging first; Kingma & Welling 2014 for distributions.
    """

    def __init__(
        self,
        *,
        channels: Size,
        size: tuple[Size, Size],
        codes: Size,
        filters: tuple[Size, ...] = (32, 64),
        kernel: Size = 3,
        activation: Activation = "gelu",
        latent: Kind = "point",
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise UserError("model.kernel", f"{kernel} is even: no padding keeps the size", "use an odd kernel")
        if not filters:
            raise UserError("model.filters", "there is none", "give one at least, or use the model 'autoencoder'")
        self.latent: str = latent
        sides = [tuple(size)]
        across = (1 if size[0] == 1 else kernel, 1 if size[1] == 1 else kernel)
        down: list[nn.Module] = []
        for before, maps in zip((channels, *filters), filters, strict=False):
            layer = nn.Conv2d(before, maps, across, stride=2, padding=(across[0] // 2, across[1] // 2))
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            down += [layer, activation_of(activation)]
            sides.append((math.ceil(sides[-1][0] / 2), math.ceil(sides[-1][1] / 2)))
        self.whole = (channels, *size)
        self.encoder = nn.Sequential(*down)
        self.small = (filters[-1], *sides[-1])
        flat = math.prod(self.small)
        self.code = _Code(flat, codes, latent)
        self.grown = nn.Sequential(dense(codes, flat, activation), activation_of(activation))
        up: list[nn.Module] = []
        backwards = list(zip(filters[::-1], [*filters[-2::-1], channels], sides[-2::-1], strict=True))
        for i, (before, maps, side) in enumerate(backwards):
            up += [nn.Upsample(size=side), conv(before, maps, across, same=True, activation=activation)]
            up += [activation_of(activation)] if i < len(backwards) - 1 else []
        self.decoder = nn.Sequential(*up)

    def forward(self, x: Tensor, dice: Tensor | None = None) -> Said:
        """(N, C, H, W), or (N, C, W) of series, and standard normal numbers (N, K) to draw codes with -> what is said,
        of the same shape, the codes (N, K), and nats between their distribution and a standard normal one (N,)."""
        code, drawn, divergence = self.code(self._read(x), dice)
        return self.decode(drawn).view_as(x), code, divergence

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W), or (N, C, W) of series -> (N, K), the means of distributions."""
        return self.code(self._read(x), None)[0]  # type: ignore[no-any-return]

    def decode(self, code: Tensor) -> Tensor:
        """(N, K) -> (N, C, H, W)."""
        return self.decoder(self.grown(code).view(-1, *self.small))  # type: ignore[no-any-return]

    def _read(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, H'), what the code is told from."""
        return self.encoder(x.reshape(-1, *self.whole)).flatten(1)  # type: ignore[no-any-return]


@final
class _Code(nn.Module):
    """The layer that says a code, or the mean and the logarithm of the variance of each of its numbers."""

    def __init__(self, inputs: int, codes: int, latent: Kind) -> None:
        super().__init__()
        self.normal, self.codes = latent == "normal", codes
        self.says = nn.Linear(inputs, codes * (2 if self.normal else 1))
        nn.init.xavier_uniform_(self.says.weight)
        nn.init.zeros_(self.says.bias)

    def forward(self, hidden: Tensor, dice: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """(N, H) and (N, K) -> the code (N, K), one that is drawn (N, K), and its divergence (N,) in nats."""
        said = self.says(hidden)
        if not self.normal:
            return said, said, said.new_zeros(len(said))
        mean, spread = said.chunk(2, 1)
        spread = spread.clamp(-20.0, 10.0)  # exp of it stays in range while a network finds its feet
        divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1)
        drawn = mean if dice is None else mean + (0.5 * spread).exp() * dice
        return mean, drawn, divergence


def _layers(sizes: tuple[int, ...], activation: Activation) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, units in pairwise(sizes):
        layers += [dense(before, units, activation), activation_of(activation)]
    return nn.Sequential(*layers)
