"""What weights begin with and how they may move, through recipes and `tw.fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.events import StepDone
from trainwright.engine import checkpoint

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 16},
    "optimizer": {"name": "adamw", "lr": 1e-2},
    "batch_size": 16,
    "budget": "3 epochs",
}


def trained(folder: Path, **keys: Any) -> tw.Run:
    return tw.train(QUICK, {k.replace("__", "."): v for k, v in keys.items()}, out=folder, quiet=True)


def part(run: tw.Run, name: str = "model", step: int = -1) -> dict[str, torch.Tensor]:
    folder = run.path / "checkpoints"
    return load_file(checkpoint.at(folder, checkpoint.steps(folder)[step]) / f"{name}.safetensors")


def test_a_run_begins_with_what_another_serves(tmp_path: Path) -> None:
    one = trained(tmp_path / "one", ema=0.9)
    two = trained(tmp_path / "two", init_from=str(one.path), optimizer__lr=1e-9, save_every="1 step", budget="1 step")
    served = one.model.state_dict()
    for name, x in part(two).items():
        torch.testing.assert_close(x, served[name], atol=1e-6, rtol=0)
    facts = two.manifest["data"]["init_from"]
    assert facts["taken"] == facts["tensors"] == len(served)
    assert any("are taken from" in note for note in two.manifest["data"]["notes"])


def test_what_does_not_fit_begins_anew_and_is_told(tmp_path: Path) -> None:
    one = trained(tmp_path / "one")
    theirs = {f"body.{k}": v.contiguous() for k, v in part(one).items()}
    theirs["body.head.weight"] = torch.zeros(7, 16)
    theirs["body.tail"] = torch.zeros(2)
    save_file(theirs, tmp_path / "theirs.safetensors")
    spec = {"path": str(tmp_path / "theirs.safetensors"), "map": {"body.": ""}}
    two = trained(tmp_path / "two", init_from=spec)
    facts = two.manifest["data"]["init_from"]
    assert facts["misfits"] == ["head.weight (3, 16), there (7, 16)"]
    assert facts["unused"] == ["tail"]
    assert facts["taken"] == facts["tensors"] - 1
    skipping = trained(tmp_path / "three", init_from={**spec, "skip": ["head.*"]})
    assert skipping.manifest["data"]["init_from"]["fresh"] == ["head.weight", "head.bias"]


def test_weights_that_are_taken_win_over_an_initialization_and_the_average_begins_with_them(tmp_path: Path) -> None:
    one = trained(tmp_path / "one")
    two = trained(
        tmp_path / "two", init="orthogonal", ema=0.999, init_from=str(one.path), optimizer__lr=1e-9, budget="1 step"
    )
    served = one.model.state_dict()
    for name in served:
        torch.testing.assert_close(part(two, "ema")[name], served[name], atol=1e-6, rtol=0)
        torch.testing.assert_close(part(two)[name], served[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nowhere", "does not exist"),
        ({"path": "{alien}"}, "no tensor of .* has a name and shape of this model"),
        ({"path": "{broken}"}, "not a sound .safetensors file"),
        ({"path": "{nan}"}, "holds NaN or infinity in head.bias"),
        ({"path": "{folder}"}, "neither a run nor a checkpoint"),
        ({"path": "{whole}", "skip": ["haed.*"]}, "'haed.*' fits no weight"),
        ({"path": "{whole}", "maps": {}}, "unknown option; did you mean 'map'"),
        ({"map": {}}, "required, but missing"),
        ({"path": "{whole}", "map": {"encodr.": ""}}, r"init_from\.map: no name there begins with 'encodr\.'"),
    ],
)
def test_weights_that_cannot_be_taken_are_one_message(spec: Any, said: str, tmp_path: Path) -> None:
    whole = {"head.weight": torch.zeros(3, 16), "head.bias": torch.zeros(3)}
    save_file(whole, tmp_path / "whole.safetensors")
    save_file({**whole, "head.bias": torch.full((3,), float("nan"))}, tmp_path / "nan.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "alien.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    names = {n: str(tmp_path / f"{n}.safetensors") for n in ("whole", "nan", "alien", "broken")}
    if isinstance(spec, dict) and "path" in spec:
        spec = {**spec, "path": spec["path"].format(**names, folder=tmp_path)}
    with pytest.raises(UserError, match=said):
        trained(tmp_path / "run", init_from=spec)
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_needs_the_old_weights_no_more(tmp_path: Path) -> None:
    one = trained(tmp_path / "one")
    two = trained(tmp_path / "two", init_from=str(one.path))
    one.path.rename(tmp_path / "gone")
    again = tw.resume(two.path, {"budget": "4 epochs"}, quiet=True)
    assert again.state == "finished"
    assert again.manifest["data"]["init_from"] == two.manifest["data"]["init_from"]


def test_frozen_weights_stay_and_others_learn(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", freeze=["hidden.0.*"], budget="1 step")
    first = part(run)
    last = part(tw.resume(run.path, {"budget": "9 steps"}, quiet=True))
    assert torch.equal(first["hidden.0.weight"], last["hidden.0.weight"])
    assert not torch.equal(first["head.weight"], last["head.weight"])


def test_weights_awake_after_their_amount_of_training(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", unfreeze={"hidden.0.*": "1 epoch"}, budget="2 epochs")
    per_epoch = run.manifest["plan"]["steps_per_epoch"]
    untouched = trained(tmp_path / "other", freeze=["hidden.0.*"], budget="1 epoch")
    still = tw.open(untouched.path).model.state_dict()["hidden.0.weight"]
    assert checkpoint.steps(run.path / "checkpoints")[-1] == 2 * per_epoch
    assert not torch.equal(part(run)["hidden.0.weight"], still)


def test_rates_multiply_the_rate_of_the_weights_they_name(tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain", optimizer__name="sgd", budget="1 step")
    scaled = trained(tmp_path / "scaled", optimizer__name="sgd", budget="1 step", rates={"head.*": 3.0, "*bias": 0.0})
    begin = trained(tmp_path / "begin", optimizer__name="sgd", optimizer__lr=1e-30, budget="1 step")
    start, one, other = part(begin), part(plain), part(scaled)
    torch.testing.assert_close(
        other["head.weight"] - start["head.weight"], 3 * (one["head.weight"] - start["head.weight"])
    )
    torch.testing.assert_close(other["head.bias"] - start["head.bias"], 3 * (one["head.bias"] - start["head.bias"]))
    assert not other["hidden.0.bias"].any()  # where it began
    torch.testing.assert_close(other["hidden.0.weight"], one["hidden.0.weight"])


@pytest.mark.parametrize("key", ["rates", "freeze", "unfreeze"])
def test_a_pattern_that_fits_no_weight_is_one_message(key: str, tmp_path: Path) -> None:
    value: Any = {"rates": {"haed.*": 1.0}, "freeze": ["haed.*"], "unfreeze": {"haed.*": "1 epoch"}}[key]
    with pytest.raises(UserError, match=rf"{key}: 'haed.\*' fits no weight of the model"):
        trained(tmp_path / "run", **{key: value})


def test_early_stopping_stops_and_the_best_weights_are_served(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", optimizer__lr=1e-9, patience=2, budget="50 epochs", min_change=0.9)
    ended = run.view.ended
    assert ended is not None
    assert ended.outcome == "stopped"
    assert "did not improve by more than 0.9 in 2 evaluations" in ended.reason
    assert len(run.view.evals) == 3
    assert "test/accuracy" in run.metrics


def test_patience_counts_from_the_last_evaluation_that_was_called_the_best(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", patience=3, budget="400 epochs", optimizer__lr=0.05)
    bests = [e.best for e in run.view.evals]
    assert run.state == "stopped"
    assert bests[-4:] == [True, False, False, False]


@pytest.mark.parametrize(("key", "value"), [("patience", 3), ("schedule", "plateau")])
def test_what_watches_the_validation_part_needs_one(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{key}: looks at the validation part"):
        trained(tmp_path / "run", data__valid=0, data__test=0, **{key: value})


def test_penalties_are_logged_apart_from_the_loss(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", l1=1e-3, l2=1e-2)
    plain = trained(tmp_path / "plain")
    steps = [e for e in run.view.steps if isinstance(e, StepDone)]
    assert all(e.parts.keys() == {"l1", "l2"} and min(e.parts.values()) > 0 for e in steps)
    assert steps[0].losses[0] == next(e for e in plain.view.steps).losses[0]


def test_the_manifest_says_which_weights_were_monitored_kept_and_served(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", ema=0.9)
    said = run.manifest["weights"]
    assert (
        said["monitored"] == "the running average of the weights (ema = 0.9) after each evaluation, by valid accuracy"
    )
    assert said["kept"] == "best and last"
    assert "running average" in said["served"]
    served = tw.open(run.path).model.state_dict()
    assert any(all(torch.equal(served[k], v) for k, v in part(run, "ema", i).items()) for i in (0, -1))


def test_fit_has_the_same_keys(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    x = torch.randn(60, 4)
    kept = net[0].weight.detach().clone()
    run = tw.fit(
        net,
        (x, (x[:, 0] > 0).long()),
        loss="cross_entropy",
        epochs=4,
        freeze=["0.*"],
        rates={"2.bias": 0.5},
        ema=0.9,
        l2=1e-4,
        clip_value=1,
        patience=3,
        schedule="plateau",
        out=tmp_path / "run",
        quiet=True,
    )
    assert torch.equal(net[0].weight, kept)
    assert json.loads((run.path / "manifest.json").read_text())["weights"]["served"].startswith("the running average")
    assert run.config["rates"] == {"2.bias": 0.5}


def test_fit_with_a_step_of_ones_own_refuses_what_only_the_usual_step_does(tmp_path: Path) -> None:
    net = nn.Linear(4, 2)

    def own(*arguments: Any, **options: Any) -> Any:
        return tw.train_step(*arguments, **options)

    with pytest.raises(UserError, match="l1: is done by the usual step"):
        tw.fit(
            net, (torch.randn(20, 4), torch.zeros(20).long()), loss="cross_entropy", l1=0.1, step_fn=own,
            out=tmp_path / "run", quiet=True,
        )  # fmt: skip
