"""A resumed run says that it goes on exactly, or why perhaps not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainwright as tw
from tests.runs.test_begin import QUICK
from trainwright.runs.likeness import likeness


def noted(run: tw.Run) -> str:
    return run.view.attempts[-1].note


def test_a_run_that_goes_on_as_it_was_is_exact_and_says_what_was_changed(tmp_path: Path) -> None:
    run = tw.train(QUICK, out=tmp_path / "run", quiet=True)
    assert noted(run) == ""
    again = tw.resume(run.path, {"budget": "4 epochs"}, quiet=True)
    assert noted(again) == "exact; budget: 3 epochs -> 4 epochs"


@pytest.mark.parametrize(
    ("part", "key", "value"), [("machine", "threads", 97), ("versions", "torch", "1.0"), ("machine", "device", "cuda")]
)
def test_what_differs_is_named(part: str, key: str, value: Any, tmp_path: Path) -> None:
    run = tw.train(QUICK, out=tmp_path / "run", quiet=True)
    manifest = json.loads((run.path / "manifest.json").read_text())
    real = manifest[part][key]
    manifest[part][key] = value
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    again = tw.resume(run.path, {"budget": "4 epochs"}, quiet=True)
    assert noted(again).startswith(f"approximate: {key} was {value!r}, is {real!r}")


def test_a_loader_of_ones_own_is_the_reason(tmp_path: Path) -> None:
    data = TensorDataset(torch.randn(20, 3), torch.randn(20, 1))
    loader: Any = DataLoader(data, batch_size=5, shuffle=True, num_workers=1, persistent_workers=True)
    options: dict[str, Any] = {"loss": "mse", "quiet": True}
    net = nn.Linear(3, 1)
    run = tw.fit(net, loader, epochs=1, out=tmp_path / "run", **options)
    again = tw.fit(net, loader, epochs=2, resume=run.path, **options)
    assert noted(again).startswith("approximate: persistent_workers keep")
    assert "approximate" not in noted(again).removeprefix("approximate: ")


def test_equal_manifests_are_exact_and_one_difference_is_not() -> None:
    one: dict[str, Any] = {
        "versions": {"torch": "2", "numpy": "2"},
        "machine": {"processor": "x", "threads": 2, "device": "cpu", "device_name": ""},
        "plan": {"ranks": 1, "parallel": "single"},
        "data": {"resume": "exact"},
    }
    assert likeness(one, one) == "exact"
    other = {**one, "plan": {"ranks": 2, "parallel": "ddp"}}
    assert likeness(one, other) == "approximate: ranks was 1, is 2; parallel was 'single', is 'ddp'"
