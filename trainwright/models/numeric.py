"""Numbers as vectors, so that a network can bend its answer anywhere along a column.

Letters in shapes: N samples, F numbers, T bins, D units of each number's vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Edges = Sequence[Sequence[float]]  # of each number's bins, rising; two or more


class Numbers(Protocol):
    """A module for (N, F) numbers that says how many units it gives together."""

    width: int

    def __call__(self, x: Tensor) -> Tensor:
        """(N, F) -> (N, width)."""
        ...


@final
class Plain(nn.Module):
    """The numbers as they are.

    Args:
        inputs: F.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.width = inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) -> (N, F)."""
        return x


@final
class PiecewiseLinear(nn.Module):
    """Each number as a vector that is linear within every bin and continuous: a line plus one slope for each bin.

    The slopes begin at 0, so that the first function is the line.

    Args:
        edges: of each number's bins.
        size: D.

    Source: Gorishniy, Rubachev & Babenko 2022, "On embeddings for numerical features in tabular deep learning",
    equation 1; the added line and the zero start are those of Gorishniy, Kotelnikov & Babenko 2024, "TabM", code.
    """

    start: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, edges: Edges, size: int) -> None:
        super().__init__()
        self.width = len(edges) * size
        bins = max(len(e) for e in edges) - 1
        self.line = nn.Parameter(torch.empty(len(edges), size))
        self.bias = nn.Parameter(torch.empty(self.width))  # flat, as biases are for an optimizer
        self.slopes = nn.Parameter(torch.zeros(len(edges), bins, size))
        for weight in (self.line, self.bias):
            nn.init.uniform_(weight, -1 / math.sqrt(size), 1 / math.sqrt(size))
        for name, values in _positions(edges, bins).items():  # they follow from the data: no part of the weights
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) -> (N, F D)."""
        vectors = torch.einsum("nft,ftd->nfd", self.encoded(x), self.slopes)
        return (vectors + x.unsqueeze(2) * self.line).flatten(1) + self.bias

    def encoded(self, x: Tensor) -> Tensor:
        """(N, F) -> (N, F, T): how much of each bin lies below the number, 0 to 1.

        The first bin goes on below its edge and the last above its own; bins that a number does not have give 0.
        """
        return ((x.unsqueeze(2) - self.start) * self.scale).clamp(self.low, self.high)


@final
class Periodic(nn.Module):
    """Each number as sines and cosines of learned frequencies, through a dense layer of its own and ReLU.

    Args:
        inputs: F.
        size: D.
        frequencies: for each number.
        deviation: of the first frequencies; larger ones bend faster.

    Source: Gorishniy, Rubachev & Babenko 2022, "On embeddings for numerical features in tabular deep learning",
    section 3.3 (PLR).
    """

    def __init__(self, inputs: int, size: int, frequencies: int = 32, deviation: float = 0.1) -> None:
        super().__init__()
        self.width = inputs * size
        self.frequencies = nn.Parameter(torch.randn(inputs, frequencies).clamp_(-3, 3) * deviation)
        self.weight = nn.Parameter(torch.empty(inputs, 2 * frequencies, size))
        self.bias = nn.Parameter(torch.zeros(self.width))
        nn.init.normal_(self.weight, std=math.sqrt(2 / frequencies))  # sin² + cos² = 1: half of 2 K inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) -> (N, F D)."""
        angle = 2 * math.pi * x.unsqueeze(2) * self.frequencies
        waves = torch.cat([angle.cos(), angle.sin()], 2)
        return (torch.einsum("nfk,fkd->nfd", waves, self.weight).flatten(1) + self.bias).relu()


def thinned(edges: Sequence[float], bins: int) -> list[float]:
    """At most ``bins`` bins: the outermost edges, and of the others every so many."""
    if len(edges) <= bins + 1:
        return list(edges)
    kept = np.linspace(0, len(edges) - 1, bins + 1).round().astype(int)
    return [edges[i] for i in kept]


def _positions(edges: Edges, bins: int) -> dict[str, NDArray[np.float32]]:
    """What turns a number into its place in every bin: (F, T) where it starts, one over its width, and bounds."""
    shape = (len(edges), bins)
    out = {name: np.zeros(shape, np.float32) for name in ("start", "scale", "low", "high")}
    for f, own in enumerate(edges):
        e = np.asarray(own, np.float64)
        n = len(e) - 1
        out["start"][f, :n] = e[:-1]
        out["scale"][f, :n] = 1 / np.diff(e)
        out["high"][f, :n] = 1
        out["low"][f, 0], out["high"][f, n - 1] = -np.inf, np.inf
    return out
