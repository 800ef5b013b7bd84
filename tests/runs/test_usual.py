"""The usual recipes are recipes, and learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainwright as tw
from trainwright.core.kinds import tasks
from trainwright.runs.recipe import read
from trainwright.runs.usual import USUAL

DATA = {"source": "embedded", "set": "digits", "valid": 0.1, "test": 0.2}


@pytest.mark.parametrize("task", USUAL)
def test_every_usual_recipe_is_whole(task: str) -> None:
    assert task in tasks
    recipe: dict[str, Any] = {"data": DATA, **USUAL[task]}
    recipe["task"] = {"name": task, **USUAL[task].get("task", {})}
    assert read(recipe).config.task["name"] == task


def test_the_usual_recipe_of_images_learns_the_digits_in_a_tenth_of_its_budget(tmp_path: Path) -> None:
    recipe = {"task": "image_classification", "data": DATA, **USUAL["image_classification"]}
    run = tw.train(recipe, {"budget": "400 steps"}, out=tmp_path / "run", quiet=True)
    assert run.metrics["test/accuracy"] > run.baselines["linear"]["accuracy"] - 0.02 > 0.9


def test_the_usual_recipe_of_tables_learns_what_no_line_can_tell(tmp_path: Path) -> None:
    """A quantity that depends on the product of two columns, and on a bump of a third."""
    rng = np.random.default_rng(0)
    table = tmp_path / "table.csv"
    with table.open("w", encoding="utf-8") as file:
        file.write("a,b,c,kind,value\n")
        for _ in range(1500):
            a, b, c = rng.normal(size=3)
            kind = "xyz"[int(rng.integers(3))]
            value = a * b + 2 * (abs(c - 0.5) < 0.3) + (kind == "y") + 0.1 * rng.normal()
            file.write(f"{a},{b},{c},{kind},{value}\n")
    data = {"source": "table", "path": str(table), "valid": 0.1, "test": 0.2}
    run = tw.train(
        {"task": "tabular_regression", "data": data, **USUAL["tabular_regression"]}, out=tmp_path / "run", quiet=True
    )
    assert run.metrics["test/r2"] > 0.8 > 0.4 > run.baselines["linear"]["r2"]


def test_the_usual_recipe_of_tables_keeps_to_the_linear_model_where_lines_tell_all(tmp_path: Path) -> None:
    recipe = {"task": "tabular_classification", "data": {**DATA, "set": "iris"}, **USUAL["tabular_classification"]}
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.metrics["test/accuracy"] >= run.baselines["linear"]["accuracy"] - 0.04  # one flower of thirty
