"""The usual recipes are recipes, and learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
