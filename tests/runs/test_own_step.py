"""A whole step of one's own: through tw.fit with parts, and from a recipe with a plugin."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.core.errors import CheckpointError, UserError
from trainwright.core.events import StepDone
from trainwright.engine import checkpoint

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def newest(folder: Path) -> dict[str, Any]:
    found = checkpoint.newest(folder / "checkpoints")
    assert found is not None
    return found[1]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_the_gan_goes_on_after_an_interruption_as_if_there_had_been_none(tmp_path: Path) -> None:
    """Both networks, both optimizers, and every drawn number."""
    gan = runpy.run_path(str(EXAMPLES / "gan.py"))
    gan["train"](out=tmp_path / "whole", epochs=20)
    gan["train"](out=tmp_path / "halves", epochs=10)
    gan["train"](epochs=20, resume=tmp_path / "halves")
    whole, halves = newest(tmp_path / "whole"), newest(tmp_path / "halves")
    assert {"model", "optimizer", "critic", "critic_optimizer"} <= whole.keys()
    assert whole["critic_optimizer"]["state"].keys() == whole["critic"].keys()
    for part in ("model", "optimizer", "critic", "critic_optimizer", "random", "counters"):
        assert same(whole[part], halves[part]), part


def test_the_parts_of_a_step_are_logged_and_the_teacher_rests(tmp_path: Path) -> None:
    distillation = runpy.run_path(str(EXAMPLES / "distillation.py"))
    seen: list[StepDone] = []
    teacher = distillation["build"](8).requires_grad_(False)
    before = [p.clone() for p in teacher.parameters()]
    x, y = distillation["x"], distillation["y"]

    def note(event: object) -> None:
        if isinstance(event, StepDone):
            seen.append(event)

    tw.fit(
        distillation["build"](4),
        (x[:100], y[:100]),
        loss="cross_entropy",
        epochs=2,
        log_every=1,
        step_fn=distillation["distil"],
        parts={"teacher": teacher},
        observers=[note],
        out=tmp_path / "run",
        quiet=True,
    )
    for event in seen:
        assert event.losses[0] == pytest.approx(event.parts["labels"] + event.parts["teacher"], rel=1e-5)
    assert all(map(torch.equal, before, teacher.parameters()))
    assert "teacher" in newest(tmp_path / "run")


def usual(state: Any, task: Any, group: Any, runtime: Any, /, **given: Any) -> tw.Step:
    return tw.train_step(state, task, group, runtime, **given)


def test_a_step_made_of_the_usual_one_alone_is_the_usual_one(tmp_path: Path) -> None:
    kept = []
    for step in (tw.train_step, usual):
        torch.manual_seed(0)
        net = nn.Linear(4, 2)
        tw.fit(net, (X, Y), loss="cross_entropy", epochs=2, step_fn=step, out=tmp_path / step.__name__, quiet=True)
        kept.append([p.detach().clone() for p in net.parameters()])
    assert all(map(torch.equal, *kept))


def uncounted(state: Any, task: Any, group: Any, runtime: Any, /, **given: Any) -> tw.Step:
    done = tw.train_step(state, task, group, runtime, **given)
    state.counters.step -= 1
    return done


def silent(state: Any, task: Any, group: Any, runtime: Any, /, **given: Any) -> Any:
    tw.train_step(state, task, group, runtime, **given)


@pytest.mark.parametrize(
    ("step", "what"),
    [(uncounted, "step_fn: counted 0 steps instead of one"), (silent, "step_fn: returned a NoneType")],
)
def test_a_step_that_breaks_its_word_is_told_at_once(step: Any, what: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=what):
        tw.fit(nn.Linear(4, 2), (X, Y), loss="cross_entropy", step_fn=step, out=tmp_path / "run", quiet=True)


def test_an_option_of_the_usual_step_is_refused_beside_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="l2: is done by the usual step"):
        tw.fit(nn.Linear(4, 2), (X, Y), loss="cross_entropy", l2=0.1, step_fn=usual, out=tmp_path / "run", quiet=True)


def test_a_run_does_not_go_on_without_its_parts(tmp_path: Path) -> None:
    given: dict[str, Any] = {"loss": "cross_entropy", "quiet": True}
    tw.fit(nn.Linear(4, 2), (X, Y), epochs=1, out=tmp_path / "run", parts={"teacher": nn.Linear(4, 2)}, **given)
    with pytest.raises(CheckpointError, match="do not have the same parts of the state: teacher"):
        tw.fit(nn.Linear(4, 2), (X, Y), epochs=2, resume=tmp_path / "run", **given)


PLUGIN = '''"""A step for recipes: each network learns from the other's opinion too."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

import trainwright as tw
from trainwright.core.kinds import models, steps


@steps.add("peers_of_tests")
class Peers(tw.WholeStep):
    """Two networks that teach one another.

    Args:
        share: of the other's opinion.
    """

    def __init__(self, *, share: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
        self.share = share

    def parts(self, model: nn.Module, task: tw.Task[Any]) -> Mapping[str, Any]:
        peer = models["mlp"](inputs=task.sizes()["inputs"], outputs=task.sizes()["outputs"], width=8)
        return {"peer": peer, "peer_optimizer": torch.optim.SGD(peer.parameters(), lr=0.1)}

    def __call__(self, state: Any, task: Any, group: Any, runtime: Any, /, **given: Any) -> tw.Step:
        def beside(other: nn.Module) -> Any:
            def loss(net: nn.Module, batch: tw.Batch, progress: tw.Progress) -> tw.Loss:
                said = net(**batch.inputs)
                with torch.no_grad():
                    told = other(**batch.inputs).softmax(1)
                hard = cross_entropy(said, batch.targets["y"], reduction="sum")
                return tw.Loss((1 - self.share) * hard + self.share * cross_entropy(said, told, reduction="sum"))

            return loss

        model, peer = state.model, state.module("peer")
        tw.train_step(
            state, task, group, runtime, loss=beside(model), module="peer", optimizer="peer_optimizer", **given
        )
        return tw.train_step(state, task, group, runtime, loss=beside(peer), **given)
'''


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    plugin = tmp_path_factory.mktemp("plugin") / "peers.py"
    plugin.write_text(PLUGIN)
    return {
        "plugins": [str(plugin)],
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0},
        "model": {"name": "mlp", "width": 8},
        "step": {"name": "peers_of_tests", "share": 0.25},
        "budget": "4 epochs",
        "device": "cpu",
    }


def test_a_recipe_names_a_step_of_a_plugin_with_its_options_and_parts(recipe: dict[str, Any], tmp_path: Path) -> None:
    whole = tw.train(recipe, out=tmp_path / "whole", quiet=True)
    assert whole.config["step"] == {"name": "peers_of_tests", "share": 0.25}
    tw.train(recipe, {"budget": "2 epochs"}, out=tmp_path / "halves", quiet=True)
    tw.resume(tmp_path / "halves", {"budget": "4 epochs"}, quiet=True)
    a, b = newest(tmp_path / "whole"), newest(tmp_path / "halves")
    assert {"peer", "peer_optimizer"} <= a.keys()
    assert all(same(a[part], b[part]) for part in ("model", "optimizer", "peer", "peer_optimizer"))


def test_a_step_of_a_recipe_is_checked_like_everything_else(recipe: dict[str, Any], tmp_path: Path) -> None:
    for changes, what in (
        ({"step.share": 2.0}, r"step\.share: 2\.0 is out of range"),
        ({"step.name": "peers_of_test"}, "did you mean 'peers_of_tests'"),
        ({"step.shar": 0.1}, r"step\.shar: unknown option; did you mean 'share'"),
    ):
        with pytest.raises(UserError, match=what):
            tw.train(recipe, changes, out=tmp_path / "run", quiet=True)
    tw.train(recipe, {"budget": "1 steps"}, out=tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match="step: cannot change in a run that goes on"):
        tw.resume(tmp_path / "run", {"step": "standard", "budget": "9 steps"}, quiet=True)


def test_a_budget_in_time_is_measured_on_the_step_that_is_taken(recipe: dict[str, Any], tmp_path: Path) -> None:
    run = tw.train(recipe, {"budget": "1 seconds"}, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"
