"""Samples of a held-out part that lie suspiciously near to training samples, without being copies of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_NEIGHBOURS = 10  # the tenth is the measure of what is usual
_AT_MOST = 0.3  # of the distance to the tenth
_BY_CHANCE = 1e-3  # share of samples that may seem near by chance, of which the limit is made
_WIDTH = 256  # columns; of more, so many random projections, which keep ratios of distances
_LEAST = 50  # samples on each side


@dataclass(frozen=True, slots=True)
class Near:
    """Of M held-out samples."""

    which: Tensor  # (K,) int64, those that are near a training sample
    to: Tensor  # (K,) int64, which one
    within: float  # the limit: a share of the distance to the tenth neighbour


@torch.no_grad()
def near(train: Tensor, held: Tensor) -> Near | None:
    """Compare each held-out sample's nearest neighbour with its tenth; None where that says nothing.

    Of points drawn from a density in D dimensions the nearest lies within a share t of the distance to the tenth with a
    probability below 9 t^D. D is estimated by the median of log(tenth / fifth) = log(2) / D, which up to four copies of
    each sample do not move, and t is what makes that probability a thousandth, at most 0.3. Exact copies do not count.

    Args:
        train: (N, …) inputs, numbers.
        held: (M, …) likewise.

    Source: Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal neighborhood information".
    """
    if min(len(train), len(held)) < _LEAST:
        return None
    a, b = train.reshape(len(train), -1).float(), held.reshape(len(held), -1).float()
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()) or not _fine(a):
        return None
    if train.ndim == 2:  # columns of a table, each in its own unit
        scale = a.std(0)
        a, b = (x[:, scale > 0] / scale[scale > 0] for x in (a, b))
    if a.shape[1] < 4:
        return None
    if a.shape[1] > _WIDTH:
        mix = torch.randn(a.shape[1], _WIDTH, generator=torch.Generator().manual_seed(0)) / math.sqrt(_WIDTH)
        a, b = a @ mix, b @ mix
    distances, neighbours = _nearest(a, b)
    first, middle, last = distances[:, 0], distances[:, _NEIGHBOURS // 2 - 1], distances[:, -1]
    apart = first > 0
    if int(apart.sum()) < _LEAST:
        return None
    growth = float((last[apart] / middle[apart]).log().median())
    dimensions = math.log(2) / growth if growth > 1e-6 else math.inf
    within = min(_AT_MOST, (_BY_CHANCE / (_NEIGHBOURS - 1)) ** (1 / dimensions))
    which = (apart & (first < within * last)).nonzero().reshape(-1)
    return Near(which, neighbours[which, 0], within)


def _fine(x: Tensor) -> bool:
    """Whether numbers are so many that equal ones are no accident of few values: of tables with few columns, most."""
    if x.shape[1] > 64:
        return True
    many = [len(torch.unique(column[:2000])) > 50 for column in x.T]
    return len(many) >= 4 and sum(many) >= 0.75 * len(many)


def _nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(M, 10) exact distances from b to the ten nearest of a, ascending, and which those are."""
    distances, neighbours = [], []
    for chunk in b.split(256):
        found = torch.cdist(chunk, a).topk(_NEIGHBOURS, largest=False).indices
        exact = (a[found] - chunk.unsqueeze(1)).double().norm(dim=2)  # cdist rounds small distances away
        order = exact.argsort(1)
        distances.append(exact.gather(1, order))
        neighbours.append(found.gather(1, order))
    return torch.cat(distances), torch.cat(neighbours)
