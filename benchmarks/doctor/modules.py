"""The few modules that Keras has and PyTorch has not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn


@final
class Axes(nn.Module):
    """The input with its axes in another order; the batch is axis 0."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, *self.order)


@final
class Shaped(nn.Module):
    """Each sample in another shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)


@final
class Pooled(nn.Module):
    """The mean or the maximum over the last axes."""

    def __init__(self, axes: int, largest: bool) -> None:
        super().__init__()
        self.axes, self.largest = tuple(range(-axes, 0)), largest

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(self.axes) if self.largest else x.mean(self.axes)


@final
class Repeated(nn.Module):
    """(N, F) -> (N, times, F)."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1).expand(-1, self.times, -1)


@final
class Noise(nn.Module):
    """Gaussian noise while training."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.deviation * torch.randn_like(x) if self.training else x


@final
class Recurrent(nn.Module):
    """A recurrent network over (N, T, F) that gives its last state, or with ``whole`` the state of every step."""

    def __init__(self, network: nn.RNNBase, whole: bool) -> None:
        super().__init__()
        self.network, self.whole = network, whole

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.network(x)
        return states if self.whole else states[:, -1]


@final
class Cells(nn.Module):
    """LSTM cells on top of each other, one step after the other: (N, T, F) -> the last cell's states (N, T, H)."""

    def __init__(self, features: int, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = zip([features, *widths[:-1]], widths, strict=True)
        self.cells = nn.ModuleList(nn.LSTMCell(inputs, width) for inputs, width in sizes)

    def forward(self, x: Tensor) -> Tensor:
        states: list[tuple[Tensor, Tensor] | None] = [None] * len(self.cells)
        steps = []
        for now in x.unbind(1):
            for i, cell in enumerate(self.cells):
                states[i] = cell(now, states[i])
                now = states[i][0]
            steps.append(now)
        return torch.stack(steps, 1)
