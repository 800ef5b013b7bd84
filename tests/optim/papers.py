"""Update rules as their papers write them, in NumPy's float64: what the optimizers of the house are compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]


class Weight:
    """One weight on its way: what it is, and whatever its rule remembers of it."""

    def __init__(self, value: Array) -> None:
        self.value = value
        self.memory: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        return self.memory.setdefault(name, np.zeros_like(self.value))

    def __setitem__(self, name: str, value: Array) -> None:
        self.memory[name] = value

    @property
    def matrix(self) -> bool:
        return self.value.ndim >= 2


def sgd(
    w: Weight, g: Array, t: int, *, lr: float, momentum: float = 0, nesterov: bool = False, decay: float = 0
) -> None:
    """Sutskever et al. 2013, with the rate outside of the velocity, as all libraries have it."""
    g = g + decay * w.value
    w["velocity"] = momentum * w["velocity"] + g
    w.value = w.value - lr * (g + momentum * w["velocity"] if nesterov else w["velocity"])


def adagrad(
    w: Weight, g: Array, t: int, *, lr: float, lr_decay: float = 0, initial: float = 0, eps: float = 1e-10
) -> None:
    """Duchi et al. 2011, eq. 1 with the diagonal alone; w.value is moved against g / √Σ g²."""
    if t == 1:
        w["sum"] = np.full_like(w.value, initial)
    w["sum"] = w["sum"] + g**2
    w.value = w.value - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(w["sum"]) + eps)


def rmsprop(
    w: Weight,
    g: Array,
    t: int,
    *,
    lr: float,
    alpha: float,
    momentum: float = 0,
    centered: bool = False,
    eps: float = 1e-8,
) -> None:
    """Tieleman & Hinton 2012; Graves 2013, eq. 38 to 42, for the centred form (with eps outside of the root)."""
    w["square"] = alpha * w["square"] + (1 - alpha) * g**2
    spread = w["square"]
    if centered:
        w["mean"] = alpha * w["mean"] + (1 - alpha) * g
        spread = spread - w["mean"] ** 2
    w["velocity"] = momentum * w["velocity"] + g / (np.sqrt(spread) + eps)
    w.value = w.value - lr * w["velocity"]


def adam(
    w: Weight, g: Array, t: int, *, lr: float, betas: tuple[float, float], eps: float = 1e-8, l2: float = 0,
    decay: float = 0, amsgrad: bool = False,
) -> None:  # fmt: skip
    """Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2, for ``decay``; Reddi et al. 2018."""
    g = g + l2 * w.value
    w["m"] = betas[0] * w["m"] + (1 - betas[0]) * g
    w["v"] = betas[1] * w["v"] + (1 - betas[1]) * g**2
    v = w["v"]
    if amsgrad:
        w["largest"] = v = np.maximum(w["largest"], v)
    mean, square = w["m"] / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    w.value = w.value - lr * decay * w.value - lr * mean / (np.sqrt(square) + eps)


def lion(w: Weight, g: Array, t: int, *, lr: float, betas: tuple[float, float], decay: float = 0) -> None:
    """Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2."""
    update = np.sign(betas[0] * w["m"] + (1 - betas[0]) * g)
    w.value = w.value - lr * (update + decay * w.value)
    w["m"] = betas[1] * w["m"] + (1 - betas[1]) * g


def muon(
    w: Weight,
    g: Array,
    t: int,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    rounds: int,
    original: bool,
    decay: float,
) -> None:
    """Jordan 2024, and Liu et al. 2025, "Muon is scalable for LLM training", eq. 4, where not ``original``."""
    w["sum"] = momentum * w["sum"] + g  # the author's sum, where ours is a mean: the direction is the same
    wanted = (g + momentum * w["sum"] if nesterov else w["sum"]).reshape(len(g), -1)
    rows, columns = wanted.shape
    size = math.sqrt(max(1, rows / columns)) if original else 0.2 * math.sqrt(max(rows, columns))
    w.value = w.value - lr * decay * w.value - lr * size * orthogonal(wanted, rounds).reshape(g.shape)


def orthogonal(x: Array, rounds: int) -> Array:
    """Newton-Schulz on the singular values themselves: each goes through a s + b s³ + c s⁵."""
    u, s, v = np.linalg.svd(x / np.linalg.norm(x), full_matrices=False)
    for _ in range(rounds):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return np.asarray((u * s) @ v)


def valley(weights: list[Array]) -> list[Array]:
    """The gradients of a narrow, bent valley with no rest at 0: each weight drawn to its neighbour's, unevenly."""
    found = []
    for i, w in enumerate(weights):
        scale = np.linspace(0.5, 3.0, w.size).reshape(w.shape)
        pull = np.tanh(weights[i - 1]).mean()
        found.append(scale * (w - 1.5 + pull) + 0.3 * np.cos(3 * w))
    return found


def start(seed: int = 0) -> list[Array]:
    """A matrix that is tall, one that is wide, a kernel, a vector and a number."""
    r = np.random.default_rng(seed)
    return [np.asarray(r.normal(size=s)) for s in ((4, 3), (3, 5), (2, 3, 3, 2), (6,), ())]


def steps(first: int = 1, last: int = 100) -> Iterator[int]:
    """Numbered from 1, as the papers do."""
    return iter(range(first, last + 1))
