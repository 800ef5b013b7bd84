"""Baselines: simple models in the form of a network's outputs."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from trainwright.core.rows import Rows
from trainwright.metrics import baselines, numbers


class Part:
    """Samples 0, 1, 2, … in memory, which counts how often it is asked."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.asked = x, y, 0

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, start: int, stop: int) -> Rows:
        self.asked += 1
        return Rows({"x": self.x[start:stop], "y": self.y[start:stop]}, torch.arange(start, stop))


def read(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.dense("x"), rows.dense("y")


def blobs(n: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, classes, (n,), generator=g)
    return torch.randn(n, 4, generator=g).double() + 3 * torch.nn.functional.one_hot(y, 4), y


def test_a_part_is_read_whole_and_in_order() -> None:
    x, y = blobs(baselines.CHUNK + 10)
    a, b = baselines.read_part(Part(x, y), read)
    assert torch.equal(a, x)
    assert torch.equal(b, y)


@pytest.mark.parametrize("limit", [10, 50, 150, 200])
def test_a_limit_draws_by_seed_without_repetition(limit: int) -> None:
    x = torch.arange(200.0).unsqueeze(1)
    drawn = [baselines.read_part(Part(x, x[:, 0]), read, limit=limit, seed=s) for s in (0, 0, 1)]
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert torch.equal(drawn[0][0][:, 0], drawn[0][1])
    assert torch.equal(drawn[0][1], drawn[2][1]) == (limit == 200)
    assert len(drawn[0][1].unique()) == limit


def test_a_small_draw_does_not_read_the_rest() -> None:
    x = torch.arange(20_000.0).unsqueeze(1)
    part = Part(x, x[:, 0])
    baselines.read_part(part, read, limit=7)
    assert part.asked == 7


def test_the_constant_says_the_training_frequencies() -> None:
    logits = baselines.constant_logits([1, 3], 5)
    torch.testing.assert_close(logits.exp(), torch.tensor([[0.25, 0.75]] * 5, dtype=torch.float64))


def test_the_linear_model_learns_what_is_linear() -> None:
    x, y = blobs(300)
    logits = baselines.linear_logits(x[:200], y[:200], x[200:], 3)
    scores = baselines.score({"accuracy": numbers.accuracy()}, {"logits": logits}, {"y": y[200:]})
    assert scores["accuracy"] > 0.9
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(100).double())


def test_a_class_that_the_subsample_misses_still_has_a_finite_loss() -> None:
    x, y = blobs(100, classes=2)
    logits = baselines.linear_logits(x, y, x, 4)
    assert logits.shape == (100, 4)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_ridge_keeps_the_shape_of_the_target(shape: tuple[int, ...]) -> None:
    x, _ = blobs(60)
    y = x.sum(1).reshape(-1, *[1] * len(shape)).expand(60, *shape)
    said = baselines.linear_values(x, y, x[:7])
    assert said.shape == (7, *shape)
    torch.testing.assert_close(said, y[:7], rtol=0.05, atol=0.05)


def test_a_baseline_that_is_stopped_early_does_not_warn() -> None:
    x, y = blobs(4000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        baselines.linear_logits(x * torch.tensor([1e4, 1.0, 1e-3, 1.0]), y, x, 3)


def test_larger_problems_get_fewer_rows() -> None:
    assert baselines.rows_for(10, 2) == 20_000
    assert 500 <= baselines.rows_for(256, 100) < baselines.rows_for(256, 10) <= 20_000
