"""Simple models that a network is held against: the constant, and linear ones, as scikit-learn fits them.

Each is a module that is called as the network is, so that it is judged in the same way, on the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.rows import Encoded, Rows

CHUNK = 4096
ROWS, FEATURES = 5000, 256  # a linear model learns from at most


def read_part(
    part: Encoded, read: Callable[[Rows], tuple[Tensor, Tensor]], *, limit: int | None = None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Inputs (N, F) and targets (N, …) of a part, or of ``limit`` samples of it chosen by ``seed``."""
    n = len(part)
    limit = n if limit is None else min(n, limit)
    drawn = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:limit].sort().values
    pairs = [read(part.chosen(numbers)) for numbers in drawn.split(CHUNK)]
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def rows_for(features: int, classes: int, most: int = ROWS) -> int:
    """How many samples a logistic regression of that size can learn from in a second or so."""
    return min(most, max(500, int(5e7 / (max(1, features) * classes))))


class Constant(nn.Module):
    """Says the same of every sample.

    Args:
        said: what it says of one, of any shape.
    """

    def __init__(self, said: Tensor) -> None:
        super().__init__()
        self.register_buffer("said", said.double())

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """(N, *shape) for inputs of N samples."""
        said = self.get_buffer("said")
        return said.expand(len(next(iter((*inputs, *named.values())))), *said.shape)


class Linear(nn.Module):
    """A weighted sum of features, of which only some may be used, and what is made of it.

    Args:
        features: from the network's inputs to (N, F) numbers.
        used: (K,) which of the F.
        weight: (K, C).
        bias: (C,).
        said: from (N, C) to what the network would say.
    """

    def __init__(
        self,
        features: Callable[..., Tensor],
        used: Tensor,
        weight: Tensor,
        bias: Tensor,
        said: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        super().__init__()
        self.features, self.said = features, said
        for name, tensor in (("used", used), ("weight", weight), ("bias", bias)):
            self.register_buffer(name, tensor)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """What the network would say of its inputs."""
        x = self.features(*inputs, **named).double()[:, self.get_buffer("used")]
        return self.said(x @ self.get_buffer("weight") + self.get_buffer("bias"))


def log_frequencies(counts: Sequence[int]) -> Tensor:
    """(C,) the logarithms of the shares of the training labels."""
    frequency = torch.tensor(counts, dtype=torch.float64)
    return (frequency / frequency.sum()).log()


def logistic(features: Callable[..., Tensor], x: Tensor, y: Tensor, classes: int) -> Linear:
    """Multinomial logistic regression on the strongest of (N, F) features; it says (N, C) log-probabilities.

    The features should be of one scale, as the weights are held small together.
    A class that ``y`` (N,) misses gets half of one sample's share; of one class alone nothing is fitted.
    """
    used = strongest(x, torch.nn.functional.one_hot(y, classes))
    z, there = _sound(x[:, used].double()), torch.unique(y)

    def said(scores: Tensor) -> Tensor:
        logs = scores.new_full((len(scores), classes), math.log(0.5 / len(y)))
        return logs.index_copy(1, there, scores.log_softmax(1))

    if len(there) == 1:
        return Linear(features, used, z.new_zeros(z.shape[1], 1), z.new_zeros(1), said)
    rounds = max(20, min(200, int(1e9 / max(1, z.shape[0] * z.shape[1] * max(1, classes - 1)))))
    weight, bias = _fitted(z, torch.searchsorted(there, y), len(there), rounds)
    if weight.shape[1] == 1:  # of two classes the second's alone is there
        weight, bias = (torch.cat([torch.zeros_like(t), t], -1) for t in (weight, bias))
    return Linear(features, used, weight, bias, said)


def _fitted(z: Tensor, y: Tensor, classes: int, rounds: int) -> tuple[Tensor, Tensor]:
    """(K, C) weights and (C,) biases of the most likely classes (N,) from (N, K), their squares held small.

    What scikit-learn's `LogisticRegression` minimizes, by the same steps of scipy; of two classes only the second's. To
    load scikit-learn would take as long as the small trainings that are held against it.
    """
    from scipy.optimize import minimize

    n, k = z.shape
    columns = 1 if classes == 2 else classes
    truth = y.double().unsqueeze(0) if classes == 2 else torch.nn.functional.one_hot(y, classes).double().T.contiguous()
    across = z.T.contiguous()  # a class and a feature a row: products as narrow as these take half as long so

    def slope(at: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        whole = torch.from_numpy(at).view(columns, k + 1)
        weight, scores = whole[:, :k], torch.addmm(whole[:, k:], whole[:, :k], across)
        if columns == 1:
            lost, off = torch.nn.functional.softplus(scores, threshold=1e3) - truth * scores, scores.sigmoid() - truth
        else:
            logs = scores.log_softmax(0)
            lost, off = -truth * logs, logs.exp() - truth
        slopes = torch.cat([torch.addmm(weight, off, across.T), off.sum(1, keepdim=True)], 1) / n
        return (lost.sum() + weight.square().sum() / 2).item() / n, slopes.flatten().numpy()

    options = {"maxiter": rounds, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}
    found = minimize(slope, np.zeros(columns * (k + 1)), jac=True, method="L-BFGS-B", options=options)
    whole = torch.from_numpy(found.x).view(columns, k + 1)  # stopped early, it is still an honest baseline
    return whole[:, :k].T.clone(), whole[:, k].clone()


def ridge(features: Callable[..., Tensor], x: Tensor, y: Tensor) -> Linear:
    """Ridge regression on the strongest of (N, F) features, for targets (N, …); it says numbers of their shape."""
    flat, shape = y.double().reshape(len(y), -1), y.shape[1:]
    used = strongest(x, flat)
    z = _sound(x[:, used].double())
    middle, level = z.mean(0), flat.mean(0)
    away = z - middle
    squares = away.T @ away + torch.eye(len(used), dtype=torch.float64)  # its smallest eigenvalue is 1 at least
    root, lost = torch.linalg.cholesky_ex(squares)
    if int(lost):  # but beside huge numbers a 1 is rounded away
        left, sizes, right = torch.linalg.svd(away, full_matrices=False)
        weight = right.T @ ((sizes / (sizes.square() + 1)).unsqueeze(1) * (left.T @ (flat - level)))
    else:
        weight = torch.cholesky_solve(away.T @ (flat - level), root)
    bias = level - middle @ weight
    return Linear(features, used, weight, bias, lambda scores: scores.reshape(len(scores), *shape))


def _sound(x: Tensor) -> Tensor:
    if not bool(x.isfinite().all()):
        raise ValueError("some of its inputs are NaN or infinite")
    return x


def strongest(x: Tensor, y: Tensor, most: int = FEATURES) -> Tensor:
    """(K,) those of the columns of (N, F), ``most`` of them, that go with some column of (N, C) most closely."""
    if x.shape[1] <= most:
        return torch.arange(x.shape[1])
    a, b = ((t.double() - mean) / deviation for t in (x, y) for mean, deviation in [scale_of(t)])
    return (a.T @ b).abs().amax(1).topk(most).indices.sort().values


def scale_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """(F,) mean and deviation of each column of (N, F); the deviation is 1 where there is none."""
    x = x.double()
    mean, deviation = x.mean(0), x.std(0, correction=0)
    return mean, torch.where(deviation > 1e-12 * (1 + mean.abs()), deviation, 1.0)
