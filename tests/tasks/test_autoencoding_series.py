"""Autoencoding of series: windows are what has a code, what is missing is left out, and a label marks whole windows."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from tests.builtin import tides
from tests.tasks.cases import part_of
from tests.training import baselines_of, measured
from trainwright.cli.commands import main
from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress, Record
from trainwright.inside.judged import looks
from trainwright.inside.opened import Opened
from trainwright.inside.tried import offered
from trainwright.tools.new import new

LENGTH = 6


def task(records: Sequence[Record], **options: Any) -> Any:
    made = tasks["autoencoding"](**{"codes": 2, "window": LENGTH, **options})
    made.processor.fit(records)
    return made


def everything(made: Any, records: Sequence[Record], draw: bool = False) -> Batch:
    part = part_of(list(records), made.processor)
    rows = part.rows(0, len(part))
    batch: Batch = made.processor.batch(rows, Draw(0, 0, rows.ids) if draw else None)
    return batch


class Halves(nn.Module):
    """Says half of what it is given."""

    latent = "point"

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, dice: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        return self.share * x, x.new_ones(len(x), 2), x.new_zeros(len(x))


def test_a_sample_is_a_window_of_scaled_series() -> None:
    records = tides(30)
    made = task(records, stride=3)
    batch = everything(made, records)
    raw = np.array([[r["sea"], r["air"]] for r in records])
    scaled = (raw - raw.mean(0)) / raw.std(0)
    wanted = np.stack([scaled[a : a + LENGTH].T for a in range(0, 30 - LENGTH + 1, 3)])
    assert np.allclose(batch.inputs["x"].numpy(), wanted, atol=1e-4)
    assert made.sizes() == {"inputs": 2 * LENGTH, "codes": 2, "channels": 2, "size": [1, LENGTH]}
    assert np.allclose(made.processor.raw(batch.inputs["x"]).numpy()[0], raw[:LENGTH].T, atol=1e-3)


def test_no_reconstruction_is_compared_with_what_is_missing() -> None:
    records = tides(40, gaps=True)
    made = task(records)
    batch = everything(made, records)
    real = batch.inputs["real"]
    assert 0 < int((~real).sum()) < real.numel() / 4
    assert bool(batch.inputs["x"].isfinite().all())
    errors = torch.where(real, (0.5 * batch.inputs["x"]).square(), torch.nan)
    loss = made.loss(Halves(), batch, Progress(1, 1))
    assert loss.each is not None
    assert torch.allclose(loss.each, errors.flatten(1).nanmean(1), atol=1e-6)
    with torch.no_grad():
        told = made.predict(Halves(), batch)
    assert torch.allclose(told["score"], loss.each)
    assert measured(made.metrics()["mse"], told, batch) == pytest.approx(float(errors.nanmean()), rel=1e-5)


def test_noise_is_put_on_inputs_alone() -> None:
    records = tides(60)
    made = task(records, noise=0.2, masked=0.25)
    drawn, clean = everything(made, records, draw=True), everything(made, records)
    assert torch.equal(drawn.targets["x"], clean.inputs["x"])
    masked = drawn.inputs["x"] == 0
    assert 0.2 < float(masked.float().mean()) < 0.3
    assert 0.17 < float((drawn.inputs["x"] - clean.inputs["x"])[~masked].std()) < 0.23


def test_a_window_is_an_anomaly_where_one_of_its_steps_is() -> None:
    marks = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, None, None, None, None, 2, 2, 2, 2]
    records = [{**r, "state": mark} for r, mark in zip(tides(18), marks, strict=True)]
    made = task(records, label="state", anomaly=1)
    assert made.processor.labels == ["0", "1", "2"]
    told = everything(made, records).targets["y"].tolist()
    assert told == [1, 1, 1, 1, 0, 0, 0, 0, 0, 2, 2, 2, 2]
    usual = task(records, label="state")
    assert everything(usual, records).targets["y"].tolist()[:4] == [0, 0, 0, 0]
    assert "state" not in made.processor.names


def test_simple_codes_leave_out_what_is_missing_as_well() -> None:
    from sklearn.decomposition import PCA

    records = [{**r, "odd": 30 < i < 34} for i, r in enumerate(tides(70, gaps=True))]
    made = task(records, label="odd", anomaly=True)
    part = part_of(records, made.processor)
    told = baselines_of(made, part, part)
    batch = everything(made, records)
    x, real = batch.inputs["x"].flatten(1).double().numpy(), batch.inputs["real"].flatten(1).numpy()
    ours = PCA(2).fit(x)
    off = (x - ours.inverse_transform(ours.transform(x))) ** 2
    assert told["linear"]["mse"] == pytest.approx(off[real].mean(), rel=1e-4)
    assert {"constant", "linear", "isolation_forest"} == set(told)
    assert all(0 <= scores["auroc"] <= 1 for scores in told.values())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stride": 2}, r"task.stride: says nothing without task.window"),
        ({"window": 4, "numeric": ("sea",)}, "task.numeric: says nothing of windows"),
        ({"window": 4, "scaling": "quantile"}, "task.scaling: says nothing of windows"),
    ],
)
def test_options_that_say_nothing_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tasks["autoencoding"](**options)


@pytest.mark.parametrize(
    ("options", "records", "says"),
    [
        ({"label": "fault"}, tides(20), "training record 0: no field is named 'fault', which task.label names"),
        ({"ignore": ("fault",)}, tides(20), "no field is named 'fault', which task.ignore names"),
        ({}, [{"sea": 1.0}], "training record 0: the record has no field 'time'"),
    ],
)
def test_bad_records_are_told(options: dict[str, Any], records: list[Record], says: str) -> None:
    with pytest.raises(DataError, match=says):
        task(records, **options)


@pytest.fixture(scope="module")
def pump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hours of a pump that twice is under pressure which its flow does not explain."""
    dice = np.random.default_rng(0)
    place = tmp_path_factory.mktemp("pump")
    with (place / "pump.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "pressure", "flow", "fault"])
        for r, i in zip(tides(300), range(300), strict=True):
            flow, fault = math.sin(i / 4) + 0.05 * dice.normal(), i % 130 in (120, 121)
            rows.writerow([r["time"], flow + 0.05 * dice.normal() + 3 * fault, flow, int(fault)])
    return place / "pump.csv"


@pytest.fixture(scope="module")
def run(pump: Path) -> Any:
    recipe = {
        "task": {"name": "autoencoding", "codes": 2, "window": 12, "label": "fault", "anomaly": 1},
        "data": {"source": "series", "path": str(pump), "valid": 60, "test": 60},
        "model": {"name": "conv_autoencoder", "filters": [8], "latent": "normal"},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "batch_size": 32,
    }
    begun = tw.train({**recipe, "budget": "3 epochs"}, out=pump.parent / "run", quiet=True)
    return tw.resume(begun.path, {"budget": "5 epochs"}, quiet=True)


def test_a_run_beats_the_mean_draws_windows_and_goes_on_exactly(run: Any, pump: Path) -> None:
    assert run.metrics["test/mse"] < run.baselines["constant"]["mse"]
    assert 0 <= run.metrics["test/auroc"] <= 1
    names = {p.name for p in (run.path / "portraits").iterdir()}
    assert names == {"codes.png", "codes.json", "reconstructions.png", "strangest.png", "new.png"}
    straight = tw.train(run.path / "config.toml", out=pump.parent / "straight", quiet=True)
    mine, theirs = run.view.losses, straight.view.losses
    assert [mine[k] for k in sorted(mine)[-4:]] == [theirs[k] for k in sorted(theirs)[-4:]]


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["predict", *arguments, "--json"]) == 0
    answers: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["answers"]
    return answers


def test_every_window_of_a_file_is_answered_whether_it_has_labels_or_not(
    run: Any, pump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlabelled = pump.with_name("new.csv")
    unlabelled.write_text("".join(line.rpartition(",")[0] + "\n" for line in pump.read_text().splitlines()[:51]))
    told = [asked(capsys, str(run.path), str(file)) for file in (pump, unlabelled)]
    assert [len(answers) for answers in told] == [289, 39]
    assert told[0][0]["time"] == "2024-01-01 00:00:00"
    assert told[0][0]["until"] == "2024-01-01 11:00:00"
    for a, b in zip(told[0], told[1], strict=False):
        assert a["anomaly_score"] == pytest.approx(b["anomaly_score"], rel=1e-5)
    with pump.open() as file:
        rows = list(csv.DictReader(file))
    whole = {n: [r[n] if n == "time" else float(r[n]) for r in rows[:20]] for n in ("time", "pressure", "flow")}
    (newest,) = run.predict([whole])  # of a longer stretch its newest window
    assert newest["anomaly_score"] == pytest.approx(told[0][8]["anomaly_score"], rel=1e-5)
    assert newest["until"] == told[0][8]["until"]
    with pytest.raises(DataError, match="has 5 times, and a window of this run has 12"):
        run.predict([{n: v[:5] for n, v in whole.items()}])
    assert [a["row"] for a in asked(capsys, str(run.path), "--part", "test")] == list(range(241, 290))


def test_its_page_shows_windows_and_takes_tables(run: Any) -> None:
    opened = Opened(run.path)
    assert ".csv" in offered(opened)["files"]
    (seen,) = looks(opened, run.predictor, "test", [3])
    assert [series["name"] for series in seen["futures"]] == ["pressure", "flow"]
    assert all(len(series["values"]) == len(series["true"]) == 12 for series in seen["futures"])
    assert seen["answer"]["until"] > seen["answer"]["time"]


def test_a_recipe_for_series_reads_them_in_windows(pump: Path, tmp_path: Path) -> None:
    made = new(pump, out=tmp_path / "recipe.toml", task="autoencoding", target="fault")
    text = made.recipe.read_text()
    assert 'task = { name = "autoencoding", codes = 6, window = 24, label = "fault" }' in text
    assert 'source = "series"' in text
