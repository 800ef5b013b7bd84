"""The summary of a model: shapes and parameters of every layer, at the start of a run and afterwards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import trainwright as tw
from trainwright.runs.summary import layers_of, outline, parameters, summary, watched

RECIPE: dict[str, Any] = {
    "task": "image_classification",
    "data": {"source": "embedded", "set": "digits", "test": 0.2},
    "model": {"name": "cnn", "filters": [4], "dense": [8]},
    "budget": "1 steps",
}


class Two(nn.Module):
    """A recurrent layer, whose output is a tuple, a layer used twice, and one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.GRU(3, 4, batch_first=True)
        self.both = nn.Linear(4, 4)
        self.unused = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(()))
        self.unused.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.read(x)
        last: Tensor = self.both(self.both(states[:, -1]))
        return last * self.scale


def seen(model: nn.Module, x: Tensor) -> list[dict[str, Any]]:
    with watched(model) as shapes:
        model(x)
    return layers_of(model, shapes)


def test_each_layer_has_the_shape_it_gives_and_its_parameters() -> None:
    model = Two()
    found = seen(model, torch.randn(5, 7, 3))
    assert [(x["name"], x["kind"], x["shape"], x["parameters"]) for x in found] == [
        ("read", "GRU", [7, 4], 3 * 4 * (3 + 4 + 2)),
        ("both", "Linear", [4], 20),
        ("unused", "Linear", None, 6),
    ]
    text = summary(model, found)
    assert text.endswith("135 parameters, 6 of them frozen")
    assert re.search(r"both +Linear +\[4\] +weight \(4, 4\), bias \(4,\) +20\n", text)
    assert "scale ()" in text
    assert not model.read._forward_hooks, "nothing is left behind"


def test_the_outline_goes_as_deep_as_a_dozen_lines_allow() -> None:
    def of(blocks: int) -> list[str]:
        inner = [nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(blocks)]
        return outline(seen(nn.Sequential(nn.Sequential(*inner), nn.Linear(3, 1)), torch.randn(2, 3)))

    assert [line.split()[0] for line in of(2)] == ["0.0.0", "0.0.1", "0.1.0", "0.1.1", "1"]
    assert [line.split()[0] for line in of(9)] == [*(f"0.{i}" for i in range(9)), "1"]
    assert of(30)[0].split() == ["0", "Sequential", "[3]", "360"]
    assert outline([]) == []
    assert outline(seen(nn.Sequential(*(nn.ReLU() for _ in range(40))), torch.randn(2, 3))) == []


def test_a_run_shows_its_layers_at_the_start_and_keeps_them(tmp_path: Path, capsys: Any) -> None:
    run = tw.train(RECIPE, out=tmp_path / "run")
    shown = capsys.readouterr().out
    for line in ("layers   features.0  Conv2d     [4, 8, 8]  40", "top.2       Linear     [10]       90"):
        assert line in shown
    text = run.summary()
    assert "features.2  MaxPool2d  [4, 4, 4]" in text
    assert f"{parameters(run.model):,} parameters" in text
    kept = run.manifest["model"]["layers"]
    tw.resume(run.path, {"budget": "2 steps"}, quiet=True)
    assert tw.open(run.path).manifest["model"]["layers"] == kept


def test_a_run_says_at_the_start_how_many_weights_do_not_learn(tmp_path: Path, capsys: Any) -> None:
    run = tw.train(RECIPE, {"freeze": ["features.0.*"]}, out=tmp_path / "run")
    assert f"{parameters(run.model):,} parameters, 40 of them frozen" in capsys.readouterr().out
