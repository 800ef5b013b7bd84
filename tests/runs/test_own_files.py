"""Parts of a file that a recipe names: one of every kind trains, and each mistake is one message."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from tests.runs.test_own_parts import learned
from trainwright.core.errors import UserError
from trainwright.core.kinds import KINDS

PARTS = '''
"""One part of every kind."""

import torch
from torch import nn

import trainwright as tw
from trainwright.core.events import EvalDone
from trainwright.core.kinds import (
    augmentations, inits, layers, losses, models, observers, optimizers, schedules, sets, sources, tasks
)
from trainwright.data.source import Source


@schedules.add("t_halved")
def halved(*, every: int = 5):
    """Halved.

    Args:
        every: steps.
    """
    return lambda step, steps: 0.5 ** (step // every)


@optimizers.add("t_descent")
def descent(params, *, lr: float = 0.1):
    """Plain descent.

    Args:
        lr: step size.
    """
    return torch.optim.SGD(params, lr=lr)


@losses.add("t_brier")
def brier():
    """Squared error of the probabilities."""

    def each(output, target):
        return (output.softmax(1) - nn.functional.one_hot(target, output.shape[1])).square().sum(1)

    return tw.Criterion(each, "classes")


@inits.add("t_small")
def small(*, size: float = 0.05):
    """Uniform and small.

    Args:
        size: of the largest weight.
    """
    return lambda weight, gain, generator: weight.uniform_(-size, size, generator=generator)


@layers.add("t_square")
def square():
    """Squares."""
    return lambda place: Square()


class Square(nn.Module):
    def forward(self, x):
        return x * x


@models.add("t_line")
class Line(nn.Module):
    """A linear model.

    Args:
        inputs: given by the data.
        outputs: given by the data.
    """

    def __init__(self, *, inputs: int, outputs: int):
        super().__init__()
        self.line = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.line(x)


@observers.add("t_counter")
class Counter:
    """Writes how many evaluations there were.

    Args:
        path: of the file.
    """

    def __init__(self, *, path: str):
        self.path, self.count = path, 0

    def __call__(self, event):
        if isinstance(event, EvalDone):
            self.count += 1
            with open(self.path, "w") as file:
                file.write(str(self.count))


@sources.add("t_moons")
class Moons(Source):
    """Two classes.

    Args:
        count: records.
    """

    def __init__(self, *, count: int = 80):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        a, b = torch.randn(2, generator=g).tolist()
        return {"a": a, "b": b, "target": "in" if a * a + b < 0.5 else "out"}

    def fingerprint(self):
        return f"moons-{self.count}"


@augmentations.add("t_dim")
def dim(*, by: float = 0.9):
    """Darker.

    Args:
        by: factor.
    """
    return lambda x, draw: x * by
'''

BROKEN = """
from trainwright.core.kinds import inits, layers, losses, models, observers, optimizers, schedules, sources

schedules.add("b_schedule")(lambda: 0.5)
optimizers.add("b_optimizer")(lambda params: list(params))
losses.add("b_loss")(lambda: (lambda output, target: output.mean()))
models.add("b_model")(lambda *, inputs: 3)
layers.add("b_layer")(lambda: (lambda place: place.shape))
inits.add("b_init")(lambda: "small")
observers.add("b_observer")(lambda: None)
sources.add("b_source")(lambda: [{"a": 1}])


@schedules.add("b_raising")
def raising():
    return {}["rate"]


@schedules.add("b_nan")
def nan():
    return lambda step, steps: float("nan")
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A recipe with both files of parts; what they register is gone afterwards."""
    before = {kind: (dict(r._entries), dict(r._tags)) for kind, r in KINDS.items() if r.names() is not None}
    modules = set(sys.modules)
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "broken.py").write_text(BROKEN)
    yield {
        "plugins": [str(tmp_path / "parts.py"), str(tmp_path / "broken.py")],
        "task": "tabular_classification",
        "data": {"source": "t_moons"},
        "model": {"name": "mlp", "width": 8},
        "optimizer": {"name": "adamw", "lr": 0.02},
        "budget": "4 epochs",
        "batch_size": "all",  # every step sees all samples: the loss falls without noise
    }
    for kind, (entries, tags) in before.items():
        KINDS[kind]._entries, KINDS[kind]._tags = entries, tags
    for name in set(sys.modules) - modules:
        if name.startswith("trainwright_plugin_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": {"name": "t_halved", "every": 3}},
        {"optimizer": {"name": "t_descent", "lr": 0.2}},
        {"task.loss": "t_brier"},
        {"init": {"name": "t_small", "size": 0.2}},
        {"model": {"name": "sequential", "layers": [{"name": "dense", "units": 8}, "t_square"]}},
        {"model": "t_line"},
    ],
    ids=["schedule", "optimizer", "loss", "init", "layer", "model"],
)
def test_a_part_of_every_kind_trains_from_a_file(
    recipe: dict[str, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    run = tw.train(recipe, changes, out=tmp_path / "run", quiet=True)
    assert learned(run)
    again = tw.resume(run.path, {"budget": "5 epochs"}, quiet=True)
    assert again.state == "finished"
    assert len(again.predict([{"a": 0.1, "b": 0.2}])) == 1


def test_an_observer_of_a_file_is_told_and_is_in_config_toml(recipe: dict[str, Any], tmp_path: Path) -> None:
    count = tmp_path / "count"
    chosen = [{"name": "t_counter", "path": str(count)}]
    run = tw.train(recipe, {"observers": chosen}, out=tmp_path / "run", quiet=True)
    assert count.read_text() == "4"
    assert run.config["observers"] == chosen
    tw.resume(run.path, {"budget": "6 epochs"}, quiet=True)
    assert count.read_text() == "2"


def test_an_augmentation_of_a_file_changes_images(recipe: dict[str, Any], tmp_path: Path) -> None:
    images = {
        "task": {"name": "image_classification", "augment": {"t_dim": {"by": 0.5}}},
        "data": {"source": "embedded", "set": "digits"},
        "model": {"name": "cnn", "filters": [4], "dense": [16]},
        "budget": "3 steps",
    }
    run = tw.train({**recipe, **images}, out=tmp_path / "run", quiet=True)
    plain = tw.train({**recipe, **images}, {"task.augment": "none"}, out=tmp_path / "plain", quiet=True)
    assert run.view.losses != plain.view.losses


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "b_schedule"}, r"schedule\.b_schedule: made a float; return a function \(step, steps\)"),
        ({"optimizer": "b_optimizer"}, r"optimizer\.b_optimizer: made a list; return a torch\.optim\.Optimizer"),
        ({"task.loss": "b_loss"}, r"loss\.b_loss: made a function; return a tw\.Criterion"),
        ({"model": "b_model"}, r"model\.b_model: made a int; return an nn\.Module"),
        (
            {"model": {"name": "sequential", "layers": ["b_layer"]}},
            "layer 1, b_layer: made a tuple; return an nn.Module",
        ),
        ({"init": "b_init"}, r"init\.b_init: made a str; return a function \(weight, gain, generator\)"),
        ({"observers": "b_observer"}, r"observer\.b_observer: made a NoneType; return a function \(event\)"),
        ({"data.source": "b_source"}, r"source\.b_source: made a list; return a trainwright\.data\.source\.Source"),
        ({"schedule": "b_raising"}, r"schedule\.b_raising: raised KeyError: 'rate'; look at broken.py, line 16"),
        ({"schedule": "b_nan"}, "schedule: gives nan at step 0"),
        ({"observers": ["t_count"]}, "no observer is named 't_count'; did you mean 't_counter'"),
        ({"observers": [{"name": "t_counter"}]}, r"observers\.t_counter\.path: required"),
        ({"observers": [3]}, "observers: 3 .at position 0. is not valid"),
    ],
)
def test_a_part_that_is_something_else_is_told(
    recipe: dict[str, Any], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        tw.train(recipe, changes, out=tmp_path / "run", quiet=True)


def test_a_run_whose_file_is_gone_says_what_it_needs(recipe: dict[str, Any], tmp_path: Path) -> None:
    run = tw.train(recipe, {"model": "t_line"}, out=tmp_path / "run", quiet=True)
    (tmp_path / "parts.py").unlink()
    with pytest.raises(UserError, match=r"plugins: '.*parts\.py' is not a file"):
        tw.open(run.path).predict([{"a": 0.1, "b": 0.2}])


def test_a_goal_ends_the_training_and_says_so(recipe: dict[str, Any], tmp_path: Path) -> None:
    goal = {"name": "goal", "metric": "loss", "below": 10.0}
    run = tw.train(recipe, {"observers": goal}, out=tmp_path / "run", quiet=True)
    assert run.state == "stopped"
    assert run.view.ended is not None
    assert run.view.ended.reason.startswith("valid loss is")
    assert len(run.view.evals) == 1
    never = tw.train(recipe, {"observers": [{**goal, "below": -1.0}]}, out=tmp_path / "never", quiet=True)
    assert never.state == "finished"
    for options, said in (
        ({"metric": "loss"}, "needs one of above and below"),
        ({"metric": "loss", "above": 1.0, "below": 1.0}, "needs one of above and below"),
        (
            {"metric": "accurcy", "above": 0.9},
            r"observer\.goal\.metric: no metric is named 'accurcy'; did you mean 'acc",
        ),
    ):
        with pytest.raises(UserError, match=said):
            tw.train(recipe, {"observers": [{"name": "goal", **options}]}, out=tmp_path / said[:5], quiet=True)
