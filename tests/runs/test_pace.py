"""A budget in time holds, whatever takes the time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.engine import checkpoint
from trainwright.engine.packing import Snapshot


def test_a_budget_in_time_counts_the_checkpoints_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, cost = checkpoint.write, 0.2

    def slow(snapshot: Snapshot, folder: Path, step: int, *more: Any) -> Path:
        time.sleep(cost)
        return own(snapshot, folder, step, *more)

    monkeypatch.setattr(checkpoint, "write", slow)
    recipe = {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "wine"},
        "model": {"name": "mlp", "width": 8},
        "budget": "1 second",
        "save_every": "1 step",
        "eval_every": "1 step",
    }
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    amount, unit = str(run.config["budget"]).split()
    assert unit == "steps"
    assert 1 <= int(amount) <= 1 / cost
    assert not list((tmp_path / "run").glob(".rehearsal*"))
