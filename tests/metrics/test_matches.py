"""Resampling pictures counts the evaluator's matches again, and comes to what the evaluator says of the resample."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.task import Metric
from trainwright.metrics.bootstrap import interval, resampled
from trainwright.metrics.detections import mean_average_precision

PICTURES, TOLD, TRUE = 24, 9, 5


def rows_of(threshold: float | None, untold: int | None = None) -> tuple[Metric, Tensor]:
    """Random true boxes of three classes, some of them ignored, and boxes told near them, but none as ``untold``."""
    dice = torch.Generator().manual_seed(3)
    corner = torch.rand(PICTURES, TRUE, 2, generator=dice) * 60
    true = torch.cat([corner, corner + 8 + 20 * torch.rand(PICTURES, TRUE, 2, generator=dice)], -1)
    kinds = torch.randint(-1, 3, (PICTURES, TRUE), generator=dice)
    owner = torch.randint(TRUE, (PICTURES, TOLD), generator=dice)
    said = true.gather(1, owner[..., None].expand(-1, -1, 4)) + 3 * torch.randn(PICTURES, TOLD, 4, generator=dice)
    outputs = {
        "boxes": torch.cat([said[..., :2], said[..., 2:].maximum(said[..., :2] + 1)], -1),
        "scores": torch.rand(PICTURES, TOLD, generator=dice),
        "classes": kinds.gather(1, owner).clamp_min(0),
    }
    ignored = torch.rand(PICTURES, TRUE, generator=dice) < 0.1
    if untold is not None:
        outputs["classes"] = torch.where(outputs["classes"] == untold, (untold + 1) % 3, outputs["classes"])
    targets = {"boxes": true, "classes": kinds, "ignored": ignored}
    batch = Batch({}, targets, torch.tensor(1.0), torch.arange(PICTURES), PICTURES)
    metric = mean_average_precision(lambda o, b: (o["boxes"], b.targets["boxes"]), TOLD, threshold)
    return metric, metric.count(outputs, batch)


@pytest.mark.parametrize("threshold", [0.5, None])
@pytest.mark.parametrize("untold", [None, 1])
def test_a_resample_is_worth_what_the_evaluator_says_of_its_pictures(
    threshold: float | None, untold: int | None
) -> None:
    metric, rows = rows_of(threshold, untold)
    drawn = torch.randint(PICTURES, (6, PICTURES), generator=torch.Generator().manual_seed(5))
    drawn[0] = torch.arange(PICTURES)
    drawn[1] = 7  # one picture again and again: a class or two may be missing
    weights = torch.stack([torch.bincount(d, minlength=PICTURES) for d in drawn]).double()
    assert metric.many is not None
    wanted = [float(metric.value(rows[d.sort().values])) for d in drawn]
    assert 0.02 < wanted[0] < 0.9
    assert metric.many(rows, weights).tolist() == pytest.approx(wanted, abs=1e-9)


def test_a_mean_average_precision_has_an_interval_around_it() -> None:
    metric, rows = rows_of(0.5)
    found = interval(resampled({0: (metric, rows)}, seed=0, times=200)[0])
    assert found is not None
    assert found[0] < float(metric.value(rows)) < found[1]


def test_of_pictures_without_a_true_box_no_resample_has_a_value() -> None:
    metric, rows = rows_of(0.5)
    rows = rows.clone()
    rows[:, 6 * TOLD :: 6] = -1.0
    assert metric.many is not None
    assert bool(metric.many(rows, torch.ones(3, PICTURES).double()).isnan().all())
