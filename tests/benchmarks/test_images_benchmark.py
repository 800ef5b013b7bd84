"""The benchmark of images: what it makes of the numbers of several seeds."""

from __future__ import annotations

import pytest

from benchmarks.images import interval, summed, told


def test_the_interval_is_scipys_of_paired_samples() -> None:
    from scipy.stats import ttest_rel

    network, linear = [0.71, 0.74, 0.69, 0.72, 0.70], [0.61, 0.60, 0.63, 0.62, 0.59]
    low, high = ttest_rel(network, linear).confidence_interval(0.95)
    found = interval([a - b for a, b in zip(network, linear, strict=True)])
    assert found == pytest.approx([low, high])
    assert interval([0.1]) is None


def test_seeds_are_summed_up_pair_by_pair() -> None:
    rows = [
        {"seed": 0, "accuracy": 0.7, "constant": 0.1, "linear": 0.6, "wall": 10.0, "cpu": 8.0},
        {"seed": 1, "accuracy": 0.8, "constant": 0.2, "linear": 0.5, "wall": 20.0, "cpu": 9.0},
    ]
    found = summed(rows)
    assert found["mean"] == pytest.approx(0.75)
    assert found["above_linear"] == pytest.approx(0.2)
    assert found["above_constant"] == pytest.approx(0.6)
    assert found["interval"][0] < 0.2 < found["interval"][1]
    line = told({"set": "mnist", "seeds": rows, **found})
    assert line.startswith("mnist: accuracy 0.7500 ± 0.0707 over 2 seeds, above linear by +0.2000 [")
    one = {"set": "mnist", "seeds": rows[:1], **summed(rows[:1])}
    assert "±" not in told(one)
