"""How sure a score is: percentile intervals over resampled records, of one model or of the difference between two."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from trainwright.core.batch import seed_of
from trainwright.core.errors import UserError
from trainwright.core.task import Metric
from trainwright.metrics.tallies import ratio, ratios, totals

TIMES = 1000  # resamples
MOST = 10_000  # records that are resampled; of more, as many are drawn
PATIENCE = 20.0  # seconds for a metric that must be computed resample by resample
SHARE = 0.95
_ROOM = 2**22  # weights held at once

K = TypeVar("K", bound=Hashable)

LOSS = Metric(lambda outputs, batch: batch.weight, ratio, "lower", many=ratios)
"""The mean loss, of rows (loss, weight)."""


def resampled(scores: Mapping[K, tuple[Metric, Tensor]], *, seed: int, times: int = TIMES) -> dict[K, Tensor]:
    """(times,) values of each metric on resamples of its rows: records drawn with replacement, as many as there are.

    All of ``scores`` have rows (N, …) of the same records in the same order, and see the same resamples, so that two
    of them can be compared draw by draw. Of more than `MOST` records a fixed sample is resampled, and the deviations
    are scaled by the root of its share, as they shrink with the number of records. A metric without
    `Metric.many` that would take longer than `PATIENCE` is left out.

    Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", ch. 13; for the scaling Bickel, Götze & van
    Zwet 1997, "Resampling fewer than n observations".
    """
    if not scores:
        return {}
    n = len(next(iter(scores.values()))[1])
    assert all(len(rows) == n for _, rows in scores.values())
    if n < 2:
        return {}
    generator = torch.Generator().manual_seed(seed_of(seed, "bootstrap") % 2**63)
    kept = torch.randperm(n, generator=generator)[:MOST].sort().values if n > MOST else None
    few = {key: (metric, rows if kept is None else rows[kept]) for key, (metric, rows) in scores.items()}
    found: dict[K, list[Tensor]] = {key: [] for key in few}
    for weights in _weights(min(n, MOST), times, generator):
        for key in list(found):
            began = time.perf_counter()
            found[key].append(_values(*few[key], weights))
            slow = few[key][0].many is None and few[key][0].combine == "rows"
            if slow and (time.perf_counter() - began) * times > PATIENCE * len(weights):
                del found[key]
    drawn = {key: torch.cat(values) for key, values in found.items()}
    if kept is None:
        return drawn
    whole = {key: _value(metric, rows) for key, (metric, rows) in scores.items() if key in found}
    shrink = (MOST / n) ** 0.5
    return {key: whole[key] + (values - _value(*few[key])) * shrink for key, values in drawn.items()}


def interval(values: Tensor) -> tuple[float, float] | None:
    """What the middle 95 % of (B,) values lie between; None where more than 5 % of the resamples have no value."""
    known = values[~values.isnan()].sort().values
    if len(known) < max(2, SHARE * len(values)):
        return None
    tail = (1 - SHARE) / 2 * (len(known) - 1)
    return float(known[int(tail)]), float(known[-1 - int(tail)])


def _weights(n: int, times: int, generator: torch.Generator) -> Iterator[Tensor]:
    """(b, n) float64, how often each record was drawn, for ``times`` resamples in all, the first one alone."""
    at_once = max(1, _ROOM // n)
    for start in (0, *range(1, times, at_once)):
        b = min(at_once, times - start) if start else 1
        weights = torch.empty(b, n, dtype=torch.float64)
        for row, drawn in zip(weights, torch.randint(n, (b, n), generator=generator), strict=True):
            row.copy_(torch.bincount(drawn, minlength=n))  # one by one they stay in the cache
        yield weights


def _values(metric: Metric, rows: Tensor, weights: Tensor) -> Tensor:
    """(B,)."""
    if metric.many is not None:
        return metric.many(rows, weights).double()
    if metric.combine == "add":
        return torch.tensor([float(metric.value(t)) for t in totals(rows, weights)], dtype=torch.float64)
    drawn = (rows.repeat_interleave(w, 0) for w in weights.long())
    return torch.tensor([_value_if_any(metric, r) for r in drawn], dtype=torch.float64)


def _value_if_any(metric: Metric, rows: Tensor) -> float:
    """NaN where a metric of a person's own has no value for a resample, such as one in which a class is missing."""
    try:
        return float(metric.value(rows))
    except UserError:
        return float("nan")


def _value(metric: Metric, rows: Tensor) -> float:
    return float(metric.value(rows.sum(0) if metric.combine == "add" else rows))
