"""A rehearsal computes half of a batch at once where a pass keeps much, and the training does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainwright as tw
from tests.runs.test_planning import RECIPE, _long_enough  # noqa: F401 - every test is under the second
from trainwright.core.batch import Batch
from trainwright.runs import halved, planning


def rehearsed(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[tw.Run, set[tuple[int, ...]]]:
    """A run, and of how many samples each the micro-batches were that plans were tried with."""
    seen: set[tuple[int, ...]] = set()
    block = planning._Rehearsal._block

    def noted(self: Any, *args: Any) -> Any:
        groups: list[list[Batch]] = self.groups
        seen.update(tuple(batch.size for batch in group) for group in groups)
        return block(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(planning._Rehearsal, "_block", noted)
        return tw.train({**RECIPE, **changes}, out=folder, quiet=True), seen


def test_halves_are_tried_and_whole_batches_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, as_it_is = rehearsed(tmp_path / "whole", monkeypatch)
    assert as_it_is == {(32,)}
    monkeypatch.setattr(halved, "_MUCH", 1)
    half, cut = rehearsed(tmp_path / "half", monkeypatch)
    assert cut == {(16, 16)}
    assert half.config["pace"] == whole.config["pace"]
    a, b = (run.model.state_dict() for run in (whole, half))
    assert all(torch.equal(a[name], b[name]) for name in a)  # as many samples at once, or sums would be others


def test_micro_batches_that_were_asked_for_are_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halved, "_MUCH", 1)
    run, cut = rehearsed(tmp_path / "run", monkeypatch, micro_batch=16)
    assert cut == {(8, 8, 8, 8)}
    assert run.config["micro_batch"] == 16


def test_a_sample_at_once_cannot_be_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halved, "_MUCH", 1)
    _, cut = rehearsed(tmp_path / "run", monkeypatch, micro_batch=1, batch_size=2)
    assert cut == {(1, 1)}


def test_where_it_cannot_be_counted_nothing_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: nn.Module) -> None:
        raise RuntimeError("hooks on saved tensors are disabled")

    monkeypatch.setattr(halved, "_MUCH", 1)
    monkeypatch.setattr(halved, "saved_for_backward", fails)
    run, cut = rehearsed(tmp_path / "run", monkeypatch)
    assert cut == {(32,)}
    assert run.config["pace"]["fused"]
