"""Maps of the plane of two inputs: each number of a layer at each place is what the plain network computes there."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from tests.inside.test_captured import through_a_file
from tests.inside.test_inside_equals_torch import CASES, Case, classes, looked, made, optimizer_of, squares, warmed
from trainwright.core.batch import Batch
from trainwright.core.kinds import models
from trainwright.inside.again import revive
from trainwright.inside.answers import Answers
from trainwright.inside.planes import COARSE, FINE, MOST, maps
from trainwright.runs.inspect.samples import plane_of, points
from trainwright.runs.inspect.taken import Taken

LOW, HIGH = [-1.0, -2.0], [1.5, 2.0]


class Crossed(nn.Module):
    """Two ways that meet, and numbers that are moved on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.last = nn.Linear(2, 4), nn.Linear(2, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.left(x).tanh(), self.right(x.flip(1)).sigmoid()], 1)
        said: Tensor = self.last(both.reshape(-1, 4, 2).transpose(1, 2).flatten(1) + both)
        return said


def two() -> dict[str, Tensor]:
    return {"x": torch.tensor([[0.3, -0.7]])}


def branching(hidden: Tensor) -> Tensor:
    return hidden * 2 if hidden.sum() > 0 else hidden


def masking(hidden: Tensor) -> Tensor:
    return hidden * (hidden > 0)


def choosing(hidden: Tensor) -> Tensor:
    return hidden + torch.where(hidden > 0, 1.0, -1.0)


def ordering(hidden: Tensor) -> Tensor:
    return hidden.gather(1, hidden.argsort(1))


class Deciding(nn.Module):
    """Looks at the numbers it computes, in a way of its own."""

    def __init__(self, way: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.way = nn.Linear(2, 5), nn.Linear(5, 3), way

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.last(self.way(self.first(x)))
        return said


NETWORKS = {
    "classes": Case(lambda: models["mlp"](inputs=2, outputs=3, width=8, activation="tanh"), two, classes),
    "a number": Case(lambda: models["mlp"](inputs=2, outputs=1, width=70), two, squares),
    "crossed": Case(Crossed, two, classes),
    "members": Case(
        lambda: models["tabm"](inputs=2, outputs=2, edges=((), ()), width=6, members=3, numbers="plain"),
        two, lambda outputs: classes(outputs[0]),
    ),
}  # fmt: skip


def places(side: int) -> Tensor:
    return points(LOW, HIGH, side)


def told(taken: Taken, number: int) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    head, cells = maps(taken, number, LOW, HIGH)
    assert head is not None
    return head, np.frombuffer(cells, "<f4").reshape(head["count"], head["side"] ** 2)


@pytest.mark.parametrize("way", [branching, masking, choosing, ordering])
def test_nothing_is_told_behind_a_look_at_the_samples_own_numbers(
    way: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    taken = looked(Case(lambda: Deciding(way), two, classes))
    again = through_a_file(taken, tmp_path / "capture")
    revive(again.graph)
    number = {node.number: i for i, node in enumerate(taken.shown)}
    values = [node for node in taken.shown if node.kind == "value"]
    first = next(node for node in values if node.name == "first")
    last = next(node for node in values if node.name == "last")
    for step, of in ((taken, lambda n: n), (again, number.__getitem__)):
        assert maps(step, of(first.number), LOW, HIGH)[0] is not None
        assert maps(step, of(last.number), LOW, HIGH) == (None, b"")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_number_of_every_layer_is_the_plain_networks_at_every_place(name: str, tmp_path: Path) -> None:
    """Also where the step was read from a file, and no code of the network is at hand."""
    case = NETWORKS[name]
    taken = looked(case)
    model, batch = made(case)
    warmed(case, model, batch, optimizer_of(case, model))
    outputs: dict[str, Tensor] = {}
    for n, m in model.named_modules():
        m.register_forward_hook(lambda _, __, out, n=n: outputs.__setitem__(n, out.detach()))
    again = through_a_file(taken, tmp_path / "capture")
    revive(again.graph)
    number, seen = {node.number: i for i, node in enumerate(taken.shown)}, 0
    for node in taken.shown:
        if node.kind != "value" or node.op in ("cross_entropy", "mse_loss", "sum", "scale", "mean"):
            continue
        head, cells = told(taken, node.number)
        assert head["side"] == (FINE if node.value.numel() <= 64 else COARSE)
        assert head["of"] == node.value.numel()
        if name != "members":  # the operation of its heads has no name that tells how to do it again
            assert np.array_equal(cells, told(again, number[node.number])[1])
        model(places(head["side"]))
        known = [(o if len(o) == head["side"] ** 2 else o.transpose(0, 1)).flatten(1) for o in outputs.values()]
        seen += any(o.shape[1] == len(cells) and np.allclose(o.T, cells, 1e-4, 1e-5) for o in known)
    assert seen >= len([m for m in model.modules() if isinstance(m, nn.Linear)])


def test_nothing_is_told_where_there_is_no_plane_or_a_number_would_not_be_the_networks() -> None:
    taken = looked(NETWORKS["classes"])
    weight = next(n for n in taken.shown if n.kind == "weight")
    assert maps(taken, weight.number, LOW, HIGH) == (None, b"")
    last = next(n for n in reversed(taken.shown) if n.op == "linear")
    next(n for n in taken.shown if n.op == "tanh").value += 0.1
    assert maps(taken, last.number, LOW, HIGH) == (None, b"")
    five = looked(CASES["mlp"])
    assert maps(five, next(n for n in five.shown if n.op == "linear").number, LOW, HIGH) == (None, b"")


def test_of_very_many_numbers_the_first_are_told() -> None:
    taken = looked(Case(lambda: models["mlp"](inputs=2, outputs=2, width=MOST + 40, depth=1), two, classes))
    head, cells = told(taken, next(n for n in taken.shown if n.op == "relu").number)
    assert (head["count"], head["of"], len(cells)) == (MOST, MOST + 40, MOST)


def test_the_truth_of_the_samples_has_the_unit_of_what_is_said_on_the_plane(tmp_path: Path) -> None:
    """A target far from 0: in the picture its samples stand on the scale of the map."""
    dice = np.random.default_rng(0)
    with (tmp_path / "far.csv").open("w", newline="") as file:
        rows = [(a, b, 1000 + 50 * a) for a, b in dice.normal(size=(200, 2))]
        csv.writer(file).writerows([("a", "b", "price"), *rows])
    recipe = {
        "task": {"name": "tabular_regression", "target": "price"},
        "data": {"source": "table", "path": str(tmp_path / "far.csv"), "valid": 0.1, "test": 0.1},
        "model": {"name": "mlp", "width": 16}, "optimizer": {"name": "adamw", "lr": 0.02}, "budget": "20 epochs",
    }  # fmt: skip
    tw.train(recipe, out=tmp_path / "run", quiet=True)
    answers = Answers()
    head, _ = answers.answer({"ask": "decisions", "run": tmp_path / "run"})
    plane = head["decisions"]
    grid = np.array(plane["grid"]).reshape(plane["side"], -1)
    low, high = np.array(plane["low"]), np.array(plane["high"])
    off = []
    for x, y, truth in plane["points"]:
        i, j = ((np.array([x, y]) - low) / (high - low) * (plane["side"] - 1)).round().astype(int)
        off.append(abs(grid[j, i] - truth))
    assert np.median(off) < 0.2 * np.ptp(grid)
    step, _ = answers.answer({"ask": "graph", "run": tmp_path / "run"})
    assert abs(float(step["truth"][0]) - 1000) > 1  # it and what is said are prices
    assert float(step["truth"][0]) == pytest.approx(float(step["said"]), rel=0.05)
    assert "the answer" in [n["title"] for n in step["nodes"]]
    bent = next(n for n in step["nodes"] if n["op"] == "relu")
    head, cells = answers.answer({"ask": "units", "run": tmp_path / "run", "node": bent["id"]})
    assert head["units"]["count"] * head["units"]["side"] ** 2 * 4 == len(cells)


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_module_of_ones_own_with_one_or_two_numbers_has_its_map_as_well(outputs: int, tmp_path: Path) -> None:
    x = torch.rand(40, 2)
    y = torch.cat([x.sum(1, keepdim=True)] * outputs, 1)
    tw.fit(nn.Linear(2, outputs), (x, y), loss="mse", epochs=1, valid=0.2, out=tmp_path / "run", quiet=True)
    answers = Answers()
    plane = answers.answer({"ask": "decisions", "run": tmp_path / "run"})[0]["decisions"]
    assert {round(p[2], 4) for p in plane["points"]} <= {round(float(v), 4) for v in y[:, 0]}
    head, cells = answers.answer({"ask": "units", "run": tmp_path / "run", "node": 3})
    assert head["units"]["count"] == outputs
    first = np.frombuffer(cells, "<f4")[: head["units"]["side"] ** 2]
    assert np.allclose(first, plane["grid"], 1e-4, 1e-5)


def test_yes_or_no_is_a_choice_of_two_on_the_plane(tmp_path: Path) -> None:
    x = torch.rand(40, 2)
    y = (x[:, :1] > 0.5).float()
    options: dict[str, Any] = {"loss": "binary_cross_entropy", "epochs": 2, "valid": 0.2, "quiet": True}
    tw.fit(nn.Linear(2, 1), (x, y), out=tmp_path / "run", **options)
    plane = Answers().answer({"ask": "decisions", "run": tmp_path / "run"})[0]["decisions"]
    assert set(plane["grid"]) <= {0.0, 1.0}
    assert plane["classes"] == ["0", "1"]
    assert min(plane["sure"]) >= 0.5


class Given:
    """A part of samples of two numbers."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def positions(self) -> Tensor:
        return torch.arange(len(self.x))

    def gather(self, rows: Tensor) -> Tensor:
        return self.x[rows]


@pytest.mark.parametrize("always", [0.0, 5.0, -4e6])
def test_the_plane_of_a_number_that_is_always_the_same_has_two_sides(always: float) -> None:
    part: Any = Given(torch.stack([torch.full((4,), always), torch.arange(4.0) * 1e-3], 1))
    task: Any = SimpleNamespace(
        processor=SimpleNamespace(batch=lambda x, _: Batch({"x": x}, {"y": x}, torch.tensor(4.0), torch.arange(4), 4))
    )
    plane = plane_of(task, part)
    assert plane is not None
    across = points(plane.low, plane.high, FINE)[:FINE, 0]
    assert len(across.unique()) == FINE
    assert plane.low[0] < always < plane.high[0]
    assert plane.high[1] - plane.low[1] == pytest.approx(3.6e-3)
