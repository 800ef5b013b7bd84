"""Baselines: simple models in the form of a network's outputs."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from trainwright.core.rows import Rows
from trainwright.metrics import baselines


class Part:
    """Samples 0, 1, 2, … in memory, which counts how often it is asked, and for how many."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.asked, self.read = x, y, 0, 0

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, start: int, stop: int) -> Rows:
        return self.chosen(torch.arange(start, stop))

    def chosen(self, numbers: Tensor) -> Rows:
        self.asked += 1
        self.read += len(numbers)
        return Rows({"x": self.x[numbers], "y": self.y[numbers]}, numbers)


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


@pytest.mark.parametrize("limit", [7, 15_000])
def test_a_draw_does_not_read_the_rest_and_reads_many_at_once(limit: int) -> None:
    x = torch.arange(20_000.0).unsqueeze(1)
    part = Part(x, x[:, 0])
    baselines.read_part(part, read, limit=limit)
    assert (part.read, part.asked) == (limit, -(-limit // baselines.CHUNK))


def test_the_constant_says_the_training_frequencies() -> None:
    constant = baselines.Constant(baselines.log_frequencies([1, 3]))
    torch.testing.assert_close(constant(x=torch.zeros(5, 2)).exp(), torch.tensor([[0.25, 0.75]] * 5).double())


def test_the_linear_model_learns_what_is_linear() -> None:
    x, y = blobs(300)
    logits = baselines.logistic(doubled, x[:200], y[:200], 3)(x[200:])
    assert float((logits.argmax(1) == y[200:]).double().mean()) > 0.9
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(100).double())


def test_of_one_class_alone_the_logistic_model_says_that_one() -> None:
    said = baselines.logistic(doubled, torch.randn(40, 3), torch.full((40,), 2), 3)(torch.randn(5, 3))
    assert said.argmax(1).tolist() == [2] * 5
    assert said.exp()[:, 0].tolist() == pytest.approx([0.5 / 40] * 5)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_logistic_model_is_scikit_learns(classes: int) -> None:
    x, y = blobs(200, classes)
    reference = LogisticRegression(max_iter=1000).fit(x.numpy(), y.numpy())
    expected = torch.from_numpy(reference.predict_log_proba(x.numpy()))
    torch.testing.assert_close(
        baselines.logistic(doubled, x, y, classes)(x), expected, rtol=1e-2, atol=1e-2
    )  # both stop early


def test_a_class_that_the_subsample_misses_still_has_a_finite_loss() -> None:
    x, y = blobs(100, classes=2)
    logits = baselines.logistic(doubled, x, y, 4)(x)
    assert logits.shape == (100, 4)
    assert bool(logits.isfinite().all())
    torch.testing.assert_close(logits[:, 2:].exp(), torch.full((100, 2), 0.5 / 100).double())


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_ridge_is_scikit_learns_and_keeps_the_shape_of_the_target(shape: tuple[int, ...]) -> None:
    x, _ = blobs(60)
    y = torch.randn(60, *shape, generator=torch.Generator().manual_seed(1)).double() + x[:, 0].view(
        60, *[1] * len(shape)
    )
    said = baselines.ridge(doubled, x, y)(x[:7])
    reference = Ridge(alpha=1.0).fit(x.numpy(), y.flatten(1).numpy() if shape else y.numpy())
    torch.testing.assert_close(said, torch.from_numpy(reference.predict(x[:7].numpy())).reshape(7, *shape))


def test_ridge_of_huge_features_that_say_the_same_is_scikit_learns() -> None:
    x, _ = blobs(60)
    huge = torch.cat([x, x], 1) * 1e10
    y = x[:, 0] + torch.randn(60, generator=torch.Generator().manual_seed(1)).double()
    said = baselines.ridge(doubled, huge, y)(huge)
    reference = Ridge(alpha=1.0, solver="svd").fit(huge.numpy(), y.numpy())
    torch.testing.assert_close(said, torch.from_numpy(reference.predict(huge.numpy())), rtol=1e-6, atol=1e-6)


def test_of_many_features_the_strongest_are_used() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 1000, generator=g).double()
    y = 3 * x[:, 997] - x[:, 2]
    fitted = baselines.ridge(doubled, x, y)
    used = fitted.get_buffer("used")
    assert len(used) == baselines.FEATURES
    assert {2, 997} <= set(used.tolist())
    assert float((fitted(x) - y).square().mean()) < 0.2 * float(y.var())


def test_a_feature_without_variance_does_no_harm() -> None:
    x, y = blobs(60)
    x[:, 1] = 7.0
    assert bool(baselines.logistic(doubled, x, y, 3)(x).isfinite().all())
    assert bool(baselines.ridge(doubled, x, x[:, 0])(x).isfinite().all())


def test_numbers_that_are_not_finite_are_not_fitted() -> None:
    x, y = blobs(60)
    x[3, 1] = torch.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        baselines.logistic(doubled, x, y, 3)
    with pytest.raises(ValueError, match="NaN or infinite"):
        baselines.ridge(doubled, x, x[:, 0])


def test_no_linear_model_loads_scikit_learn() -> None:
    code = (
        "import sys, torch\nfrom trainwright.metrics import baselines as b\n"
        "x = torch.randn(40, 3)\nb.logistic(torch.Tensor.double, x, x.argmax(1), 3)\n"
        "b.ridge(torch.Tensor.double, x, x[:, 0])\nprint('sklearn' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_a_baseline_that_is_stopped_early_does_not_warn() -> None:
    x, y = blobs(4000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        baselines.logistic(doubled, torch.cat([x, x**2, x**3], 1), y, 3)


def test_larger_problems_get_fewer_rows() -> None:
    assert baselines.rows_for(10, 2) == baselines.ROWS
    assert 500 <= baselines.rows_for(256, 100) < baselines.rows_for(256, 10) <= baselines.ROWS


def doubled(x: Tensor) -> Tensor:
    return x.double()
