"""The benchmark of tables: the split written in code, and what it makes of the numbers of several seeds."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.tabular import SETS, Table, summed, told
from trainwright.runs.recipe import read


@pytest.mark.data
def test_california_is_split_by_the_seed_and_keeps_what_is_missing(real_data: Path, tmp_path: Path) -> None:
    del real_data  # the recipe finds it by itself
    parts = []
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        (tmp_path / name).mkdir()
        recipe = SETS["california"].recipe(seed, tmp_path / name)
        assert isinstance(recipe, dict)
        assert read(recipe).config.task["target"] == "MedHouseVal"
        with open(recipe["data"]["path"], encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        parts.append([r["part"] for r in rows])
        assert len(rows) == 20_640
        assert len(rows[0]) == 8 + 2
        assert sum(r["AveBedrms"] == "" for r in rows) == 207
    assert parts[0] == parts[1] != parts[2]
    shares = [parts[0].count(p) / len(parts[0]) for p in ("train", "valid", "test")]
    assert shares == pytest.approx([0.64, 0.16, 0.20], abs=1e-4)


@pytest.mark.parametrize(("metric", "better"), [("rmse", -1.0), ("accuracy", 1.0)])
def test_better_by_is_above_0_where_the_network_is_better(metric: str, better: float) -> None:
    rows = [
        {"metric": metric, "network": 0.5 + better * d, "constant": 0.2 if better > 0 else 0.8, "linear": 0.5}
        | {"boosting": 0.5 + better * 2 * d, "wall": 3.0, "cpu": 2.0}
        for d in (0.01, 0.02, 0.03)
    ]
    found = summed(rows, Table(lambda seed, folder: folder, goal=(0.5, 0.4)))
    assert found["better_by"]["linear"] == pytest.approx(0.02)
    assert found["better_by"]["boosting"] == pytest.approx(-0.02)
    assert found["interval"]["linear"][0] < 0.02 < found["interval"]["linear"][1]
    assert found["above_constant_in_all"] is True
    assert found["reached"] is True
    assert "needed 0.5: reached; published 0.4" in told({"set": "any", "seeds": rows, **found})
