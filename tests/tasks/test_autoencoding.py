"""Autoencoding: losses and scores are the formulas', labels teach nothing, and simple codes are those of libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import trainwright as tw
from tests.builtin import pictures
from tests.tasks.cases import part_of, rows, whole
from tests.training import baselines_of, measured
from trainwright.core.batch import Draw
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress, Record
from trainwright.inside.opened import Opened
from trainwright.inside.tried import offered
from trainwright.metrics.codes import clusters

ROWS: list[Record] = rows(60)


def task(records: list[Record], **options: Any) -> Any:
    made = tasks["autoencoding"](**{"codes": 2, **options})
    made.processor.fit(records)
    return made


class Says(nn.Module):
    """Half of what it is given, codes of ones, and a divergence of three nats."""

    latent = "normal"

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, dice: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        return self.share * x, x.new_ones(len(x), 2), x.new_full((len(x),), 3.0)


def test_the_loss_of_rows_is_a_mean_over_numbers_beside_the_distance_of_the_code() -> None:
    made = task(ROWS, label="target", beta=0.5, warmup=0.5)
    batch = whole(ROWS, made, fit=False)
    x = batch.inputs["x"]
    assert x.shape[1] == made.processor.inputs.width + sum(made.processor.inputs.cardinalities)
    assert set(x[:, made.processor.inputs.width :].unique().tolist()) == {0.0, 1.0}
    width = x.shape[1]
    errors = (0.5 * x).square().mean(1)
    for progress, share in ((Progress(0, 100), 0.0), (Progress(25, 100), 0.5), (Progress(80, 100), 1.0)):
        loss = made.loss(Says(), batch, progress)
        assert loss.each is not None
        assert torch.allclose(loss.each, errors + share * 0.5 * 2 * 3.0 / width, atol=1e-5)
    with torch.no_grad():
        told = made.predict(Says(), batch)
    assert torch.allclose(told["score"], errors + 0.5 * 2 * 3.0 / width, atol=1e-5)
    assert measured(made.metrics()["mse"], told, batch) == pytest.approx(float(errors.mean()), rel=1e-5)


def test_pixels_lie_between_zero_and_one_and_may_be_shares_of_white() -> None:
    records = pictures(8)
    made = task(records, loss="bernoulli", label="label")
    batch = whole(records, made, fit=False)
    x = batch.inputs["x"]
    assert torch.equal(x, torch.from_numpy(np.stack([r["image"] for r in records]))[:, None].float() / 255)
    loss = made.loss(Says(), batch, Progress(1, 1))
    said = torch.sigmoid(0.5 * x)
    wanted = -(x * said.log() + (1 - x) * (1 - said).log()).flatten(1).mean(1) + 3.0 / 64
    assert loss.each is not None
    assert torch.allclose(loss.each, wanted, atol=1e-5)
    assert torch.allclose(loss.outputs["reconstruction"], said)
    with pytest.raises(UserError, match="'bernoulli' is for pixels"):
        task(ROWS, label="target", loss="bernoulli").sizes()


def test_noise_is_put_on_inputs_alone_and_only_in_training() -> None:
    records = pictures(40)
    made = task(records, noise=0.2, masked=0.25)
    part = part_of(records, made.processor)
    given = part.rows(0, 40)
    clean = made.processor.batch(given, None)
    drawn = made.processor.batch(given, Draw(0, 0, given.ids))
    assert "dice" not in clean.inputs
    assert drawn.inputs["dice"].shape == (40, 2)
    assert torch.equal(drawn.targets["x"], clean.inputs["x"])
    masked = drawn.inputs["x"] == 0
    assert 0.2 < float(masked.float().mean()) < 0.3
    off = (drawn.inputs["x"] - clean.inputs["x"])[~masked]
    assert 0.17 < float(off.std()) < 0.23


def test_labels_teach_nothing(tmp_path: Path) -> None:
    """The same weights whatever the labels say; and without them, the same code."""
    dice = np.random.default_rng(0)
    x, y = dice.normal(size=(120, 4)).astype(np.float32), np.arange(120) % 2
    weights = []
    for name, labels in (("a", y), ("b", dice.permutation(y))):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels)
        recipe = {
            "task": {"name": "autoencoding", "codes": 2, "label": "y", "anomaly": 1, "noise": 0.1},
            "data": {"source": "npz", "path": str(tmp_path / f"{name}.npz"), "rows": "columns"},
            "model": {"name": "autoencoder", "units": [8], "latent": "normal"},
            "budget": "3 epochs",
        }
        run = tw.train(recipe, out=tmp_path / name, quiet=True)
        weights.append(run.model.state_dict())
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert {"constant", "linear", "isolation_forest"} == set(run.baselines)
    assert 0 <= run.metrics["test/auroc"] <= 1
    assert "valid/auroc" in run.metrics
    assert "auroc" not in run.history[0]
    record = {f"x_{i + 1}": float(v) for i, v in enumerate(x[0])}
    (answer,), (labelled,) = run.predict([record]), run.predict([{**record, "y": 1}])
    assert answer == labelled
    assert set(answer) == {"anomaly_score", "code_1", "code_2"}
    figures = json.loads((run.path / "portraits" / "codes.json").read_text())
    assert {"clusters", "silhouette", "variance"} <= set(figures)
    again = tw.resume(run.path, {"budget": "5 epochs"}, quiet=True)
    straight = tw.train({**recipe, "budget": "5 epochs"}, out=tmp_path / "straight", quiet=True)
    mine, theirs = again.view.losses, straight.view.losses
    assert [mine[k] for k in sorted(mine)[-4:]] == [theirs[k] for k in sorted(theirs)[-4:]]


def test_the_linear_baseline_is_scikit_learns_and_a_far_row_scores_high() -> None:
    from sklearn.decomposition import PCA
    from sklearn.metrics import roc_auc_score

    dice = np.random.default_rng(0)
    x = dice.normal(size=(300, 5)) @ dice.normal(size=(5, 5))
    x[:12] += 40 * dice.normal(size=(12, 5))
    records: list[Record] = [
        {**{f"c{i}": float(v) for i, v in enumerate(row)}, "odd": k < 12} for k, row in enumerate(x)
    ]
    made = task(records, label="odd", anomaly=True, codes=2)
    part = part_of(records, made.processor)
    told = baselines_of(made, part, part)
    scaled = (x - x.mean(0)) / x.std(0)
    ours = PCA(2).fit(scaled)
    off = scaled - ours.inverse_transform(ours.transform(scaled))
    assert told["linear"]["mse"] == pytest.approx((off**2).mean(), rel=1e-4)
    odd = np.arange(300) < 12
    assert told["linear"]["auroc"] == pytest.approx(roc_auc_score(odd, (off**2).mean(1)), abs=1e-6)
    assert told["constant"]["mse"] == pytest.approx(1.0, rel=1e-3)
    assert told["isolation_forest"]["auroc"] > 0.9


@pytest.mark.parametrize("model", [{"name": "conv_autoencoder", "filters": [8]}, {"name": "autoencoder", "units": [8]}])
def test_pictures_are_portrayed_and_new_ones_are_drawn(model: dict[str, Any], tmp_path: Path) -> None:
    place = tmp_path / "data"
    for k, record in enumerate(pictures(60)):
        folder = place / str(record["label"])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(record["image"]).save(folder / f"{k}.png")
    recipe = {
        "task": {"name": "autoencoding", "codes": 2, "label": "label", "size": 8},
        "data": {"source": "folder", "path": str(place), "valid": 0.2, "test": 0.2},
        "model": {**model, "latent": "normal"},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "batch_size": 12,
        "budget": "3 epochs",
    }
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    names = {p.name for p in (run.path / "portraits").iterdir()}
    assert names == {"codes.png", "codes.json", "reconstructions.png", "strangest.png", "new.png"}
    assert "normalized_mutual_information" in json.loads((run.path / "portraits" / "codes.json").read_text())
    offers = offered(Opened(run.path))
    assert ".png" in offers["files"]
    assert "fields" not in offers
    bad = place / "left" / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad.png"):
        tw.train(recipe, out=tmp_path / "again", quiet=True)


def test_clusters_are_as_many_as_labels_or_as_fit_best() -> None:
    dice = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    labels = np.arange(150) % 3
    code = centres[labels] + dice.normal(size=(150, 2))
    found, told = clusters(code, None)
    assert told["clusters"] == 3
    assert told["silhouette"] > 0.6
    assert len({(a, b) for a, b in zip(found.tolist(), labels.tolist(), strict=True)}) == 3
    assert clusters(code, labels)[1]["normalized_mutual_information"] == pytest.approx(1.0)
    assert clusters(np.zeros((20, 2)), None)[1] == {}


@pytest.mark.parametrize(
    ("records", "options", "says"),
    [
        (ROWS, {"label": "goal"}, "training record 0: no field is named 'goal'"),
        ([*pictures(3), {"label": "left"}], {}, "1 of the training records have no 'image'"),
        ([*pictures(2), {"image": b"no picture"}], {}, "training record 2"),
        ([], {}, "training part has no records"),
    ],
)
def test_bad_records_are_told(records: list[Record], options: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        task(records, **options)


def test_an_anomaly_that_no_record_has_is_told() -> None:
    with pytest.raises(UserError, match="no training record has the label 'odd'; the labels are high, low"):
        task(ROWS, label="target", anomaly="odd").metrics()
    with pytest.raises(UserError, match="there is no label that could be it"):
        tasks["autoencoding"](anomaly=1)
