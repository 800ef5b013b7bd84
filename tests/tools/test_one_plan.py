"""What is compared with each other is carried out alike: the first training of a search finds the plan of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.core.config import Plan
from trainwright.runs import planning
from trainwright.runs.planning import shared
from trainwright.runs.recipe import write

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 8},
    "batch_size": 64,
    "budget": "1 epoch",
    "doctor": "off",
}
FUSED = Plan(fused=True).model_dump()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A rehearsal that finds one thing, and is counted."""
    asked: list[str] = []

    class Rehearsal:
        def __init__(self, pieces: Any) -> None:
            asked.append(pieces.config.task["name"])

        def chosen(self) -> tuple[Plan, list[str]]:
            return Plan(fused=True), ["fused optimizer: taken"]

    monkeypatch.setattr(planning, "_may", lambda pieces: True)
    monkeypatch.setattr(planning, "_Rehearsal", Rehearsal)
    monkeypatch.setattr("trainwright.runs.run.curves", lambda view, monitor, path: path)
    return asked


def test_folds_follow_the_plan_of_the_first(measured: list[str], tmp_path: Path) -> None:
    found = tw.crossval(QUICK, folds=3, out=tmp_path / "folds", quiet=True)
    assert len(measured) == 1
    assert [run.config["pace"] for run in found.finished.values()] == [FUSED] * 3


def test_trials_follow_it_too(measured: list[str], tmp_path: Path) -> None:
    search = tw.tune(QUICK, space=["optimizer.lr=1e-3..1e-1:log"], trials=3, out=tmp_path / "search", quiet=True)
    assert len(measured) == 1
    assert search.run is not None
    assert search.run.config["pace"] == FUSED, "the best, trained again"


def test_other_models_are_measured_each(measured: list[str], tmp_path: Path) -> None:
    tw.tune(QUICK, space=["model.width=4..16"], trials=2, out=tmp_path / "search", quiet=True)
    assert len(measured) == 2


def test_a_plan_comes_from_the_first_run_that_has_one(tmp_path: Path) -> None:
    for name, pace in (("b", "plain"), ("c", FUSED), ("d", {**FUSED, "fused": False})):
        (tmp_path / name).mkdir()
        write({"pace": pace, "precision": "float32"}, tmp_path / name / "config.toml")
    assert shared(tmp_path / name for name in "abcd") == {"pace": FUSED, "precision": "float32"}
    assert shared([tmp_path / "a", tmp_path / "b"]) == {}
