"""Records that hold NaN or infinity, left out of arrays of the caller's own where the doctor may change the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.core.config import RunConfig
from trainwright.core.events import Repaired

MOST = 0.05  # of the records: more are no accident


def whole(data: Any, part: str, config: RunConfig) -> tuple[Any, list[Repaired]]:
    """Arrays without such records, and what is told of it; as they were where no doctor heals with a person's word,
    where there are none, or more than a twentieth.

    Args:
        data: what was given for a part: a tuple of arrays is looked at, all else is left alone.
        part: its name.
        config: of the run.
    """
    if config.doctor.get("mode") != "heal" or not config.doctor.get("yes") or not _arrays(data):
        return data, []
    good = np.logical_and.reduce([_finite(array) for array in data])
    bad = int((~good).sum())
    if not 0 < bad <= MOST * len(good):
        return data, []
    kept = np.flatnonzero(good)
    first = int(np.flatnonzero(~good)[0])
    records, hold = ("record", "holds") if bad == 1 else ("records", "hold")
    trouble = f"{bad} of {len(good):,} records of {part} {hold} NaN or infinity, the first is record {first}"
    why = "after one step on such a record all weights are NaN; what is left out says nothing of their other numbers"
    told = Repaired(0, "not_finite_data", trouble, f"leave out {bad} {records} of {part}", {}, "taken", why)
    return tuple(array[torch.from_numpy(kept)] if isinstance(array, Tensor) else array[kept] for array in data), [told]


def _arrays(data: Any) -> bool:
    """Several arrays of the same records, one of them of numbers that may be NaN."""
    if not isinstance(data, tuple) or not data or not all(isinstance(x, Tensor | np.ndarray) and x.ndim for x in data):
        return False
    return len({len(x) for x in data}) == 1 and len(data[0]) > 0


def _finite(array: Any) -> Any:
    """(N,) whether all numbers of each record are finite; what holds no such numbers is."""
    if isinstance(array, Tensor):
        if not (array.is_floating_point() or array.is_complex()):
            return np.ones(len(array), bool)
        return torch.isfinite(array.detach()).reshape(len(array), -1).all(1).cpu().numpy()
    if array.dtype.kind not in "fc":
        return np.ones(len(array), bool)
    return np.isfinite(array).reshape(len(array), -1).all(1)
