"""Compilation in a plan: asked for or measured, told where it cannot be, and followed by a run that goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from trainwright.core.config import Plan
from trainwright.engine import compiled
from trainwright.runs import compiling, planning

MAY = planning._may  # which the other tests are without
X = torch.randn(36, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


class Block(nn.Module):
    """A part of a residual network, with draws and statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.way = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 4) -> (N, 4)."""
        return x + self.way(x)  # type: ignore[no-any-return]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), Block(), Block(), nn.Linear(4, 3))


def fitted(folder: Path, **more: Any) -> tuple[tw.Run, nn.Module]:
    module = net()
    asked = {"budget": "6 steps", "batch_size": 8, "valid": 0.0, "doctor": "off", "out": folder, **more}
    run = tw.fit(module, (X, Y), loss="cross_entropy", quiet=True, **asked)
    return run, module


def alike(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def why(run: tw.Run) -> str:
    return "\n".join(run.manifest["plan"]["why"])


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A compiler that runs each graph as it is; what it was given."""
    made: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "_BY", {"backend": backend})
    monkeypatch.setattr(compiling, "obstacle", lambda device: "")
    return made


def test_a_plan_that_asks_for_it_trains_so_and_a_resumed_run_goes_on_so(tmp_path: Path, graphs: list[Any]) -> None:
    plain, theirs = fitted(tmp_path / "plain", pace="plain")
    run, ours = fitted(tmp_path / "run", pace=Plan(compiled=True).model_dump())
    assert len(graphs) == 1  # of both blocks; the last batch of an epoch, of 4 samples, comes too rarely
    assert run.config["pace"]["compiled"]
    assert why(run) == ""
    assert alike(ours, theirs)
    assert list(run.model.state_dict()) == list(plain.model.state_dict())
    assert all("_compiled_call_impl" not in m.__dict__ for m in ours.modules())
    _, longer = fitted(tmp_path / "plain", resume=tmp_path / "plain", out=None, budget="9 steps", pace="plain")
    more, gone_on = fitted(tmp_path / "run", resume=tmp_path / "run", out=None, budget="9 steps")
    assert more.config["pace"]["compiled"]
    assert alike(gone_on, longer)


def test_a_machine_that_cannot_compile_runs_it_as_it_is_written_and_says_so(
    tmp_path: Path, graphs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "obstacle", lambda device: "no C++ compiler is found (g++)")
    run, ours = fitted(tmp_path / "run", pace=Plan(compiled=True).model_dump())
    assert why(run) == "compiled: not possible, no C++ compiler is found (g++); the model runs as it is written"
    assert graphs == []
    assert alike(ours, fitted(tmp_path / "plain", pace="plain")[1])


def test_what_fails_to_compile_leaves_no_trace(
    tmp_path: Path, graphs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(compiled, "_BY", {"backend": broken})
    run, ours = fitted(tmp_path / "run", pace=Plan(compiled=True).model_dump())
    assert "compiled: not done, it fails (" in why(run)
    assert "no such instruction" in why(run)
    assert alike(ours, fitted(tmp_path / "plain", pace="plain")[1])


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation alone is a candidate, and what is tried is faster."""
    monkeypatch.setattr(planning, "_may", MAY)
    monkeypatch.setattr(planning, "_SHARE", 1e9)
    monkeypatch.setattr(planning, "_faster", lambda now, then, least: True)
    (candidate,) = [c for c in planning.CANDIDATES if c.name == "compiled"]
    here = replace(candidate, fits=lambda pieces: not compiling.why_not(pieces))  # on a CPU as well
    monkeypatch.setattr(planning, "CANDIDATES", [here])


def test_on_a_cpu_it_is_not_tried_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "why_not", lambda pieces: "")
    pieces: Any = None
    assert not compiling.can_pay(pieces, torch.device("cpu"))
    assert compiling.can_pay(pieces, torch.device("cuda"))


def test_it_is_taken_where_it_is_faster_and_foreseen_by_what_it_took(
    tmp_path: Path, graphs: list[Any], measured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling, "_TOLD", 0.0)
    run, ours = fitted(tmp_path / "run")
    assert why(run).startswith("compiled: taken, ")
    assert run.config["pace"]["compiled"]
    assert len(graphs) == 1
    assert alike(ours, fitted(tmp_path / "plain", pace="plain")[1])
    (record,) = (tmp_path / "cache/trainwright/compiled/took").iterdir()
    assert 0 < float(record.read_text()) < 600


def test_it_is_not_tried_where_the_training_would_not_pay_for_it(
    tmp_path: Path, graphs: list[Any], measured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(planning._Rehearsal, "_limit", lambda self, step: 20.0)  # seconds; its layers are four
    run, _ = fitted(tmp_path / "run")
    assert why(run) == "compiled: not tried, the training is too short for it to pay"
    assert graphs == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_torchs_own_compiler_trains_the_same_but_for_rounding(tmp_path: Path) -> None:
    run, ours = fitted(tmp_path / "run", pace=Plan(compiled=True).model_dump())
    assert why(run) == ""
    _, theirs = fitted(tmp_path / "plain", pace="plain")
    for x, y in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)


def test_where_no_cache_can_be_written_a_line_says_so(
    tmp_path: Path, graphs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder", "utf-8")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiling, "cache", lambda room: tmp_path / "file" / room)
    run, ours = fitted(tmp_path / "run", pace=Plan(compiled=True).model_dump())
    assert "compiled: not done, it fails (NotADirectoryError" in why(run)
    assert graphs == []
    assert alike(ours, fitted(tmp_path / "plain", pace="plain")[1])


def test_where_nothing_runs_compiled_a_line_says_so(tmp_path: Path, graphs: list[Any]) -> None:
    module = net()
    for block in module:
        block.register_forward_hook(lambda module, given, made: None)
    run = tw.fit(module, (X, Y), loss="cross_entropy", quiet=True, budget="6 steps", doctor="off", out=tmp_path / "run",
                 pace=Plan(compiled=True).model_dump())  # fmt: skip
    assert graphs == []
    assert why(run).startswith("compiled: not done, no block is called with tensors and whole numbers alone")
