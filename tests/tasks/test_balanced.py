"""Balanced class weights: every task of classes counts its training part, and a run reads the counts back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainwright as tw
from tests.builtin import films
from tests.sounds import calls
from tests.tasks.cases import pictures, reviews, rows, whole
from trainwright.core.errors import UserError
from trainwright.core.kinds import tasks
from trainwright.core.schema import options
from trainwright.core.task import Record

BALANCED = {"name": "cross_entropy", "class_weights": "balanced"}
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 4)).astype(np.float32), (RNG.random(60) < 0.2).astype(int)


def uneven(records: Sequence[Record]) -> list[Record]:
    """One class far less often than the others."""
    return [
        r
        for i, r in enumerate(records)
        if r.get("label", r.get("target")) not in (0, "high", "up", "pos") or i % 3 == 0
    ]


CASES: list[tuple[str, Sequence[Record], Callable[[Record], Any]]] = [
    ("tabular_classification", uneven(rows()), lambda r: r["target"]),
    ("image_classification", uneven(pictures()), lambda r: r["label"]),
    ("video_classification", uneven(films(24)), lambda r: r["label"]),
    ("audio_classification", uneven(calls(24)), lambda r: r["label"]),
    ("text_classification", uneven(reviews()), lambda r: r["label"]),
    ("supervised", [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)], lambda r: r["y"]),
]


@pytest.mark.parametrize(("name", "records", "label"), CASES, ids=[c[0] for c in CASES])
def test_a_class_weighs_as_scikit_learn_has_it(name: str, records: Any, label: Callable[[Record], Any]) -> None:
    task = tasks[name](loss=BALANCED)
    batch = whole(records, task)
    found = [label(r) for r in records]
    weights = compute_class_weight("balanced", classes=np.unique(found), y=np.array(found))
    y = batch.targets["y"]
    for number, weight in enumerate(weights):
        assert float(task.criterion.weight(y[y == number])) == pytest.approx(weight * int((y == number).sum()))
    assert float(batch.weight) == pytest.approx(len(records))
    again = tasks[name](loss=BALANCED)
    again.processor.load_state_dict(task.processor.state_dict())
    assert float(again.criterion.weight(y)) == float(batch.weight)


def test_every_task_of_classes_is_among_them() -> None:
    takes = {n for n in tasks.names() if "loss" in options(tasks[n]) and tasks[n].__module__.startswith("trainwright.")}
    assert takes == {c[0] for c in CASES} | {"tabular_regression", "forecasting", "autoencoding"}


def test_a_run_with_balanced_weights_trains_resumes_and_evaluates(tmp_path: Path) -> None:
    recipe = {
        "task": {"name": "tabular_classification", "loss": BALANCED},
        "data": {"source": "embedded", "set": "wine", "test": 0.2},
        "budget": "5 epochs",
    }
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    again = tw.resume(run.path, {"budget": "6 epochs"}, quiet=True)
    from trainwright.runs.score import evaluate_run

    assert evaluate_run(again).scores["test/loss"] == pytest.approx(again.metrics["test/loss"])


def test_a_loader_cannot_tell_how_often_a_class_occurs(tmp_path: Path) -> None:
    batches = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=10)
    with pytest.raises(UserError, match="'balanced' needs to know how often each class occurs"):
        tw.fit(nn.Linear(4, 2), batches, loss=BALANCED, out=tmp_path / "run", quiet=True)
