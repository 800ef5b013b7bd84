"""Forecasting: windows, metrics and baselines are the formulas', gaps count nothing, bad records are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builtin import tides
from tests.training import baselines_of, measured
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress, Record
from trainwright.data.arrays import Records
from trainwright.data.encode import encode, encode_records
from trainwright.data.part import Part
from trainwright.data.series_windows import filled

N, HELD = 90, 30


def parts(records: Sequence[Record], **options: Any) -> tuple[Any, Part, Part]:
    """A task fitted on the first records, and windows of both parts."""
    task = tasks["forecasting"](**{"context": 8, "horizon": 3, "season": 6, **options})
    task.processor.fit(records[: N - HELD])
    store = encode(Records(records), task.processor, workers=0)
    whole = torch.arange(len(records)).split([N - HELD, HELD])
    train, test = (Part(store, ids, task.processor.windows, task.processor) for ids in whole)
    return task, train, test


class Says(nn.Module):
    """The last number, in every quantile a little more."""

    def __init__(self, horizon: int, quantiles: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.steps = nn.Parameter(torch.arange(quantiles) - quantiles // 2.0)

    def forward(self, context: Tensor) -> Tensor:
        last = context[:, -1:].expand(-1, self.horizon, -1)
        return last[..., None] + 0.5 * self.steps


def test_every_window_of_the_test_part_counts_once_and_looks_back_over_the_border() -> None:
    task, train, test = parts(tides(N))
    assert (len(train), len(test)) == (N - HELD - 8 - 3 + 1, HELD - 3 + 1)
    raw = np.array([[r["sea"], r["air"]] for r in tides(N)])
    mean, deviation = raw[: N - HELD].mean(0), raw[: N - HELD].std(0)
    assert task.processor.mean == pytest.approx(mean.tolist())
    scaled = (raw - mean) / deviation
    batch = task.processor.batch(test.rows(0, len(test)), None)
    wanted = np.stack([scaled[i : i + 3] for i in range(N - HELD, N - 2)])
    assert batch.targets["future"].numpy() == pytest.approx(wanted, abs=1e-4)
    first = scaled[N - HELD - 8 : N - HELD]
    assert batch.inputs["context"][0].numpy() == pytest.approx(first, abs=1e-4)
    assert float(batch.weight) == wanted.size


def test_point_metrics_are_their_formulas() -> None:
    records = tides(N, gaps=True)
    task, _, test = parts(records)
    batch = task.processor.batch(test.rows(0, len(test)), None)
    model = Says(3, 1)
    loss = task.loss(model, batch, Progress())
    raw = np.array([[np.nan if r[n] is None else r[n] for n in ("sea", "air")] for r in records])
    spread = np.nanstd(raw[: N - HELD], 0)
    naive = np.nanmean(np.abs(raw[6 : N - HELD] - raw[: N - HELD - 6]), 0)
    off = []
    for start in range(N - HELD, N - 2):
        before = [raw[:start, v][~np.isnan(raw[:start, v])][-1] for v in (0, 1)]
        off.append(before - raw[start : start + 3])
    error = np.array(off)  # (N, L, V) in the units of the data
    assert np.isnan(error).any()
    told = {n: measured(m, loss.outputs, batch) for n, m in task.metrics().items()}
    assert told["mse"] == pytest.approx(np.nanmean((error / spread) ** 2), rel=1e-4)
    assert told["mae"] == pytest.approx(np.nanmean(np.abs(error) / spread), rel=1e-4)
    assert told["mase"] == pytest.approx(np.nanmean(np.abs(error) / naive), rel=1e-4)
    assert float(batch.weight) == np.isfinite(error).sum()
    assert float(loss.sum.detach()) / float(batch.weight) == pytest.approx(told["mse"], rel=1e-4)


def test_logarithms_are_undone_before_errors_are_measured() -> None:
    records = tides(N)
    task, _, test = parts(records, scaling="log")
    batch = task.processor.batch(test.rows(0, 1), None)
    outputs = {"forecast": batch.inputs["context"][:, -1:].expand(-1, 3, -1)[..., None]}
    raw = np.array([[r["sea"], r["air"]] for r in records])
    off = (raw[N - HELD - 1] - raw[N - HELD : N - HELD + 3]) / raw[: N - HELD].std(0)
    assert measured(task.metrics()["mse"], outputs, batch) == pytest.approx((off**2).mean(), rel=1e-3)
    (answer,) = task.processor.decode(outputs, batch)
    assert answer["sea"] == pytest.approx([records[N - HELD - 1]["sea"]] * 3, rel=1e-5)
    assert answer["time"] == [r["time"].replace(":00", ":00:00") for r in records[N - HELD : N - HELD + 3]]


def test_quantiles_are_scored_by_their_pinball_and_by_what_lies_between() -> None:
    levels = (0.1, 0.5, 0.9)
    task, _, test = parts(tides(N), loss="quantile", quantiles=levels)
    batch = task.processor.batch(test.rows(0, len(test)), None)
    model = Says(3, 3)
    loss = task.loss(model, batch, Progress())
    said, true = loss.outputs["forecast"].numpy(), batch.targets["future"].numpy()[..., None]
    off = true - said
    pinball = np.where(off > 0, np.array(levels) * off, (np.array(levels) - 1) * off)
    told = {n: measured(m, loss.outputs, batch) for n, m in task.metrics().items()}
    assert told["crps"] == pytest.approx(2 * pinball.mean(), rel=1e-5)
    assert told["coverage"] == pytest.approx(((said[..., :1] <= true) & (true <= said[..., 2:])).mean())
    assert told["mae"] == pytest.approx(np.abs(off[..., 1]).mean(), rel=1e-5)
    assert float(loss.sum.detach()) / float(batch.weight) == pytest.approx(told["crps"], rel=1e-5)
    assert task.monitor == "crps"


def test_quantiles_that_cross_are_told_in_order() -> None:
    task, _, test = parts(tides(N), loss="quantile", quantiles=(0.1, 0.5, 0.9))
    batch = task.processor.batch(test.rows(0, 4), None)
    model = Says(3, 3)
    with torch.no_grad():
        model.steps.copy_(model.steps.flip(0))
    told = task.predict(model, batch)["forecast"]
    assert bool((told.diff(dim=3) >= 0).all())


def test_baselines_repeat_the_season_and_map_the_past() -> None:
    task, train, test = parts(tides(N))
    told = baselines_of(task, train, test)
    batch = task.processor.batch(test.rows(0, len(test)), None)
    last = batch.inputs["context"][:, -6:-3].double() - batch.targets["future"].double()
    assert told["seasonal_naive"]["mse"] == pytest.approx(float(last.square().mean()), rel=1e-5)
    assert told["constant"]["mse"] == pytest.approx(float(batch.targets["future"].square().mean()), rel=1e-5)
    assert told["linear"]["mse"] < 0.1 * told["seasonal_naive"]["mse"]
    assert "seasonal_naive" not in parts(tides(N), season=9)[0].baselines(train)


def test_baselines_of_quantiles_spread_as_their_training_errors_do() -> None:
    task, train, test = parts(tides(N), loss="quantile", quantiles=(0.1, 0.5, 0.9))
    told = baselines_of(task, train, train)
    assert 0.6 < told["linear"]["coverage"] < 0.95
    assert told["linear"]["crps"] < told["linear"]["mae"]
    assert len(test)


def test_gaps_in_the_context_are_filled_from_within_the_window() -> None:
    gap = float("nan")
    context = torch.tensor([[1.0, gap, gap, 4.0], [gap, 2.0, gap, gap], [gap] * 4]).T[None]  # (1, 4, 3)
    wanted = torch.tensor([[1.0, 1.0, 1.0, 4.0], [2.0] * 4, [0.0] * 4]).T[None]
    assert torch.equal(filled(context), wanted)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sea": "high"}, "training record 3: 'sea' is 'high'"),
        ({"sea": float("inf")}, "training record 3: 'sea' is inf"),
        ({"time": None}, "training record 3: the time is missing"),
    ],
)
def test_a_bad_record_is_told_with_its_number(change: dict[str, Any], says: str) -> None:
    records = tides(20)
    records[3] = {**records[3], **change}
    with pytest.raises(DataError, match=says):
        tasks["forecasting"](context=4, horizon=2, season=3).processor.fit(records)


def test_what_cannot_be_scaled_is_told() -> None:
    records = [{**r, "sea": -1.0} for r in tides(20)]
    with pytest.raises(DataError, match="'sea' is -1, which has no logarithm"):
        tasks["forecasting"](context=4, horizon=2, season=3, scaling="log").processor.fit(records)
    with pytest.raises(DataError, match="'air' has no number in the training part"):
        tasks["forecasting"](context=4, horizon=2, season=3).processor.fit([{**r, "air": None} for r in tides(20)])
    with pytest.raises(UserError, match="season of 24 steps is longer than the training part of 20"):
        tasks["forecasting"](context=4, horizon=2).processor.fit(tides(20))


def test_a_served_stretch_must_be_even_long_enough_and_have_the_columns() -> None:
    task, *_ = parts(tides(N))
    records = tides(N)
    stretch = {name: [r[name] for r in records[40:60]] for name in records[0]}
    assert len(encode_records([stretch], task.processor).dense("series")[0]) == 23
    holed = {name: values[:5] + values[6:] for name, values in stretch.items()}
    for wrong, says in (
        (holed, "follows .* and this run knows times 1 hour apart"),
        ({k: v[:4] for k, v in stretch.items()}, "has 4 rows of 'series', too few to continue.*at least 8"),
        ({k: v for k, v in stretch.items() if k != "air"}, "'air' has not one number for each of 20 times"),
        ({**stretch, "time": list(range(20))}, "is not of the kind that was trained on"),
    ):
        with pytest.raises(DataError, match=says):
            encode_records([wrong], task.processor)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": "quantile", "quantiles": (0.1, 0.9, 0.95)}, "with the median"),
        ({"loss": "quantile", "quantiles": (0.5, 0.1, 0.9)}, "no rising list"),
        ({"quantiles": (0.1, 0.5, 0.9)}, 'says nothing with loss = "mse"'),
    ],
)
def test_quantiles_that_make_no_interval_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tasks["forecasting"](**options)
