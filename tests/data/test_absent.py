"""A part without a class is told: a perfect score there may hide a model that never finds the class."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

import trainwright as tw
from trainwright.data.absent import absent


def test_each_part_that_lacks_a_class_of_training_is_told() -> None:
    classes = ["a", "b", "c", "a", "b", "c", "a", "d"]
    parts = {"train": [0, 1, 2, 3], "valid": [4, 5, 6], "test": [6, 7], "none": []}
    found = absent(classes, {name: torch.tensor(ids) for name, ids in parts.items()})
    assert [(f.where, f.what) for f in found] == [
        ("test", "the test part has no record of 2 of the 3 classes: 'b', 'c'")
    ]


@pytest.mark.parametrize(("rare", "parts"), [(2, {"valid", "test"}), (40, set())])
def test_a_run_tells_where_a_rare_class_is_in_training_alone(rare: int, parts: set[str], tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        rows = [(i * 7919 % 1000 / 1000, i * 104729 % 997, "rare" if i < rare else "usual") for i in range(400)]
        csv.writer(file).writerows([("a", "b", "y"), *rows])
    recipe = {
        "task": {"name": "tabular_classification", "target": "y"},
        "data": {"source": "table", "path": str(tmp_path / "t.csv")},
        "model": {"name": "mlp", "width": 4},
        "budget": "1 step",
    }
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert {f.where for f in run.findings if f.rule == "absent_classes"} == parts
