"""What one column tells of the target by itself: too much is a sign of an answer that stands among the inputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Numbers = npt.NDArray[np.float64]
LEAST = 200  # rows of which anything is said
_ROWS, _COLUMNS = 2000, 500
_CLASSES = 20  # whole numbers of fewer values are classes


def alone(columns: Tensor, target: Tensor) -> Numbers | None:
    """(F,) of each column the share of the way from guessing to right answers, by it alone; None where none is said.

    Half of the rows are answered by the other half's nearest value of that column, so any shape of dependence counts.
    Of classes it is the share of errors of the largest class that are gone; of numbers 1 - error / variance.

    Args:
        columns: (N, F) numbers, or ids of categories.
        target: (N,) classes or numbers.
    """
    if columns.ndim != 2 or len(columns) < LEAST or not 0 < columns.shape[1] <= _COLUMNS or target.ndim != 1:
        return None
    drawn = torch.randperm(len(columns), generator=torch.Generator().manual_seed(0))[:_ROWS]
    x, y = columns[drawn].double().cpu().numpy(), target[drawn].double().cpu().numpy()
    if not np.isfinite(x).all() or not np.isfinite(y).all() or len(np.unique(y)) < 2:
        return None
    half = len(x) // 2
    classes = classes_of(y)
    judge = _classes if classes else _values
    return np.array([judge(x[:half, i], y[:half], x[half:, i], y[half:]) for i in range(x.shape[1])])


def classes_of(y: Numbers) -> bool:
    """Whether these numbers stand for classes."""
    values = np.unique(y)
    return len(values) <= _CLASSES and bool((values == values.round()).all())


def _classes(x: Numbers, y: Numbers, at: Numbers, truth: Numbers) -> float:
    kinds, codes = np.unique(y, return_inverse=True)
    points, place = np.unique(x, return_inverse=True)
    votes = np.zeros((len(points), len(kinds)))
    np.add.at(votes, (place, codes), 1)
    said = kinds[votes.argmax(1)][_closest(points, at)]
    most = (truth == kinds[np.bincount(codes).argmax()]).mean()
    return float(((said == truth).mean() - most) / max(1e-9, 1 - most))


def _values(x: Numbers, y: Numbers, at: Numbers, truth: Numbers) -> float:
    points, place = np.unique(x, return_inverse=True)
    means = np.bincount(place, y) / np.bincount(place)
    error = ((np.interp(at, points, means) - truth) ** 2).mean()
    return float(1 - error / max(1e-300, ((truth - y.mean()) ** 2).mean()))


def _closest(points: Numbers, at: Numbers) -> npt.NDArray[np.intp]:
    """Which of ascending points is nearest to each."""
    right = np.clip(np.searchsorted(points, at), 0, len(points) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(points[left] - at) <= np.abs(points[right] - at), left, right)


def repeated(columns: Tensor, names: list[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of names whose columns (N, F) are the same numbers."""
    seen: dict[bytes, str] = {}
    found = []
    for name, column in zip(names, columns.T.contiguous(), strict=True):
        key = column.cpu().numpy().tobytes()
        if key in seen:
            found.append((seen[key], name))
        else:
            seen[key] = name
    return tuple(found)
