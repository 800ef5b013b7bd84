"""A plan for an accelerator, with the CPU standing in for it: the same code chooses, by the device's own clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

import trainwright as tw
from trainwright.engine import abilities, compiled
from trainwright.engine.abilities import clock_of, has_bfloat16
from trainwright.runs import candidates, compiling, planning

MAY = planning._may  # which the other tests are without
CUDA = torch.device("cuda")
RECIPE = {
    "task": "image_classification",
    "data": {"source": "embedded", "set": "digits"},
    "model": {"name": "cnn", "filters": [4], "dense": [16]},
    "batch_size": 32,
    "budget": "4 steps",
    "doctor": "off",
}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """An accelerator, as far as a plan can tell, and each time that somebody waited for it."""
    heard: list[torch.device] = []
    monkeypatch.setattr(planning, "_may", MAY)
    monkeypatch.setattr(planning, "_SHARE", 1e9)
    monkeypatch.setattr(planning, "_faster", lambda now, then, least: True)
    monkeypatch.setattr(planning, "_hinders", lambda with_it, without: False)
    for module in (planning, candidates):
        monkeypatch.setattr(module, "device_of", lambda pieces: CUDA)
    monkeypatch.setattr(compiling, "obstacle", lambda device: "no compiler is here")
    monkeypatch.setattr(abilities, "wait", heard.append)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: not including_emulation)
    return heard


def train(folder: Path, **changes: Any) -> tw.Run:
    return tw.train({**RECIPE, **changes}, out=folder, quiet=True)


def taken(run: tw.Run) -> set[str]:
    return {name for name, on in run.config["pace"].items() if on}


def test_the_same_is_tried_there_by_the_devices_own_clock(
    tmp_path: Path, waits: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "_BY", {"backend": backend})
    monkeypatch.setattr(compiling, "obstacle", lambda device: "")
    run = train(tmp_path / "run")
    assert taken(run) == {"channels_last", "pool_first", "fused", "bfloat16", "compiled"}
    assert all(": taken" in line and "ms a step instead of" in line for line in run.manifest["plan"]["why"])
    assert graphs
    timed = 6 * 3 * (planning._BLOCKS[1] - 1)  # all at once, each left out, and compiled; one block serves two trials
    assert len(waits) >= 2 * timed
    assert set(waits) == {CUDA}


def test_what_is_the_cpus_is_left_out_there(
    tmp_path: Path, waits: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for name in candidates.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(candidates, "has_dropout", lambda model: True)
    wanted: list[bool] = []

    def kept(keep: bool) -> Any:
        wanted.append(keep)
        return nullcontext()

    monkeypatch.setattr(planning, "memory_kept", kept)
    run = train(tmp_path / "run")
    names = {line.partition(":")[0] for line in run.manifest["plan"]["why"]}
    assert names == {"channels last", "max-pool before ReLU", "fused optimizer", "bfloat16"}
    assert wanted == [False]


def test_a_device_too_small_for_a_copy_trains_as_it_is_written(
    tmp_path: Path, waits: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[torch.device] = []
    monkeypatch.setattr(planning, "release", given_back.append)

    def full(*given: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(planning._Rehearsal, "_block", full)
    run = train(tmp_path / "run")
    assert taken(run) == set()
    assert run.manifest["plan"]["why"] == [
        "nothing was measured: memory ran out with a copy of the state beside the training"
    ]
    assert given_back == [CUDA]
    plain = train(tmp_path / "plain", pace="plain")
    for x, y in zip(run.model.state_dict().values(), plain.model.state_dict().values(), strict=True):
        assert torch.equal(x, y)


def test_abilities_are_asked_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[torch.device] = []
    monkeypatch.setattr(abilities, "wait", heard.append)
    assert clock_of(torch.device("cpu"))() <= clock_of(torch.device("cpu"))()
    assert heard == []
    assert clock_of(CUDA)() <= clock_of(CUDA)()
    assert heard == [CUDA, CUDA]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert has_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not has_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not has_bfloat16(CUDA)  # emulated is slow
    assert not has_bfloat16(torch.device("mps"))
