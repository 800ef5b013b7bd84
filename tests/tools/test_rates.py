"""The range test finds rates between those that do nothing and those that break the training."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import UserError
from trainwright.core.events import StepDone
from trainwright.tools.rates import RateTest, _Breaks, _fastest, _Running

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 16},
    "batch_size": 16,
    "budget": "3 epochs",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> RateTest:
    return tw.lr_range(QUICK, steps=120, out=tmp_path_factory.mktemp("rates") / "run", quiet=True)


def test_the_rate_rises_by_the_same_share_at_every_step(found: RateTest) -> None:
    assert found.rates[0] == pytest.approx(1e-7)
    assert np.diff(np.log(found.rates)) == pytest.approx(math.log(10 / 1e-7) / 119)


def test_what_is_proposed_lies_between_too_little_and_too_much(found: RateTest) -> None:
    assert found.suggested is not None
    assert 1e-5 < found.suggested < found.lowest
    assert found.diverged
    better = tw.train(QUICK, {"optimizer.lr": found.suggested}, out=found.path.parent / "at", quiet=True)
    assert better.metrics["valid/loss"] < 1.0  # ln 3 is what guessing costs


def test_it_is_a_run_that_scores_nothing(found: RateTest) -> None:
    run = tw.open(found.path)
    assert run.config["schedule"]["name"] == "range_test"
    assert run.view.ended is not None
    assert run.view.ended.scores == {}
    assert "breaks" in run.view.ended.reason
    rows = list(csv.DictReader((found.path / "lr_range.csv").read_text().splitlines()))
    assert [float(r["rate"]) for r in rows] == list(found.rates)
    assert (found.path / "lr_range.png").read_bytes()[:4] == b"\x89PNG"


def test_where_it_falls_fastest_is_the_steepest_place_over_the_logarithm() -> None:
    rates = np.logspace(-6, 0, 121)
    losses = 1 - 1 / (1 + np.exp(-4 * (np.log10(rates) + 3)))  # steepest at 1e-3
    assert _fastest(rates.tolist(), losses.tolist(), 120) == pytest.approx(1e-3)
    assert _fastest(rates.tolist(), (1 + np.arange(121)).tolist(), 0) is None


def test_the_running_mean_begins_at_the_first_loss() -> None:
    mean = _Running()
    assert mean.add(2.0) == pytest.approx(2.0)
    assert mean.add(4.0) == pytest.approx((0.9 * 0.2 + 0.4) / 0.19)


def test_a_loss_that_is_no_number_ends_the_test() -> None:
    watch = _Breaks()
    assert watch(StepDone(1, 0, 1, (1.0,), (1.0,), 0.1, 0.1, 0.0)) is None
    assert isinstance(watch(StepDone(2, 0, 2, (math.nan,), (1.0,), 0.1, 0.1, 0.0)), tw.Stop)
    assert watch.broken


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "1 to 0.1 is no range of rates"),
        ({"low": 0.0}, "0 to 10 is no range of rates"),
        ({"steps": 5}, "5 steps are too few for a curve"),
    ],
)
def test_what_is_no_range_is_one_clear_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        tw.lr_range(QUICK, **given)
    assert message in str(caught.value)


def test_the_command_says_what_is_worth_a_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["tune", "iris", "--lr-range", "--steps", "60", "--space", "optimizer.lr=1e-6..1", "--json"]
    assert main([*line, "--out", str(tmp_path / "rates")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rates"][0] == pytest.approx(1e-6)
    assert (tmp_path / "rates" / "lr_range.png").is_file()
    for more, message in (
        (["--trials", "3"], "--trials: belongs to a search, and --lr-range is none"),
        (["--space", "model.depth=1..2"], "--space: is the range of optimizer.lr here"),
    ):
        assert main(["tune", "iris", "--lr-range", *more]) == 2
        assert message in capsys.readouterr().err
    assert main(["tune", "iris", "--space", "model.depth", "--steps", "3"]) == 2
    assert "--steps: belongs to --lr-range" in capsys.readouterr().err
