"""Blocks run compiled in training steps of usual shapes; all else runs as it is written, and nothing else changes."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainwright.engine import compiled
from trainwright.engine.compiled import Compiled, obstacle, regions

CPU = torch.device("cpu")


class Block(nn.Module):
    """A part of a residual network."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.way, self.drop = nn.Linear(width, width), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width) -> (N, width)."""
        return x + torch.tanh(self.drop(self.way(x)))


class Graphs:
    """A compiler that runs each graph as it is, and counts them."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        """What is run in its place."""
        self.made += 1
        return graph.forward


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    made = Graphs()
    monkeypatch.setattr(compiled, "_BY", {"backend": made})
    return made


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), Block(), Block(), Block(), nn.Linear(6, 2))


def unexpected(error: Exception) -> None:
    raise error


def made(model: nn.Module, rows: int = 8) -> tuple[Tensor, Tensor]:
    """What a training step gives, and all its gradients."""
    torch.manual_seed(1)
    model.zero_grad()
    y = model(torch.randn(rows, 4, generator=torch.Generator().manual_seed(rows)))
    y.square().sum().backward()
    return y.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def same(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_blocks_of_one_class_are_compiled_once_and_give_the_same(tmp_path: Path, graphs: Graphs) -> None:
    model, plain = net(), net()
    names = list(model.state_dict())
    way = Compiled(model, CPU, tmp_path / "code", unexpected)
    assert same(made(model), made(plain))
    assert graphs.made == 1  # for three blocks
    assert same(made(model), made(plain))
    assert graphs.made == 1
    assert list(model.state_dict()) == names
    way.back()
    assert all("_compiled_call_impl" not in m.__dict__ for m in model.modules())
    assert way.seconds > 0


def test_only_training_steps_of_usual_shapes_are_compiled(
    tmp_path: Path, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_OFTEN", 3)
    model, plain = net(), net()
    way = Compiled(model, CPU, tmp_path / "code", unexpected)
    with torch.no_grad():
        model.eval()(torch.randn(8, 4))
        model.train()(torch.randn(8, 4))
    assert graphs.made == 0
    made(model)
    assert graphs.made == 1
    for _ in range(3):  # the last batch of an epoch
        assert same(made(model, 5), made(plain, 5))
    assert graphs.made == 1
    assert same(made(model, 5), made(plain, 5))
    assert graphs.made == 2  # it comes often
    way.back()


def test_who_listens_hears_everything(tmp_path: Path, graphs: Graphs) -> None:
    model = net()
    way = Compiled(model, CPU, tmp_path / "code", unexpected)
    made(model)
    heard: list[str] = []
    block: Any = model[2]
    hook = block.drop.register_forward_hook(lambda m, i, o: heard.append("drop"))
    made(model)
    assert heard == ["drop"]
    hook.remove()
    made(model)
    assert heard == ["drop"]
    way.back()


def test_a_copy_is_plain(tmp_path: Path, graphs: Graphs) -> None:
    model = net()
    way = Compiled(model, CPU, tmp_path / "code", unexpected)
    twin = copy.deepcopy(model)
    assert same(made(twin), made(net()))
    assert graphs.made == 0
    way.back()


def test_what_cannot_be_compiled_is_told_once_and_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(compiled, "_BY", {"backend": broken})
    model, told = net(), list[Exception]()
    way = Compiled(model, CPU, tmp_path / "code", told.append)
    assert same(made(model), made(net()))
    made(model)
    assert len(told) == 1
    assert "no such instruction" in str(told[0])
    way.back()


def test_compiled_code_is_kept_where_its_owner_alone_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (compiled._PLACE, compiled._THREADS):
        monkeypatch.delenv(name, raising=False)
    way = Compiled(net(), CPU, tmp_path / "code", unexpected)
    assert os.environ[compiled._PLACE] == str(tmp_path / "code")
    assert (tmp_path / "code").stat().st_mode & 0o777 == 0o700
    way.back()
    assert compiled._PLACE not in os.environ
    assert compiled._THREADS not in os.environ
    monkeypatch.setenv(compiled._PLACE, str(tmp_path / "mine"))
    Compiled(net(), CPU, tmp_path / "other", unexpected).back()
    assert os.environ[compiled._PLACE] == str(tmp_path / "mine")
    assert not (tmp_path / "other").exists()


def kinds(model: nn.Module) -> list[str]:
    return [type(block).__name__ for block in regions(model)]


def test_regions_are_repeated_blocks_or_the_whole() -> None:
    one = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    deep = nn.ModuleDict({"stack": nn.TransformerEncoder(one, 3, enable_nested_tensor=False), "top": nn.Linear(8, 2)})
    assert kinds(net()) == ["Block"] * 3
    assert kinds(deep) == ["TransformerEncoderLayer"] * 3
    assert kinds(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))) == ["Sequential"]
    assert kinds(nn.Sequential(Block(), nn.Linear(6, 2))) == ["Sequential"]  # one is not repeated


def test_what_its_owner_compiled_or_calls_otherwise_is_left_alone() -> None:
    mine = net()
    mine[1].compile(backend="eager")
    assert regions(mine) == []
    assert regions(nn.Sequential(torch.compile(Block(), backend="eager"), nn.Linear(6, 2))) == []  # type: ignore[arg-type]
    other = net()
    other[1].forward = lambda x: x
    assert regions(other) == []


def test_a_machine_without_a_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert obstacle(CPU) == "no C++ compiler is found (no-such-compiler)"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert obstacle(torch.device("cuda")) == "Triton is not installed"
