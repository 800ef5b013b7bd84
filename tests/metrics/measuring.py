"""Metrics as the engine measures them, for the tests of all metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.task import Classes, Metric, Numbers

CLASSES = Classes(lambda outputs: outputs["out"], lambda batch: batch.targets["y"])
NUMBERS = Numbers(lambda outputs: outputs["out"], lambda batch: batch.targets["y"])


def batch_of(y: Tensor) -> Batch:
    return Batch({}, {"y": y}, torch.tensor(float(len(y))), torch.arange(len(y)), len(y))


def rows_of(metric: Metric, output: Tensor, y: Tensor) -> Tensor:
    return metric.count({"out": output}, batch_of(y)).double()


def measured(metric: Metric, output: Tensor, y: Tensor, cuts: Sequence[int] = ()) -> float:
    """As the engine does it: counted in batches, added or put together, divided once."""
    pieces = zip(output.tensor_split(cuts), y.tensor_split(cuts), strict=True)
    counted = [rows_of(metric, o, t) for o, t in pieces]
    return value_of(metric, torch.cat(counted) if metric.combine == "rows" else sum_of(counted))


def sum_of(counted: Sequence[Tensor]) -> Tensor:
    return torch.stack([rows.sum(0) for rows in counted]).sum(0)


def value_of(metric: Metric, whole: Tensor) -> float:
    return float(metric.value(whole))


def drawn(metric: Metric, output: Tensor, y: Tensor, weights: Tensor) -> Mapping[str, list[float]]:
    """The value of each resample: all at once by ``many``, and one by one on the records themselves."""
    rows = rows_of(metric, output, y)
    assert metric.many is not None
    once = metric.many(rows, weights.double()).tolist()
    each = [measured(metric, output.repeat_interleave(w, 0), y.repeat_interleave(w, 0)) for w in weights]
    return {"at once": once, "one by one": each}
