"""Where a batch norm sees less than the batch, the run says so: the law of sums cannot hold there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import trainwright as tw

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 3)).astype(np.float32), RNG.integers(0, 2, 60)
NORMED = (nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
PLAIN = (nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("layers", "size", "micro", "said"),
    [
        (NORMED, 16, 8, "batch norm sees 8 samples at a time, not the batch of 16"),
        (NORMED, "all", 20, "batch norm sees 20 samples at a time, not the batch of all"),
        (NORMED, 16, "all", ""),
        (NORMED, 16, 16, ""),
        (NORMED, "all", "all", ""),
        (PLAIN, 16, 8, ""),
    ],
)
def test_micro_batches_that_a_batch_norm_would_notice_are_told(
    layers: tuple[nn.Module, ...], size: Any, micro: Any, said: str, tmp_path: Path
) -> None:
    run = tw.fit(
        nn.Sequential(*layers), (X, Y), loss="cross_entropy", budget="2 steps", batch_size=size, micro_batch=micro,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    found = [note for note in run.manifest["data"]["notes"] if "batch norm" in note]
    assert [note.partition(":")[0] for note in found] == ([said] if said else [])


@pytest.mark.ranks
def test_processes_that_a_batch_norm_would_notice_are_told(tmp_path: Path) -> None:
    layers = [{"name": "dense", "units": 8}, "batch_norm", "relu"]
    recipe = {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "iris"},
        "model": {"name": "sequential", "layers": layers},
        "budget": "2 steps",
    }
    pair = tw.train({**recipe, "ranks": 2}, out=tmp_path / "pair", quiet=True)
    assert any("batch norm sees each process's samples alone" in note for note in pair.manifest["data"]["notes"])
    alone = tw.train(recipe, out=tmp_path / "alone", quiet=True)
    assert not any("batch norm" in note for note in alone.manifest["data"]["notes"])
