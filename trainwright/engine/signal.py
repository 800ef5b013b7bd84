"""Whether there is anything to learn: what simple models get out of a few hundred samples that they have not seen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ROWS, _COLUMNS, _FOLDS = 600, 256, 4
_LEAST = 80  # rows of which anything is said


def signal_of(x: Tensor, y: Tensor) -> tuple[float, float]:
    """(share, error) of the way from guessing to perfect answers, by cross-validation of trees and a linear model.

    (NaN, NaN) where the samples are too few, or neither inputs nor targets are such that these models know them.

    Args:
        x: (N, …) inputs, numbers.
        y: (N,), (N, 1) or one-hot (N, C) targets.
    """
    if not x.is_floating_point() or len(x) < _LEAST or len(x) != len(y):
        return math.nan, math.nan
    drawn = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:_ROWS]
    flat = columns_of(x[drawn].detach().cpu().double().reshape(len(drawn), -1), _COLUMNS)
    target = _alone(y[drawn].detach().cpu())
    if target is None or not bool(torch.isfinite(flat).all()):
        return math.nan, math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (_of_classes if _whole(target) else _of_numbers)(flat.numpy(), target.numpy())


def classes_of(y: Tensor) -> Tensor | None:
    """(N,) the class of each sample; None where targets are not at most twenty classes that exclude each other.

    Args:
        y: (N, …) targets.
    """
    target = _alone(y.detach().cpu())
    return target.long() if target is not None and _whole(target) else None


def _alone(target: Tensor) -> Tensor | None:
    """(N,) one number of each sample, where one tells all."""
    if target.ndim == 2 and target.shape[1] > 1:
        if not bool((target.sum(1) == 1).all()) or not bool(((target == 0) | (target == 1)).all()):
            return None
        target = target.argmax(1)
    return target.reshape(-1) if target.numel() == len(target) else None


def _whole(target: Tensor) -> bool:
    values = torch.unique(target)
    return len(values) <= 20 and bool((values.double() == values.double().round()).all())


def reached(output: Tensor, y: Tensor, wants: str) -> float:
    """The same share of what a network said; NaN where outputs and targets are not such that it can be told.

    Args:
        output: (N,), (N, 1) or (N, C).
        y: (N,), (N, 1) or one-hot (N, C) targets.
        wants: what the loss wants outputs to be, as `LossFacts` has it; of one that is not known nothing can be told.
    """
    n = len(y)
    if not wants or len(output) != n or output.ndim > 2 or y.ndim > 2 or not bool(torch.isfinite(output).all()):
        return math.nan
    said, true = output.detach().cpu().double().reshape(n, -1), y.detach().cpu().reshape(n, -1)
    if true.shape[1] > 1:
        if true.shape != said.shape or not bool((true.sum(1) == 1).all()):
            return math.nan
        true = true.argmax(1, keepdim=True)
    values, counts = torch.unique(true, return_counts=True)
    whole = len(values) <= 20 and bool((values.double() == values.double().round()).all())
    if said.shape[1] > 1:
        named = (values.double() == values.double().round()) & (values >= 0) & (values < said.shape[1])
        if not bool(named.all()):  # quantiles of a number, or its mean and deviation
            return math.nan
        answers: Tensor | None = said.argmax(1, keepdim=True)
    elif whole and set(values.tolist()) <= {0, 1}:
        answers = (said > (0.0 if wants == "logits" else 0.5)).long()
    else:
        answers = None
    if answers is None:
        spread = float(true.double().var(correction=0))
        return 1 - float((said - true).square().mean()) / spread if spread > 0 else math.nan
    right, most = float((answers == true).double().mean()), float(counts.max()) / n
    return (right - most) / (1 - most) if most < 1 else math.nan


def columns_of(x: Tensor, most: int) -> Tensor:
    """(N, at most ``most``) of very many columns, some that are evenly spread."""
    step = max(1, x.shape[1] // most)
    return x[:, ::step][:, :most]


def _of_classes(x: Any, y: Any) -> tuple[float, float]:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    counts = np.unique(y, return_counts=True)[1]
    if len(counts) < 2:
        return math.nan, math.nan
    most = counts.max() / len(y)
    best = max(
        _right(lambda: ExtraTreesClassifier(60, min_samples_leaf=2, random_state=0), x, y),
        _right(lambda: LogisticRegression(max_iter=50), x, y),
    )
    error = math.sqrt(max(most * (1 - most), 1 / len(y)) / len(y))
    return (best - most) / max(1e-9, 1 - most), error / max(1e-9, 1 - most)


def _right(make: Any, x: Any, y: Any) -> float:
    """Share of samples that a model says right, each of them left out of its training."""
    said = np.empty(len(y), dtype=y.dtype)
    for rows in _folds(len(y)):
        rest = np.setdiff1d(np.arange(len(y)), rows)
        if len(np.unique(y[rest])) < 2:
            said[rows] = y[rest][0]
            continue
        said[rows] = make().fit(_scaled(x[rest], x[rest]), y[rest]).predict(_scaled(x[rows], x[rest]))
    return float((said == y).mean())


def _of_numbers(x: Any, y: Any) -> tuple[float, float]:
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import Ridge

    y = y.astype(float)
    if y.std() == 0:
        return math.nan, math.nan
    shares = []
    makes: list[Callable[[], Any]] = [
        lambda: ExtraTreesRegressor(60, min_samples_leaf=2, random_state=0),
        lambda: Ridge(),
    ]
    for make in makes:
        said = np.empty(len(y))
        for rows in _folds(len(y)):
            rest = np.setdiff1d(np.arange(len(y)), rows)
            said[rows] = make().fit(_scaled(x[rest], x[rest]), y[rest]).predict(_scaled(x[rows], x[rest]))
        shares.append(1 - float(((said - y) ** 2).mean()) / float(y.var()))
    return max(shares), 1 / math.sqrt(len(y))


def _folds(n: int) -> list[Any]:
    return np.array_split(np.random.default_rng(0).permutation(n), _FOLDS)


def _scaled(x: Any, by: Any) -> Any:
    spread = by.std(0)
    return (x - by.mean(0)) / np.where(spread > 0, spread, 1)
