"""What metrics count with: rows in float64, sums divided once, and rows that resamples weigh."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """In float64, where the device has it: what is counted adds up to the end."""
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)


def ratio(total: Tensor) -> float:
    """The first sum divided by the second."""
    return float(total[0] / total[1])


def totals(rows: Tensor, weights: Tensor) -> Tensor:
    """(B, …) the sums of rows (N, …) that count as often as weights (B, N) say."""
    flat = rows.flatten(1)
    if flat.shape[1] == 2:  # a product with two columns takes twice as long as two with one
        return torch.stack([weights @ column for column in flat.unbind(1)], 1).reshape(len(weights), *rows.shape[1:])
    return (weights @ flat).reshape(len(weights), *rows.shape[1:])


def ratios(rows: Tensor, weights: Tensor) -> Tensor:
    """(B,) `ratio` of each resample."""
    sums = totals(rows, weights)
    return sums[:, 0] / sums[:, 1]


def summed(values: Tensor) -> Tensor:
    """(N, 2) the sum of each sample's values (N, …), and how many they are."""
    flat = wide(values).flatten(1) if values.ndim > 1 else wide(values).unsqueeze(1)
    return torch.stack([flat.sum(1), torch.full_like(flat[:, 0], flat.shape[1])], 1)


def positions(rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N, P, K) and their weights (B, N) position by position, (M, K) and (B, M); those whose first is NaN or
    below 0 are left out."""
    flat = rows.flatten(0, 1)
    kept = flat[:, 0] >= 0
    return flat[kept], weights.repeat_interleave(rows.shape[1], 1)[:, kept]


def once(many: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], float]:
    """The value of rows that count once each, by the rule for resamples."""
    return lambda rows: float(many(rows, rows.new_ones(1, len(rows)))[0])
