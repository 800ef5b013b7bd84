"""tw.fit that goes on with other arguments than it began with: refused, where the run would be another and call itself
exact; above all where samples would change from the validation part to the training part."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.events import StepDone

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
PLAN: dict[str, Any] = {"loss": "cross_entropy", "epochs": 2, "batch_size": 10, "valid": 0.2, "quiet": True}


def halted(event: object) -> tw.Stop | None:
    return tw.Stop("on purpose", "interrupted") if isinstance(event, StepDone) and event.step == 3 else None


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("otherwise") / "run"
    return tw.fit(nn.Linear(4, 2), (X, Y), **PLAN, log_every=1, out=out, observers=[halted]).path


def go_on(run: Path, **other: Any) -> tw.Run:
    return tw.fit(nn.Linear(4, 2), (X, Y), **{**PLAN, "log_every": 1, **other}, resume=run)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 1}, "seed: is 1, but this run began with 0"),
        ({"batch_size": 20}, "batch_size: is 20, but this run began with 10"),
        ({"precision": "bfloat16"}, "precision: is 'bfloat16', but this run began with 'float32'"),
        ({"ema": 0.9}, "ema: is 0.9, but this run began with 'none'"),
        ({"init": "orthogonal"}, "init: is 'orthogonal', but this run began with none"),
        (
            {"init_from": "elsewhere.safetensors"},
            "init_from: is .*elsewhere.safetensors.*, but this run began with none",
        ),
        ({"monitor": "accuracy"}, "monitor: is 'accuracy', but this run began with none"),
        ({"freeze": ["weight"]}, r"freeze: is \['weight'\], but this run began with none"),
        ({"valid": 0.3}, "not divided as it was"),
        ({"test": 0.2}, "not divided as it was"),
        ({"valid": 0}, "not divided as it was"),
    ],
    ids=str,
)
def test_what_would_make_it_another_run_is_refused_and_nothing_is_touched(
    other: dict[str, Any], named: str, cut: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(cut, run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=named):
        go_on(run, **other)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_the_same_arguments_and_those_that_may_change_go_on(cut: Path, tmp_path: Path) -> None:
    shutil.copytree(cut, tmp_path / "run")
    run = go_on(tmp_path / "run", epochs=3, lr=0.5, save_every="2 steps")
    assert run.state == "finished"
    assert set(run.manifest["attempts"][-1]["changed"]) == {"budget", "optimizer.lr", "save_every"}


@pytest.mark.parametrize("size", [10, 15])
def test_a_loader_with_batches_of_another_size_is_refused_too(size: int, tmp_path: Path) -> None:
    def fit(batch_size: int, **more: Any) -> tw.Run:
        loader = DataLoader(TensorDataset(X, Y), batch_size=batch_size, shuffle=True)
        plan = {"loss": "cross_entropy", "epochs": 2, "valid": 0, "quiet": True, "log_every": 1}
        return tw.fit(nn.Linear(4, 2), loader, **plan, **more)

    run = fit(10, out=tmp_path / "run", observers=[halted])
    if size == 10:
        assert fit(size, resume=run.path).state == "finished"
        return
    with pytest.raises(UserError, match="batch_size: is 15, but this run began with 10"):
        fit(size, resume=run.path)
