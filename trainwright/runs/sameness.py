"""When two things count as the same: in every bit, up to rounding, or up to padding; and dice that are put back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from math import isclose
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import Batch

_EXACT, _ROUGH = 1e-9, 1e-5  # of float64 and of float32 numbers


def same(a: Any, b: Any) -> bool:
    """Equal in every bit, whatever is nested; NaN equals NaN."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        both = isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return both and torch.allclose(a, b, rtol=0, atol=0, equal_nan=a.is_floating_point())
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        both = type(a) is type(b) and a.dtype == b.dtype
        return both and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b or (a != a and b != b))


def same_batch(a: Batch, b: Batch) -> bool:
    """Equal in every bit of every tensor."""
    return same([a.inputs, a.targets, a.weight, a.ids, a.size], [b.inputs, b.targets, b.weight, b.ids, b.size])


def near(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding: 1e-9 for float64 and whole numbers, 1e-5 for the rest; NaN equals NaN."""
    exact = a.dtype == b.dtype == torch.float64 or not a.is_floating_point()
    tolerance = _EXACT if exact else _ROUGH
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True)


def within(alone: Tensor, padded: Tensor) -> bool:
    """Whether ``alone`` is the first corner of ``padded``, which may be longer in every dimension."""
    if alone.ndim != padded.ndim or any(a > b for a, b in zip(alone.shape, padded.shape, strict=True)):
        return False
    return near(alone, padded[tuple(slice(n) for n in alone.shape)])


def alike(a: Any, b: Any) -> bool:
    """Equal answers, up to rounding of their numbers."""
    if isinstance(a, float) and isinstance(b, float | int):
        return isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return all(alike(x, y) for x, y in zip_longest(a, b))
    return bool(a == b)


def random_state() -> list[Any]:
    """Of the global random generators of this process."""
    return [random.getstate(), list(np.random.get_state()), torch.get_rng_state()]


@contextmanager
def dice(seed: int) -> Iterator[None]:
    """Global randomness that starts at ``seed``; behind, it goes on as if nothing had been."""
    python, array, tensor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(tensor)
