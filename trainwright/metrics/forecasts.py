"""Metrics of forecasts, and simple forecasts to hold a network against.

Letters in shapes: N windows, T steps of context, L steps to forecast, V series, Q quantiles (1 of a single number).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.rows import Encoded, Rows
from trainwright.core.task import Metric, Outputs
from trainwright.metrics.tallies import ratio, ratios, wide

_WINDOWS = 4096  # that a linear forecast is fitted on, at most, evenly chosen
_AT_ONCE = 256
_WORK = 2e10  # multiplications of a linear fit


class Windowed(Protocol):
    """What is asked of a processor of series."""

    context: int  # T
    horizon: int  # L
    names: list[str]  # of V series
    quantiles: tuple[float, ...]  # Q, or none where one number is told

    @property
    def scaling(self) -> str:
        """ "standard" where scaled numbers are in units of each series' deviation."""
        ...

    @property
    def middle(self) -> int:
        """Where the median is among the quantiles."""
        ...

    def raw(self, scaled: Tensor) -> Tensor:
        """(N, L, V, Q) scaled -> in the units of the data."""
        ...

    def units(self, like: Tensor) -> Tensor:
        """(4, V), of which the third is the deviation of the data, the fourth the mean distance a season apart."""
        ...

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """Windows as a batch."""
        ...


def metrics_of(processor: Windowed) -> dict[str, Metric]:
    """MSE, MAE and MASE; of quantiles also CRPS and the share of numbers within the widest interval.

    Errors are in units of each series' deviation in the training part, so that they can be averaged over series and
    compared with papers; MASE is in units of the mean distance of training numbers one season apart. A series that
    repeats exactly has no MASE.

    Source: Hyndman & Koehler 2006, "Another look at measures of forecast accuracy", for MASE; Gneiting & Raftery 2007,
    "Strictly proper scoring rules", for CRPS, here twice the mean pinball loss over the quantiles.
    """

    def off(outputs: Outputs, batch: Batch) -> Tensor:
        return _off(processor, outputs, batch)[..., processor.middle]

    def squares(outputs: Outputs, batch: Batch) -> Tensor:
        return _sums(off(outputs, batch).square(), batch.targets["real"])

    def distances(outputs: Outputs, batch: Batch) -> Tensor:
        return _sums(off(outputs, batch).abs(), batch.targets["real"])

    def scaled(outputs: Outputs, batch: Batch) -> Tensor:
        found = off(outputs, batch)
        naive = processor.units(found)[3].to(found.dtype)
        return _sums(found.abs() / naive.clamp_min(1e-12), batch.targets["real"] & (naive > 0))

    def scores(outputs: Outputs, batch: Batch) -> Tensor:
        found = -_off(processor, outputs, batch)  # the truth above what was said
        levels = torch.tensor(processor.quantiles, dtype=found.dtype, device=found.device)
        return _sums(2 * pinball(found, levels).mean(3), batch.targets["real"])

    def inside(outputs: Outputs, batch: Batch) -> Tensor:
        found = _off(processor, outputs, batch)
        return _sums(((found[..., 0] <= 0) & (found[..., -1] >= 0)).to(found.dtype), batch.targets["real"])

    kinds = {"mse": squares, "mae": distances, "mase": scaled}
    told = {name: Metric(count, ratio, "lower", many=ratios) for name, count in kinds.items()}
    if len(processor.quantiles) > 1:
        told["crps"] = Metric(scores, ratio, "lower", many=ratios)
        told["coverage"] = Metric(inside, ratio, "higher", many=ratios)
    return told


def pinball(off: Tensor, levels: Tensor) -> Tensor:
    """(…, Q) how far the truth lies above each quantile -> (…, Q) its loss.

    Source: Koenker & Bassett 1978, "Regression quantiles".
    """
    return torch.maximum(levels * off, (levels - 1) * off)


def _off(processor: Windowed, outputs: Outputs, batch: Batch) -> Tensor:
    """(N, L, V, Q) what was said above the truth, in units of each series' deviation."""
    said, true = wide(outputs["forecast"]), wide(batch.targets["future"])[..., None]
    if processor.scaling == "standard":
        return said - true
    return (processor.raw(said) - processor.raw(true)) / processor.units(said)[2].to(said.dtype)[:, None]


def _sums(values: Tensor, real: Tensor) -> Tensor:
    """(N, 2) the sum of (N, L, V) numbers that are real, and how many they are."""
    return torch.stack([torch.where(real, values, 0.0).sum((1, 2)), real.sum((1, 2)).to(values.dtype)], 1)


@final
class Repeated(nn.Module):
    """Every step is as it was ``season`` steps, or a multiple of them, before; the mean of the training part for 0.

    Args:
        horizon: steps to forecast.
        season: 1 repeats the last number.
        spread: (L, V, Q) that is added: quantiles of its errors on the training part, around their median.
    """

    def __init__(self, horizon: int, season: int, spread: Tensor) -> None:
        super().__init__()
        self.horizon, self.season = horizon, season
        self.register_buffer("spread", spread)

    def forward(self, context: Tensor, known: Tensor | None = None, past: Tensor | None = None) -> Tensor:
        """(N, T, V) -> (N, L, V, Q)."""
        return repeated(context, self.horizon, self.season)[..., None] + self.get_buffer("spread")


@final
class Relative(nn.Module):
    """A linear map of each series' context relative to its last number, the same for all series.

    Args:
        weight: (T + 1, L), the last row is the bias.
        spread: (L, V, Q) that is added.
    """

    def __init__(self, weight: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("spread", spread)

    def forward(self, context: Tensor, known: Tensor | None = None, past: Tensor | None = None) -> Tensor:
        """(N, T, V) -> (N, L, V, Q)."""
        return linear(context, self.get_buffer("weight"))[..., None] + self.get_buffer("spread")


def repeated(context: Tensor, horizon: int, season: int) -> Tensor:
    """(N, T, V) -> (N, L, V)."""
    if not season:
        return torch.zeros_like(context[:, :1]).expand(-1, horizon, -1)
    newest = context[:, -season:]
    return newest.repeat(1, -(-horizon // season), 1)[:, :horizon]


def linear(context: Tensor, weight: Tensor) -> Tensor:
    """(N, T, V) and (T + 1, L) -> (N, L, V)."""
    last = context[:, -1:]
    return torch.einsum("ntv,tl->nlv", context - last, weight[:-1]) + weight[-1][:, None] + last


def repeated_fit(train: Encoded, processor: Windowed, season: int) -> Repeated:
    """The seasonal forecast, its spread measured on training windows."""
    horizon = processor.horizon
    return Repeated(horizon, season, _spread(train, processor, lambda x: repeated(x, horizon, season)))


def linear_fit(train: Encoded, processor: Windowed) -> Relative:
    """Ridge regression on evenly chosen windows of all series, in float64; on as many as take a second or so."""
    size = processor.context + 1
    each = len(processor.names) * size * (size + processor.horizon)  # multiplications for a window
    most = max(256, min(_WINDOWS, int(_WORK / each) // 64 * 64))
    squares = torch.zeros(size, size, dtype=torch.float64)
    products = torch.zeros(size, processor.horizon, dtype=torch.float64)
    seen = 0
    for context, future, real in _windows(train, processor, most):
        last = context[:, -1:]
        whole = real.all(1)  # (N, V)
        x = (context - last).transpose(1, 2)[whole]  # (M, T)
        x = torch.cat([x, x.new_ones(len(x), 1)], 1)
        squares += x.T @ x
        products += x.T @ (future - last).transpose(1, 2)[whole]
        seen += len(x)
    ridge = torch.eye(size, dtype=torch.float64) * max(1.0, 1e-3 * seen)
    ridge[-1, -1] = 1e-9 * max(1, seen)  # the bias is free
    weight = torch.linalg.solve(squares + ridge, products)
    return Relative(weight, _spread(train, processor, lambda x: linear(x, weight)))


def _spread(train: Encoded, processor: Windowed, said: Callable[[Tensor], Tensor]) -> Tensor:
    """(L, V, Q) quantiles of the errors on training windows; 0 where one number is told."""
    levels = processor.quantiles
    shape = (processor.horizon, len(processor.names))
    if not levels:
        return torch.zeros(*shape, 1, dtype=torch.float64)
    errors = [torch.where(real, future - said(x), torch.nan) for x, future, real in _windows(train, processor, 1024)]
    found = torch.from_numpy(np.nanquantile(torch.cat(errors).numpy(), levels, 0))  # (Q, L, V)
    found = found - found[processor.middle]  # the forecast itself stays what its name says
    return found.movedim(0, -1).nan_to_num(0.0)


def _windows(train: Encoded, processor: Windowed, most: int = _WINDOWS) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Context (N, T, V), future (N, L, V) and what of it is real, in float64, of evenly chosen stretches of windows."""
    stretches = _stretches(len(train), most)
    for start, stop in stretches:
        batch = processor.batch(train.rows(start, stop), None)
        yield batch.inputs["context"].double(), batch.targets["future"].double(), batch.targets["real"]


def _stretches(windows: int, most: int) -> Sequence[tuple[int, int]]:
    """All windows, or ``most`` of them in stretches of 64 that lie evenly."""
    if windows <= most:
        return [(a, min(a + _AT_ONCE, windows)) for a in range(0, windows, _AT_ONCE)]
    count, size = most // 64, 64
    return [(a, a + size) for a in (k * (windows - size) // max(1, count - 1) for k in range(count))]
