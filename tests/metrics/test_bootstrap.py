"""Intervals cover what they should, compare on the same records, and are the same for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.metrics.measuring import CLASSES, NUMBERS, rows_of
from trainwright.core.kinds import metrics
from trainwright.core.task import Metric
from trainwright.metrics import bootstrap
from trainwright.metrics.bootstrap import interval, resampled

MEAN = Metric(
    lambda outputs, batch: outputs["x"], lambda total: float(total[0] / total[1]), "higher"
)  # one by one: it has no `many`


def ones(values: Tensor) -> Tensor:
    return torch.stack([values.double(), torch.ones(len(values)).double()], 1)


def between(values: Tensor, **options: int) -> tuple[float, float]:
    found = interval(resampled({0: (MEAN, ones(values))}, seed=0, **options)[0])
    assert found is not None
    return found


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = torch.from_numpy(np.random.default_rng(0).exponential(size=200))
    reference = stats.bootstrap(
        (values.numpy(),), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    low, high = between(values, times=20_000)
    width = reference.high - reference.low
    assert low == pytest.approx(reference.low, abs=0.02 * width)
    assert high == pytest.approx(reference.high, abs=0.02 * width)


@pytest.mark.parametrize("name", ["accuracy", "auroc", "macro_f1", "log_loss"])
def test_nineteen_of_twenty_intervals_cover_the_truth(name: str) -> None:
    """Samples of one population, whose score is known from 200,000 draws of it."""
    metric = metrics[name](CLASSES)

    def sample(n: int, seed: int) -> Tensor:
        g = torch.Generator().manual_seed(seed)
        y = (torch.rand(n, generator=g) < 0.3).long()
        return rows_of(metric, torch.randn(n, 2, generator=g) + torch.nn.functional.one_hot(y, 2), y)

    population = sample(200_000, 1)
    truth = metric.value(population.sum(0) if metric.combine == "add" else population)
    trials, hits = 200, 0
    for seed in range(trials):
        found = interval(resampled({0: (metric, sample(250, 100 + seed))}, seed=seed, times=400)[0])
        assert found is not None
        hits += found[0] <= truth <= found[1]
    least, most = stats.binom.interval(0.999, trials, 0.95)
    assert least - 0.02 * trials <= hits <= most, f"{hits} of {trials}"  # percentiles are a little narrow


def test_the_seed_decides_and_nothing_else() -> None:
    values = torch.randn(50, generator=torch.Generator().manual_seed(0))
    a, b, c = (resampled({0: (MEAN, ones(values))}, seed=s)[0] for s in (3, 3, 4))
    torch.manual_seed(99)
    again = resampled({0: (MEAN, ones(values)), 1: (MEAN, ones(-values))}, seed=3)
    assert torch.equal(a, b)
    assert torch.equal(a, again[0])
    assert not torch.equal(a, c)
    assert len(a) >= 1000


def test_two_models_are_compared_on_the_same_draws() -> None:
    """Nearly equal models differ by little, however wide the interval of each is."""
    x = 10 * torch.randn(80, generator=torch.Generator().manual_seed(0)).double()
    drawn = resampled({"a": (MEAN, ones(x)), "b": (MEAN, ones(x + 0.1))}, seed=0)
    apart = drawn["b"] - drawn["a"]
    assert interval(apart) == pytest.approx((0.1, 0.1))
    low, high = interval(drawn["a"]) or (0.0, 0.0)
    assert high - low > 1


@pytest.mark.parametrize("name", ["accuracy", "auroc", "rmse"])
def test_of_many_records_a_sample_gives_the_same_width(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (6000,), generator=g)
    z = torch.randn(6000, 2, generator=g) + torch.nn.functional.one_hot(y, 2)
    metric = metrics[name](NUMBERS) if name == "rmse" else metrics[name](CLASSES)
    rows = rows_of(metric, z[:, 1], y.double()) if name == "rmse" else rows_of(metric, z, y)
    whole = interval(resampled({0: (metric, rows)}, seed=0)[0])
    monkeypatch.setattr(bootstrap, "MOST", 1500)
    part = interval(resampled({0: (metric, rows)}, seed=0)[0])
    assert whole is not None
    assert part is not None
    value = metric.value(rows.sum(0) if metric.combine == "add" else rows)
    assert part[0] < value < part[1]
    assert part[1] - part[0] == pytest.approx(whole[1] - whole[0], rel=0.2)


def test_a_score_that_resamples_often_lack_has_no_interval() -> None:
    values = torch.full((1000,), 1.0)
    assert interval(values) == (1.0, 1.0)
    values[:40] = math.nan
    assert interval(values) == (1.0, 1.0)
    values[:60] = math.nan
    assert interval(values) is None


def test_one_record_tells_nothing_of_others() -> None:
    assert resampled({0: (MEAN, ones(torch.ones(1)))}, seed=0) == {}
    assert resampled({}, seed=0) == {}


def test_what_would_take_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Metric(lambda outputs, batch: outputs["x"], lambda rows: float(rows.sum()), "higher", combine="rows")
    rows = ones(torch.arange(20.0))
    assert resampled({"slow": (slow, rows)}, seed=0).keys() == {"slow"}
    monkeypatch.setattr(bootstrap, "PATIENCE", 0.0)
    assert resampled({"slow": (slow, rows), "quick": (MEAN, rows)}, seed=0).keys() == {"quick"}
