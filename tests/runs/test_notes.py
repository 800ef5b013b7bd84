"""Where a batch norm sees less than the batch, the run says so: the law of sums cannot hold there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import trainwright as tw
from trainwright.core.errors import UserError

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
    pair = tw.train({**recipe, "ranks": 2, "sync_batch_norm": False}, out=tmp_path / "pair", quiet=True)
    assert any("batch norm sees each process's samples alone" in note for note in pair.manifest["data"]["notes"])
    alone = tw.train(recipe, out=tmp_path / "alone", quiet=True)
    assert not any("batch norm" in note for note in alone.manifest["data"]["notes"])


WINE = {"task": "tabular_classification", "data": {"source": "embedded", "set": "wine"}, "model": {"name": "mlp"}}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"schedule": {"name": "cosine", "warmup": 4}}, "the warm-up of 4 steps is not over when the training ends"),
        ({"schedule": {"name": "cosine", "warmup": 3}}, ""),
        ({"schedule": {"name": "cosine", "warmup": 0.9}}, ""),
        ({"schedule": {"name": "step", "every": 5}}, "schedule.every is 5 steps, but the training has 4"),
        ({"schedule": {"name": "step", "every": 2}}, ""),
        ({"schedule": {"name": "multi_step", "at": [2, 50, 60]}}, "schedule.at: 50, 60 never come"),
        ({"schedule": {"name": "multi_step", "at": [0.5]}}, ""),
        ({"unfreeze": {"hidden.*": "1 epoch"}}, ""),
        ({"unfreeze": {"hidden.*": "2 epochs"}}, "unfreeze: 'hidden.*' would begin to learn after 2 epochs"),
    ],
)
def test_what_the_training_ends_before_is_told(keys: dict[str, Any], said: str, tmp_path: Path) -> None:
    run = tw.train({**WINE, "budget": "4 steps", **keys}, out=tmp_path / "run", quiet=True)
    found = [note for note in run.manifest["data"]["notes"] if "steps" in note or "training" in note]
    assert [note[: len(said)] for note in found] == ([said] if said else [])


def test_a_change_that_nobody_waits_for_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"min_change: .* no patience; write patience"):
        tw.train({**WINE, "budget": "4 steps", "min_change": 0.1}, out=tmp_path / "run", quiet=True)
