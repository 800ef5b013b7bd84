"""The layers that a declared list is made of; each is told its options, then the shape that comes in.

Letters in shapes: N samples, C channels, H height, W width, T steps, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, cast, final, get_args

from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import Layer, Place, layers
from trainwright.models import cells
from trainwright.models.activations import ACTIVATIONS, Activation, activation_of, begin, fit
from trainwright.models.norms import FeatureNorm, MapNorm

Size = Annotated[int, Field(ge=1)]
_FLAT = "write 'flatten' or 'global_pool' before it"


@layers.add("dense")
def dense(*, units: Size) -> Layer:
    """Every output a weighted sum of all features, plus a bias; in a sequence, step by step.

    Initial weights fit the activation that follows.

    Args:
        units: numbers that come out.
    """

    def at(place: Place) -> nn.Module:
        if len(place.shape) > 2:
            raise UserError("", "takes features, not maps", _FLAT)
        return _fitted(nn.Linear(place.shape[-1], units), place)

    return at


@layers.add("conv")
def conv(*, filters: Size, kernel: Size = 3, stride: Size = 1, padding: Literal["same", "none"] = "same") -> Layer:
    """A convolution over height and width.

    Initial weights fit the activation that follows.

    Args:
        filters: maps that come out.
        kernel: height and width of the window.
        stride: pixels from one window to the next.
        padding: "same" adds a border, so that only the stride makes maps smaller; "none" loses kernel - 1 pixels.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition".
    """

    def at(place: Place) -> nn.Module:
        channels, _, _ = _maps(place)
        if padding == "same" and kernel % 2 == 0:
            raise UserError("", f"no border fits a kernel of {kernel}, which is even", "use an odd one")
        if padding == "none":
            _large_enough(place, kernel)
        border = kernel // 2 if padding == "same" else 0
        return _fitted(nn.Conv2d(channels, filters, kernel, stride, border), place)

    return at


@layers.add("max_pool")
def max_pool(*, size: Size = 2, stride: Size | None = None) -> Layer:
    """The largest value within each window.

    Args:
        size: height and width of the window.
        stride: pixels from one window to the next; left out, windows do not overlap.
    """

    def at(place: Place) -> nn.Module:
        _large_enough(place, size)
        return nn.MaxPool2d(size, stride)

    return at


@layers.add("avg_pool")
def avg_pool(*, size: Size = 2, stride: Size | None = None) -> Layer:
    """The mean of each window.

    Args:
        size: height and width of the window.
        stride: pixels from one window to the next; left out, windows do not overlap.
    """

    def at(place: Place) -> nn.Module:
        _large_enough(place, size)
        return nn.AvgPool2d(size, stride)

    return at


@layers.add("global_pool")
def global_pool(*, take: Literal["mean", "max"] = "mean") -> Layer:
    """One number per map, or per feature of a sequence.

    Args:
        take: what is kept of a map's pixels, or of a sequence's steps.
    """

    def at(place: Place) -> nn.Module:
        if len(place.shape) < 2:
            raise UserError("", "takes maps or a sequence, not features", "leave it out")
        return _GlobalPool(take)

    return at


@layers.add("flatten")
def flatten() -> Layer:
    """All numbers of a sample in one row."""
    return lambda place: nn.Flatten()


@layers.add("dropout")
def dropout(*, rate: Annotated[float, Field(ge=0, lt=1)] = 0.5) -> Layer:
    """In training, numbers are silenced at random, and the others made larger.

    Args:
        rate: share of the numbers silenced.

    Source: Srivastava et al. 2014, "Dropout".
    """
    return lambda place: nn.Dropout(rate)


@layers.add("batch_norm")
def batch_norm() -> Layer:
    """Each feature or map with mean 0 and deviation 1 over the batch, then scaled and shifted as learned.

    In evaluation, and for a training batch with one value per feature, by the running statistics.

    Source: Ioffe & Szegedy 2015, "Batch normalization".
    """

    def at(place: Place) -> nn.Module:
        if len(place.shape) == 2:
            raise UserError("", "takes features or maps, not a sequence", "write 'layer_norm'")
        return FeatureNorm(place.shape[0]) if len(place.shape) == 1 else MapNorm(place.shape[0])

    return at


@layers.add("layer_norm")
def layer_norm() -> Layer:
    """Each sample with mean 0 and deviation 1, then scaled and shifted as learned; in a sequence, step by step.

    Source: Ba, Kiros & Hinton 2016, "Layer normalization".
    """
    return lambda place: nn.LayerNorm(place.shape[-1:] if len(place.shape) == 2 else place.shape)


@layers.add("simple_rnn")
def simple_rnn(*, units: Size, give: Literal["last", "all"] = "last") -> Layer:
    """Reads a sequence step by step, or an image row by row; its state is a tanh of the last state and the step.

    Args:
        units: numbers of the state.
        give: "last" is the state after the last step, "all" the states after every step, for a recurrent layer behind.

    Source: Elman 1990, "Finding structure in time".
    """
    return lambda place: _Recurrent(nn.RNN(_features(place), units, batch_first=True), give)


@layers.add("lstm")
def lstm(*, units: Size, give: Literal["last", "all"] = "last") -> Layer:
    """Reads a sequence step by step, or an image row by row, with gates that keep, write and show a memory.

    The gate that keeps begins open (bias 1).

    Args:
        units: numbers of the state.
        give: "last" is the state after the last step, "all" the states after every step, for a recurrent layer behind.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; Jozefowicz et al. 2015 for the bias.
    """
    return lambda place: _Recurrent(nn.LSTM(_features(place), units, batch_first=True), give)


@layers.add("gru")
def gru(*, units: Size, give: Literal["last", "all"] = "last") -> Layer:
    """Reads a sequence step by step, or an image row by row, with gates that keep and forget its state.

    Args:
        units: numbers of the state.
        give: "last" is the state after the last step, "all" the states after every step, for a recurrent layer behind.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder".
    """
    return lambda place: _Recurrent(nn.GRU(_features(place), units, batch_first=True), give)


@layers.add("softmax")
def softmax() -> Layer:
    """Probabilities of classes; only as the last layer, where it is left to the loss, which applies it once."""

    def at(place: Place) -> nn.Module:
        raise UserError("", "stands within the network", "write it last, or leave it out: the loss applies it")

    return at


@layers.add("log_softmax")
def log_softmax() -> Layer:
    """Logarithms of probabilities of classes, for the loss nll; only as the last layer."""

    def at(place: Place) -> nn.Module:
        raise UserError("", "stands within the network", "write it last, or leave it out and take cross_entropy")

    return at


@layers.add("embedding")
def embedding(*, ids: Size, units: Size) -> Layer:
    """A learned vector for each id: a sample's row of whole numbers becomes a sequence of vectors.

    Args:
        ids: how many there are; they count from 0.
        units: numbers of each vector.

    Source: Bengio et al. 2003, "A neural probabilistic language model".
    """

    def at(place: Place) -> nn.Module:
        if len(place.shape) != 1:
            raise UserError("", "takes a row of whole numbers, the ids", "write it first, for rows of ids")
        return _Embedding(ids, units)

    return at


def _activation(name: Activation) -> Callable[[], Layer]:
    """A layer without options."""

    def factory() -> Layer:
        return lambda place: activation_of(name)

    entry = ACTIVATIONS[name]
    factory.__name__ = name
    factory.__doc__ = f"An activation: {entry.words}\n\nSource: {entry.source}."
    return factory


for _name in get_args(Activation):
    layers.add(_name)(_activation(_name))


@final
class _GlobalPool(nn.Module):
    def __init__(self, take: Literal["mean", "max"]) -> None:
        super().__init__()
        self.take = take

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C), or (N, T, F) -> (N, F)."""
        axes = (2, 3) if x.ndim == 4 else (1,)
        return x.mean(axes) if self.take == "mean" else x.amax(axes)


@final
class _Embedding(nn.Module):
    def __init__(self, ids: int, units: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(ids, units)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T) ids, of whatever type -> (N, T, F)."""
        if x.is_cpu and x.numel() and not 0 <= float(x.min()) <= float(x.max()) < self.vectors.num_embeddings:
            what = f"the ids reach from {float(x.min()):g} to {float(x.max()):g}"
            raise UserError("layer embedding", what, f"they must lie from 0 to {self.vectors.num_embeddings - 1}")
        return self.vectors(x.long())  # type: ignore[no-any-return]


@final
class _Recurrent(nn.Module):
    """A recurrent network that gives its last state or all of them."""

    def __init__(self, cell: nn.RNN | nn.LSTM | nn.GRU, give: Literal["last", "all"]) -> None:
        super().__init__()
        self.cell, self.give = cell, give
        cells.begin(cell)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, F), or the rows of (N, C, H, W), -> (N, units) or (N, T, units)."""
        states, _ = self.cell(x.transpose(1, 2).flatten(2) if x.ndim == 4 else x)
        return states if self.give == "all" else states[:, -1]  # type: ignore[no-any-return]


def _fitted(layer: nn.Linear | nn.Conv2d, place: Place) -> nn.Module:
    """Weights for the activation behind; without one, those that keep the signal's size."""
    if place.activation in ACTIVATIONS:
        fit(layer, cast(Activation, place.activation))
    else:
        begin(layer, 1.0)
    return layer


def _maps(place: Place) -> tuple[int, int, int]:
    """Channels, height, width."""
    if len(place.shape) != 3:
        raise UserError("", "takes images or maps (channels, height, width)", "use it before 'flatten', on images")
    channels, height, width = place.shape
    return channels, height, width


def _large_enough(place: Place, window: int) -> None:
    _, height, width = _maps(place)
    if window > min(height, width):
        what = f"a window of {window}x{window} does not fit into {height}x{width} pixels"
        raise UserError("", what, "use a smaller one, fewer pools before it, or larger images")


def _features(place: Place) -> int:
    """Numbers of one step."""
    if len(place.shape) < 2:
        what = "takes a sequence (steps, features) or an image, whose rows are the steps"
        raise UserError("", what, "give the recurrent layer before it give = \"all\", or use 'dense'")
    return place.shape[-1] * (place.shape[0] if len(place.shape) == 3 else 1)
