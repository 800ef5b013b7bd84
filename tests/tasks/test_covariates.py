"""Columns beside series: a series that only such a column explains is forecast by it, and not without it."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainwright as tw
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.data.series import Series

TIMES, HORIZON = 260, 3
PRICE = np.random.default_rng(1).normal(10, 2, TIMES + HORIZON)
WIND = np.random.default_rng(2).normal(5, 1, TIMES)
FIRST = datetime.date(2022, 1, 3)
DAYS = [FIRST + datetime.timedelta(days=i) for i in range(TIMES + HORIZON)]
LIKED = [0, 4, -3, 2, 5, -4, 1]  # of Monday to Sunday


def written(at: Path, columns: dict[str, Any], times: int = TIMES) -> str:
    """A table with a line for each day; None is an empty cell."""
    with at.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["day", *columns])
        for i in range(times):
            rows.writerow([DAYS[i], *("" if c[i] is None else c[i] for c in columns.values())])
    return str(at)


def recipe(path: str, **task: Any) -> dict[str, Any]:
    return {
        "task": {"name": "forecasting", "context": 4, "horizon": HORIZON, "season": 1, **task},
        "data": {"source": "series", "path": path, "valid": 40, "test": 60},
        "model": {"name": "nlinear"},
        "optimizer": {"name": "adamw", "lr": 0.05},
        "schedule": {"name": "cosine"},
        "batch_size": 32,
        "budget": "40 epochs",
        "device": "cpu",
        "pace": "plain",
    }


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> str:
    """50 - 2 price, and a price that nothing tells but itself."""
    return written(tmp_path_factory.mktemp("data") / "sales.csv", {"sales": 50 - 2 * PRICE, "price": PRICE})


@pytest.fixture(scope="module")
def run(sales: str, tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    return tw.train(recipe(sales, ahead=["price"]), out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_what_only_a_price_explains_is_forecast_by_the_price_alone(run: tw.Run) -> None:
    assert run.metrics["test/mse"] < 0.01  # 1 is the variance
    assert run.baselines["linear"]["mse"] > 0.8  # which sees the past of the sales


def test_a_forecast_is_made_with_the_prices_to_come(run: tw.Run, tmp_path: Path) -> None:
    ahead = [*(50 - 2 * PRICE[:TIMES]), *[None] * HORIZON]
    data = written(tmp_path / "more.csv", {"sales": ahead, "price": PRICE}, TIMES + HORIZON)
    found = run.forecast(data)
    assert list(found.times) == [str(d) for d in DAYS[TIMES:]]
    assert found.values["sales"] == pytest.approx(50 - 2 * PRICE[TIMES:], abs=0.5)
    assert list(found.values) == ["sales"]
    assert found.before["time"][-1] == str(DAYS[TIMES - 1])
    assert [path.suffix for path in found.save(tmp_path / "next")] == [".csv", ".png"]


def test_a_forecast_without_them_says_what_is_missing(run: tw.Run, sales: str) -> None:
    with pytest.raises(DataError, match="0 of the 3 times to forecast have numbers of price"):
        run.forecast(sales)


def test_a_day_of_the_week_is_told_by_its_date(tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    visits = [20 + LIKED[d.weekday()] + dice.normal(0, 0.1) for d in DAYS[:TIMES]]
    path = written(tmp_path / "visits.csv", {"visits": visits})
    run = tw.train(recipe(path, calendar=["weekday"]), out=tmp_path / "run", quiet=True)
    assert run.metrics["test/mse"] < 0.05
    told = run.forecast(path).values["visits"]
    assert told == pytest.approx([20 + LIKED[d.weekday()] for d in DAYS[TIMES:]], abs=1.0)


def test_what_was_measured_beside_is_read_by_a_model_of_all_series(tmp_path: Path) -> None:
    """Tomorrow's waves are today's wind."""
    path = written(tmp_path / "sea.csv", {"waves": [0.0, *WIND[:-1]], "wind": WIND})
    small = {"name": "series_rnn", "units": 16, "dropout": 0.0}
    changes = {"model": small, "optimizer.lr": 0.02, "budget": "20 epochs", "task.horizon": 1}
    run = tw.train({**recipe(path, past=["wind"]), "model": small}, changes, out=tmp_path / "run", quiet=True)
    assert run.metrics["test/mse"] < 0.15
    assert run.forecast(path).values["waves"] == pytest.approx([WIND[-1]], abs=0.8)


def test_a_model_that_cannot_look_at_a_column_is_refused(sales: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'nlinear' does not look at what is past.*series_rnn, series_tcn"):
        tw.train(recipe(sales, past=["price"]), out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ahead": ["prices"]}, "no column 'prices'.*did you mean 'price'"),
        ({"ahead": ["price"], "past": ["price"]}, "'price' is named by task.ahead too"),
        ({"ahead": ["price", "price"]}, "stands there twice"),
        ({"ahead": ["price"], "past": ["sales"]}, "no column is left to forecast"),
    ],
    ids=["unknown", "both", "twice", "none left"],
)
def test_columns_that_cannot_be_beside_are_told(options: dict[str, Any], says: str) -> None:
    records = [{"time": i, "sales": 1.0 * i, "price": 2.0} for i in range(9)]
    with pytest.raises(UserError, match=says):
        tasks["forecasting"](**options).processor.fit(records)


def test_a_calendar_needs_dates() -> None:
    with pytest.raises(UserError, match="times are numbers"):
        tasks["forecasting"](calendar=["hour"]).processor.fit([{"time": i, "sales": 1.0 * i} for i in range(9)])


def test_lines_that_tell_what_is_known_ahead_are_no_records(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"sales": [*PRICE[:TIMES], *[None] * HORIZON], "price": PRICE}
    path = written(tmp_path / "sales.csv", columns, TIMES + HORIZON)
    source = Series(path=path, ahead=("price",))
    assert len(source) == TIMES
    assert source.values("price")[-1] == pytest.approx(PRICE[TIMES - 1])
    assert source.stretch(1)["price"] == pytest.approx(PRICE[TIMES - 1 :])
    assert source.stretch(1)["sales"][1:] == [None] * HORIZON
    with pytest.raises(DataError, match=r"data\.ahead"):
        Series(path=path)
    with pytest.raises(DataError, match=r"no column 'prize' is kept.*did you mean 'price'"):
        Series(path=path, ahead=("prize",))
    with pytest.raises(DataError, match="names every column"):
        Series(path=path, ahead=("price", "sales"))
