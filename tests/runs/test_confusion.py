"""The confusion matrix of a run: a file beside the scores, a table on the command line, and never an own number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix
from torch import nn

import trainwright as tw
from trainwright.cli import main
from trainwright.runs.confusion import FEW, Confusion

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 16},
    "budget": "3 epochs",
}


def test_a_run_keeps_the_table_of_its_last_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tw.train(QUICK, out=tmp_path / "run", quiet=True)
    table = run.confusion
    assert table is not None
    assert table.labels == ("setosa", "versicolor", "virginica")
    counts = np.array(table.counts)
    assert counts.sum(1).tolist() == [10, 10, 10]
    assert counts.trace() / 30 == pytest.approx(run.metrics["test/accuracy"])
    assert not any("confusion" in name for name in (*run.metrics, *run.intervals, *run.baselines["linear"]))
    assert main(["evaluate", str(run.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["confusion"] == table.as_json()
    assert main(["evaluate", str(run.path)]) == 0
    said = capsys.readouterr().out.splitlines()
    start = said.index("rows: true, columns: said")
    assert said[start + 1].split() == list(table.labels)
    assert [line.split()[0] for line in said[start + 2 :]] == list(table.labels)


def test_it_is_scikit_learns_of_the_predictions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3)).astype(np.float32)
    y = rng.integers(0, 4, 90)
    net = nn.Linear(3, 4)
    run = tw.fit(net, (x, y), valid=(x[:40], y[:40]), loss="cross_entropy", epochs=1, out=tmp_path / "run", quiet=True)
    said = [a["label"] for a in run.predict(x[:40])]
    assert run.confusion is not None
    assert run.confusion.counts == tuple(map(tuple, confusion_matrix(y[:40], said, labels=range(4)).tolist()))


def test_a_run_of_numbers_has_none(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    run = tw.fit(nn.Linear(2, 1), (x, x[:, :1]), loss="mse", epochs=1, out=tmp_path / "run", quiet=True)
    assert run.confusion is None
    assert not (run.path / "confusion.csv").exists()


def test_it_reads_back_what_it_wrote_whatever_the_labels(tmp_path: Path) -> None:
    table = Confusion(("a,b", 'say "c"', "ü"), ((1, 0, 2), (0, 0, 0), (5, 6, 7)))
    table.write(tmp_path / "confusion.csv")
    assert Confusion.read(tmp_path / "confusion.csv") == table


def test_a_table_that_nobody_could_read_is_not_shown() -> None:
    n = FEW + 1
    labels, counts = tuple(map(str, range(n))), tuple((0,) * n for _ in range(n))
    assert Confusion(labels, counts).lines() == []
    assert len(Confusion(labels[:3], tuple(c[:3] for c in counts[:3])).lines()) == 5
