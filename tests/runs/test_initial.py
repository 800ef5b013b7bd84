"""First weights by name, from a recipe and from `tw.fit`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.events import Event, StepDone
from trainwright.core.kinds import inits
from trainwright.engine import checkpoint

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 30)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "wine", "test": 0.2},
    "model": {"name": "mlp", "width": 24, "activation": "gelu"},
    "optimizer": {"name": "sgd", "lr": 1e-9},  # the first weights are nearly the last
    "budget": "1 step",
}


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 2))


def weights(run: tw.Run) -> dict[str, torch.Tensor]:
    folder = run.path / "checkpoints"
    return dict(checkpoint.load_part(checkpoint.at(folder, checkpoint.steps(folder)[-1]), "model"))


def fit(tmp_path: Path, model: nn.Module | None = None, **options: Any) -> tw.Run:
    chosen: dict[str, Any] = {
        "loss": "cross_entropy",
        "optimizer": "sgd",
        "lr": 1e-9,
        "budget": "1 step",
        "quiet": True,
    }
    return tw.fit(model or net(), (X, Y), **{**chosen, "out": tmp_path, **options})


@pytest.mark.parametrize("name", sorted(n for n in inits.names() if n not in ("auto", "constant")))
def test_every_rule_can_be_named_in_a_recipe(name: str, tmp_path: Path) -> None:
    run = tw.train(RECIPE, {"init": name}, out=tmp_path / "run", quiet=True)
    assert run.config["init"]["name"] == name
    assert f"init: {name} for the weights of 3 layers" in run.manifest["data"]["notes"]
    assert all(float(w.abs().max()) < 1e-6 for k, w in weights(run).items() if k.endswith("bias"))
    again = tw.train(run.path / "config.toml", out=tmp_path / "again", quiet=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(run).values(), weights(again).values(), strict=True))
    other = tw.train(RECIPE, {"init": name, "seed": 1}, out=tmp_path / "other", quiet=True)
    same = torch.equal(weights(run)["hidden.0.weight"], weights(other)["hidden.0.weight"])
    assert same == (name == "zeros")


def test_the_gain_fits_the_activation_behind_each_layer(tmp_path: Path) -> None:
    run = tw.train(RECIPE, {"init": "orthogonal"}, out=tmp_path / "run", quiet=True)
    found = weights(run)
    assert float(torch.linalg.matrix_norm(found["hidden.2.weight"], 2)) == pytest.approx(1.533530, rel=1e-4)  # gelu
    assert float(torch.linalg.matrix_norm(found["head.weight"], 2)) == pytest.approx(1.0, rel=1e-4)


def test_auto_leaves_the_model_as_its_author_made_it(tmp_path: Path) -> None:
    plain = tw.train(RECIPE, out=tmp_path / "plain", quiet=True)
    auto = tw.train(RECIPE, {"init": "auto"}, out=tmp_path / "auto", quiet=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain).values(), weights(auto).values(), strict=True))
    assert not any("init" in note for note in auto.manifest["data"]["notes"])


def test_zeros_are_allowed_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tw.train(RECIPE, {"init": "zeros"}, out=tmp_path / "run")
    assert "all units begin alike, get the same gradient, and stay alike" in " ".join(capsys.readouterr().out.split())


def test_fit_leaves_the_module_alone_unless_asked(tmp_path: Path) -> None:
    first = net()
    fit(tmp_path / "plain", model := net())
    assert torch.allclose(first[0].weight, model[0].weight, atol=1e-7)
    run = fit(tmp_path / "drawn", model := net(), init={"name": "orthogonal"})
    assert not torch.allclose(first[0].weight, model[0].weight, atol=1e-3)
    s = torch.linalg.svdvals(model[0].weight.detach())
    torch.testing.assert_close(s, torch.full_like(s, math.sqrt(2)), rtol=1e-4, atol=1e-4)
    assert run.config["init"] == {"name": "orthogonal"}


def test_fit_takes_a_function_that_fills_a_weight(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", model := net(), init=nn.init.xavier_uniform_)
    assert float(model[0].weight.detach().abs().max()) <= math.sqrt(2) * math.sqrt(6 / 50) + 1e-6
    assert run.config["init"] == {"name": "own"}
    assert "init: xavier_uniform_ for the weights of 2 layers" in run.manifest["data"]["notes"]


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("xavier", "no init is named 'xavier'; did you mean 'xavier_"),
        ({"name": "orthogonal", "gian": 1.0}, r"init\.gian: unknown option; did you mean 'gain'"),
        (3, "init: 3 is no rule"),
        (lambda weight: None, "init: raised TypeError for a weight"),
    ],
)
def test_what_is_no_rule_is_told_before_anything_is_written(init: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        fit(tmp_path / "run", init=init)
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_goes_on_from_its_checkpoint_not_from_fresh_weights(tmp_path: Path) -> None:
    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) else None

    changes = {"init": "xavier_normal", "optimizer.lr": 0.1, "budget": "20 steps", "log_every": 7}
    whole = tw.train(RECIPE, changes, out=tmp_path / "whole", quiet=True)
    part = tw.train(RECIPE, changes, out=tmp_path / "part", observers=[stop], quiet=True)
    resumed = tw.resume(part.path, quiet=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole).values(), weights(resumed).values(), strict=True))
    assert resumed.manifest["data"]["notes"] == whole.manifest["data"]["notes"]
    with pytest.raises(UserError, match="cannot change in a run that goes on"):
        tw.resume(part.path, {"init": "zeros", "budget": "30 steps"}, quiet=True)


@pytest.mark.ranks
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_begin_with_the_weights_of_one(parallel: str, tmp_path: Path) -> None:
    changes = {"init": "kaiming_normal", "precision": "float64"}
    alone = tw.train(RECIPE, changes, out=tmp_path / "alone", quiet=True)
    pair = tw.train(RECIPE, {**changes, "ranks": 2, "parallel": parallel}, out=tmp_path / "pair", quiet=True)
    for a, b in zip(weights(alone).values(), weights(pair).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
