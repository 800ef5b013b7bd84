"""What says which weights are best: the task's own metric, or one that the recipe names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.core.errors import UserError

WINE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "wine", "valid": 0.3, "test": 0.2},
    "model": {"name": "mlp", "width": 8},
    "optimizer": {"name": "adamw", "lr": 3e-2},
    "budget": "12 epochs",
    "batch_size": 16,
}


def judged(run: tw.Run, metric: str) -> list[float]:
    return [e.metrics[metric] for e in run.view.evals if e.part == "valid"]


def best(run: tw.Run) -> int:
    """Which evaluation was the best, counted from 0."""
    return max(i for i, e in enumerate([e for e in run.view.evals if e.part == "valid"]) if e.best)


@pytest.mark.parametrize(("asked", "better"), [("loss", "lower"), ("log_loss", "lower"), ("auroc", "higher")])
def test_the_weights_are_best_by_what_is_asked_for(tmp_path: Path, asked: str, better: str) -> None:
    run = tw.train(WINE, {"monitor": asked}, out=tmp_path / "run", quiet=True)
    values = judged(run, asked)
    assert values[best(run)] == (min(values) if better == "lower" else max(values))
    assert run.manifest["monitor"] == {"name": asked, "better": better}
    assert run.manifest["weights"]["monitored"].endswith(f"by valid {asked}")


def test_without_a_word_the_task_decides(tmp_path: Path) -> None:
    run = tw.train(WINE, out=tmp_path / "run", quiet=True)
    assert run.manifest["monitor"] == {"name": "accuracy", "better": "higher"}


def test_patience_waits_for_what_is_asked_for(tmp_path: Path) -> None:
    changes = {"monitor": "loss", "patience": 2, "budget": "60 epochs", "optimizer.lr": 0.3}  # too high to settle
    run = tw.train(WINE, changes, out=tmp_path / "run", quiet=True)
    values = judged(run, "loss")
    assert len(values) < 60
    assert len(values) - 1 - best(run) == 2
    assert min(values) == values[best(run)]


def test_a_metric_beside_the_tasks_own_may_decide(tmp_path: Path) -> None:
    run = tw.train(
        WINE, {"metrics": ["balanced_accuracy"], "monitor": "balanced_accuracy"}, out=tmp_path / "run", quiet=True
    )
    assert run.manifest["monitor"]["name"] == "balanced_accuracy"


def test_what_is_not_measured_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'rmse' is not measured at each evaluation; choose one of: loss, accuracy"):
        tw.train(WINE, {"monitor": "rmse"}, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_what_could_be_measured_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'or measure it as well: metrics = \["top_k_accuracy"\]$'):
        tw.train(WINE, {"monitor": "top_k_accuracy"}, out=tmp_path / "run", quiet=True)


def test_without_a_validation_part_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="monitor: looks at the validation part, and there is none"):
        tw.train(WINE, {"monitor": "loss", "data.valid": 0.0}, out=tmp_path / "run", quiet=True)


def test_it_stays_the_same_for_the_whole_run(tmp_path: Path) -> None:
    run = tw.train(WINE, {"budget": "1 epoch"}, out=tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match="monitor"):
        tw.resume(run.path, {"monitor": "loss", "budget": "2 epochs"}, quiet=True)


def test_a_module_of_the_callers_may_be_judged_by_a_metric(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    torch.manual_seed(0)
    given: Any = {"loss": "cross_entropy", "metrics": ["log_loss"], "epochs": 2, "quiet": True}
    run = tw.fit(nn.Linear(3, 2), (x, y), valid=(x, y), monitor="log_loss", out=tmp_path / "run", **given)
    assert run.manifest["monitor"] == {"name": "log_loss", "better": "lower"}
