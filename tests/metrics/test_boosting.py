"""Boosted trees as a baseline: scikit-learn's at its defaults, on the rows a network sees, within their time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from trainwright.core.task import TooSlowError
from trainwright.metrics.boosting import boosted, table


def rows(n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 2) numbers and (N, 1) ids of a category."""
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, 2, generator=g).double(), torch.randint(0, 4, (n, 1), generator=g)


def test_classes_are_told_with_scikit_learns_probabilities_also_those_training_never_met() -> None:
    x, ids = rows()
    y = torch.where(x[:, 0] + (ids[:, 0] == 2) > 0, 2, 0)  # class 1 does not occur
    ours = boosted(table(x, ids), y, [4], 3, math.inf)
    theirs = HistGradientBoostingClassifier(categorical_features=[False, False, True], random_state=0)
    said = theirs.fit(table(x, ids).numpy(), y.numpy()).predict_proba(table(x, ids).numpy())
    found = ours(x, ids).exp()
    np.testing.assert_allclose(found[:, [0, 2]].numpy(), said, rtol=1e-6)
    assert float(found[:, 1].max()) < 1e-200
    assert bool(ours(x, ids).isfinite().all())


def test_values_are_scikit_learns() -> None:
    x, ids = rows()
    y = x[:, 0] * 2 + ids[:, 0]
    ours = boosted(table(x, ids), y, [4], 0, math.inf)
    theirs = HistGradientBoostingRegressor(categorical_features=[False, False, True], random_state=0)
    said = theirs.fit(table(x, ids).numpy(), y.numpy()).predict(table(x, ids).numpy())
    np.testing.assert_allclose(ours(x, ids)[:, 0].numpy(), said, rtol=1e-6)


def test_a_time_limit_that_is_kept_gives_the_same_trees_and_one_that_is_not_says_so() -> None:
    x, ids = rows()
    y = x[:, 0] * 2 + ids[:, 0]
    free = boosted(table(x, ids), y, [4], 0, math.inf)
    limited = boosted(table(x, ids), y, [4], 0, 600.0)
    torch.testing.assert_close(free(x, ids), limited(x, ids))
    with pytest.raises(TooSlowError, match="100 rounds would take about"):
        boosted(table(x, ids), y, [4], 0, 1e-9)


def test_a_category_of_more_ids_than_trees_can_tell_apart_counts_as_a_number() -> None:
    x, _ = rows()
    ids = torch.arange(300).unsqueeze(1)
    made = boosted(table(x, ids), x[:, 0], [300], 0, math.inf)
    assert bool(made(x, ids).isfinite().all())


def test_a_table_of_categories_alone_is_one() -> None:
    _, ids = rows()
    assert table(None, ids).shape == (300, 1)
