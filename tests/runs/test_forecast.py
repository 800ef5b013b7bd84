"""A run of series goes on: with its own data, with a file, with a record, into tables and pictures, and resumes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from tests.builtin import tides
from trainwright.cli import main
from trainwright.core.errors import DataError, UserError


def table(path: Path, records: list[Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("series") / "tide.csv", tides(240))


def recipe(data: Path, **task: Any) -> dict[str, Any]:
    return {
        "task": {"name": "forecasting", "context": 24, "horizon": 6, **task},
        "data": {"source": "series", "path": str(data), "valid": 48, "test": 24},
        "model": {"name": "nlinear"},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "batch_size": 16,
        "budget": "12 epochs",
    }


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    return tw.train(recipe(data), out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_a_run_beats_the_season_and_scores_every_window(run: tw.Run) -> None:
    assert run.manifest["data"]["samples"] == {"train": 240 - 72 - 24 - 5, "valid": 43, "test": 19}
    assert run.metrics["test/mse"] < run.baselines["seasonal_naive"]["mse"]
    assert {"constant", "linear", "seasonal_naive"} == set(run.baselines)


def test_it_goes_on_behind_its_own_data_with_intervals_of_its_validation_errors(run: tw.Run) -> None:
    found = run.forecast()
    assert found.times == [f"2024-01-11 0{h}:00:00" for h in range(6)]
    later = tides(246)[240:]
    for name, wide in (("sea", 30.0), ("air", 3.0)):
        for i, record in enumerate(later):
            assert found.low[name][i] < found.values[name][i] < found.high[name][i]
            assert abs(found.values[name][i] - record[name]) < wide
    assert found.intervals == "90% of the errors on 43 windows of the validation part"


def test_a_record_is_gone_on_with_and_answers_as_predict_does(run: tw.Run) -> None:
    records = tides(200)[100:160]
    stretch = {name: [r[name] for r in records] for name in records[0]}
    (answer,) = run.predict([stretch])
    found = run.forecast(stretch)
    assert (found.times, found.values["sea"]) == (answer["time"], pytest.approx(answer["sea"]))
    gappy = run.forecast({**stretch, "air": [*stretch["air"][:-2], None, None]})
    assert gappy.notes == ["2 of the 48 numbers that were looked at are missing"]


def test_without_its_data_a_point_forecast_has_no_interval_and_says_why(data: Path, tmp_path: Path) -> None:
    own = table(tmp_path / "own.csv", tides(240))
    run = tw.train({**recipe(own), "budget": "1 step"}, out=tmp_path / "run", quiet=True)
    own.unlink()
    found = run.forecast(data)
    assert found.low == {}
    assert found.intervals.startswith("none: the errors on the validation part cannot be measured")
    assert {p.suffix for p in found.save(tmp_path / "f")} == {".csv", ".png"}


def test_quantiles_are_their_own_intervals(data: Path, tmp_path: Path) -> None:
    asked = recipe(data, loss="quantile", quantiles=[0.05, 0.5, 0.95])
    run = tw.train(asked, out=tmp_path / "run", quiet=True)
    assert run.metrics["test/crps"] < 0.2 * run.baselines["constant"]["crps"]
    found = run.forecast()
    assert all(a <= b <= c for a, b, c in zip(found.low["sea"], found.values["sea"], found.high["sea"], strict=True))
    assert found.intervals == "quantiles 0.05 and 0.95 as the run tells them"


def test_the_command_line_writes_tables_and_pictures_and_overwrites_none(
    run: tw.Run, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["predict", str(run.path), str(data), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert f"{tmp_path}/tide-2.csv {tmp_path}/tide-2.png" in told.out
    assert "intervals: 90%" in told.err
    rows = list(csv.DictReader((tmp_path / "tide.csv").read_text().splitlines()))
    assert list(rows[0]) == ["time", "sea", "sea.low", "sea.high", "air", "air.low", "air.high"]
    assert [r["time"] for r in rows] == run.forecast().times
    assert main(["predict", str(run.path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["forecasts"]
    assert found["values"]["sea"] == run.forecast().values["sea"]
    assert [Path(f).name for f in found["files"]] == ["forecast.csv", "forecast.png"]
    assert main(["evaluate", str(run.path), "--data", str(data)]) == 0
    assert "mase" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--text", "x"], "--text: does not go together with a run that forecasts"),
        (["--tokens", "3"], "--tokens: does not go together"),
        (["-"], "a series is read from a file"),
        (["gone.csv"], "gone.csv: nothing is at"),
    ],
)
def test_what_does_not_go_together_with_series_is_told(
    run: tw.Run, more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run.path), *more, "--out", str(tmp_path)]) != 0
    assert says in capsys.readouterr().err


def test_a_file_that_does_not_fit_is_told_with_its_place(run: tw.Run, tmp_path: Path) -> None:
    short = table(tmp_path / "short.csv", tides(10))
    with pytest.raises(DataError, match=r"short.csv: .*10 rows of 'series', too few"):
        run.forecast(short)
    other = table(tmp_path / "other.csv", [{"time": r["time"], "sea": r["sea"]} for r in tides(30)])
    with pytest.raises(DataError, match="has no column 'air'"):
        run.forecast(other)
    daily = [{**r, "time": f"2024-01-{1 + i:02}"} for i, r in enumerate(tides(30))]
    with pytest.raises(DataError, match=r"daily.csv: .*this run knows times 1 hour apart"):
        run.forecast(table(tmp_path / "daily.csv", daily))
    iris = tw.train("iris", {"budget": "1 step"}, out=tmp_path / "iris", quiet=True)
    with pytest.raises(UserError, match="this run forecasts no series"):
        iris.forecast(short)


def test_a_run_that_stopped_goes_on_to_the_same_weights(run: tw.Run, data: Path, tmp_path: Path) -> None:
    first = tw.train({**recipe(data), "budget": "5 epochs"}, out=tmp_path / "run", quiet=True)
    again = tw.resume(first.path, {"budget": "12 epochs"}, quiet=True)
    mine, theirs = (r.view.losses for r in (again, run))
    assert [mine[k] for k in sorted(mine)[-20:]] == [theirs[k] for k in sorted(theirs)[-20:]]


def test_parts_too_short_for_a_window_are_told(data: Path, tmp_path: Path) -> None:
    asked = {**recipe(data), "data": {"source": "series", "path": str(data), "valid": 5, "test": 24}}
    with pytest.raises(DataError, match="valid: 5 rows are too few for one window of 6 rows"):
        tw.train(asked, out=tmp_path / "run", quiet=True)
