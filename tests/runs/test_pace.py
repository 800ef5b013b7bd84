"""A budget in time holds, whatever takes the time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trainwright as tw
from trainwright.engine import checkpoint
from trainwright.engine.packing import Snapshot
from trainwright.runs import pace


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


def pieces(per_epoch: int, **more: Any) -> Any:
    config = SimpleNamespace(budget="10 seconds", eval_every="1 epoch")
    return SimpleNamespace(config=config, per_epoch=per_epoch, evaluations={"valid": None}, **more)


@pytest.mark.parametrize(
    ("per_epoch", "once", "steps"),
    [
        (10, 4.0, 20),  # one every ten steps: 4 s more for 1 s
        (1000, 4.0, 60),  # none is due in time but the last one
        (1000, 0.0, 100),
        (1000, 9.95, 1),  # hardly anything is left
        (1000, 60.0, 1),
    ],
)
def test_the_last_evaluation_is_counted_in(
    per_epoch: int, once: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_evaluation_seconds", lambda pieces, limit: once)
    assert round(10 / pace._with_evaluations(0.1, pieces(per_epoch), 0.2)) == steps


def test_of_a_long_evaluation_only_the_beginning_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def evaluate(model: Any, task: Any, batches: Iterable[Any], runtime: Any) -> None:
        nonlocal now
        for _ in batches:
            now += 1.5

    monkeypatch.setattr(pace, "evaluate", evaluate)
    monkeypatch.setattr(pace, "exhibits", lambda pieces, part: ())
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: now))
    whole = [SimpleNamespace(size=20)] * 40
    given = pieces(
        100,
        encoded={"valid": range(800)},
        runtime=SimpleNamespace(ranks=SimpleNamespace(world=1)),
        state=SimpleNamespace(model=None),
        task=None,
    )
    given.evaluations = {"valid": lambda: iter(whole)}
    assert pace._evaluation_seconds(given, 2.0) == pytest.approx(1.5 * 40)
    assert now == 3.0  # two of the forty
    given.runtime.ranks.world = 2  # which must all take part to the end
    assert pace._evaluation_seconds(given, 2.0) == pytest.approx(1.5 * 40)
    assert now == 63.0
