"""The doctor heals: what is proved is taken, what needs a word is offered, and nothing else changes a bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.events import Event, Probed, RunStarted, Tried
from trainwright.engine import checkpoint
from trainwright.runs import healed
from trainwright.runs.holes import whole
from trainwright.tools.checkup import checkup

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
RECIPE: dict[str, Any] = {
    "task": {"name": "supervised", "loss": "cross_entropy"},
    "model": {"name": "mlp", "width": 16, "depth": 1},
    "batch_size": 32,
    "budget": "12 epochs",
    "eval_every": "4 epochs",
    "save_every": "4 epochs",
}


@pytest.fixture(scope="module", autouse=True)
def at_once() -> Iterator[None]:
    """What is repaired is not improved here, but where that is asked: each time would train ten branches more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healed, "_IMPROVED", 0)
        yield


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x=X, y=Y)
    data = {"source": "npz", "path": str(path), "valid": 0.2, "test": 0.2}
    return {**RECIPE, "data": data, "optimizer": {"name": "adam", "lr": 0.02}}


@pytest.fixture(scope="module")
def zeros(sound: dict[str, Any]) -> dict[str, Any]:
    """Weights that begin alike stay alike: nothing is learned."""
    return {**sound, "init": "zeros"}


@pytest.fixture(scope="module")
def repaired(zeros: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    """The same, healed and not disturbed."""
    return tw.train(zeros, {"doctor": "heal"}, out=tmp_path_factory.mktemp("healed") / "run", quiet=True)


@pytest.fixture(scope="module")
def plain(zeros: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    """The same without a doctor."""
    return tw.train(zeros, {"doctor": "off"}, out=tmp_path_factory.mktemp("plain") / "run", quiet=True)


def net(*more: nn.Module, outputs: int = 2) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs), *more)


def fit(model: nn.Module, out: Path, y: Any = Y, doctor: Any = "heal", **more: Any) -> tw.Run:
    given = {
        "loss": "cross_entropy",
        "epochs": 12,
        "batch_size": 32,
        "valid": 0.2,
        "quiet": True,
        "eval_every": "5 epochs",
        **more,
    }
    return tw.fit(model, (X, y), out=out, doctor=doctor, **given)


def verdict(run: tw.Run) -> str:
    ended = run.view.ended
    assert ended is not None
    return ended.verdict


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.newest(folder / "checkpoints")
    assert found is not None
    return dict(found[1]["model"])


def test_a_recipe_with_weights_of_zero_is_repaired_and_the_final_recipe_is_written_out(
    repaired: tw.Run, plain: tw.Run, tmp_path: Path
) -> None:
    run = repaired
    assert verdict(run) == "REPAIRED"
    assert run.metrics["test/accuracy"] > plain.metrics["test/accuracy"]
    assert run.metrics["test/accuracy"] > run.baselines["constant"]["accuracy"]
    (repair,) = run.view.repairs
    assert (repair.rule, repair.state) == ("symmetric_weights", "taken")
    assert repair.keys == {"init": {"name": "kaiming_normal"}}
    (trial,) = run.view.tried
    assert [b.what for b in trial.branches[:2]] == ["no change", "another seed"]
    assert trial.won == repair.what
    assert repair.why == trial.text
    assert run.config["init"]["name"] == "kaiming_normal"
    again = tw.train(run.path / "config.toml", out=tmp_path / "again", quiet=True)
    assert again.view.losses == run.view.losses  # the final recipe, by itself
    assert verdict(again) == "HEALTHY"


def test_the_log_alone_tells_the_same_story(repaired: tw.Run) -> None:
    run = repaired
    found = checkup(run.path)
    assert found.verdict == "REPAIRED"
    assert {r.state for r in found.repairs} == {"taken"}
    assert json.loads(json.dumps(found.as_json()))["repairs"][0]["rule"] == "symmetric_weights"
    assert run.findings == [f.finding for f in run.view.findings]
    assert "symmetric_weights" not in [f.rule for f in run.findings]  # it is gone


def test_a_healthy_run_is_left_alone_to_the_last_bit(sound: dict[str, Any], tmp_path: Path) -> None:
    for mode in ("heal", "off"):
        tw.train(sound, {"doctor": mode}, out=tmp_path / mode, quiet=True)
    runs = [tw.open(tmp_path / mode) for mode in ("heal", "off")]
    assert runs[0].view.losses == runs[1].view.losses
    assert verdict(runs[0]) == "HEALTHY"
    assert runs[0].view.tried == []


def test_trials_that_change_nothing_change_no_bit(zeros: dict[str, Any], plain: tw.Run, tmp_path: Path) -> None:
    tried = tw.train(zeros, {"doctor": {"mode": "advise", "trials": True}}, out=tmp_path / "run", quiet=True)
    assert tried.view.losses == plain.view.losses
    ours, theirs = weights(tried.path), weights(plain.path)
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    (trial,) = tried.view.tried
    assert trial.won
    assert [r.state for r in tried.view.repairs] == ["offered"]
    (finding,) = [f for f in tried.findings if f.rule == "symmetric_weights"]
    assert finding.tried == trial.text
    assert verdict(tried) == "FAILED"


def test_what_changes_the_model_is_offered_and_taken_only_with_a_word(tmp_path: Path) -> None:
    def broken() -> nn.Module:
        return net(nn.Softmax(1), outputs=1)

    y = Y.astype(np.float32)[:, None]
    given: dict[str, Any] = {"y": y, "loss": nn.BCELoss(), "lr": 0.02, "optimizer": "adam"}
    run = fit(broken(), tmp_path / "no", **given)
    assert verdict(run) == "FAILED"
    assert [(r.rule, r.state) for r in run.view.repairs] == [("softmax_axis", "offered")]
    assert "--yes" in run.view.repairs[0].why
    model = broken()
    run = fit(model, tmp_path / "yes", doctor={"mode": "heal", "yes": True}, **given)
    assert verdict(run) == "REPAIRED"
    assert run.view.repairs[0].state == "taken"
    said = model(torch.from_numpy(X)).detach().numpy() > 0.5  # the caller's own module is the one that was repaired
    assert (said == y).mean() > 0.9
    opened = tw.open(run.path, model=broken())  # built as it was: the repairs are made again
    assert [a["label"] for a in opened.predict(X[:20])] == [a["label"] for a in run.predict(X[:20])]


def test_an_optimizer_that_was_made_of_a_part_gets_the_rest(tmp_path: Path) -> None:
    model = net()
    before = model[0].weight.detach().clone()
    run = fit(model, tmp_path / "run", optimizer=torch.optim.Adam(model[2:].parameters(), 0.02))
    assert run.view.repairs[0].rule == "not_in_optimizer"
    assert not torch.equal(before, model[0].weight)
    assert verdict(run) == "REPAIRED"


def test_a_rate_at_which_numbers_overflow_is_lowered(tmp_path: Path) -> None:
    run = fit(net(), tmp_path / "run", optimizer="sgd", lr=1e6, log_every=5)
    assert verdict(run) == "REPAIRED"
    assert run.config["optimizer"]["lr"] < 1e5 or run.config["optimizer"]["name"] != "sgd"
    assert run.metrics["valid/accuracy"] > 0.85


def test_a_run_that_is_stopped_in_a_trial_is_resumed_and_healed(zeros: dict[str, Any], tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Tried):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tw.train(zeros, {"doctor": "heal"}, out=tmp_path / "run", observers=[stop], quiet=True)
    assert tw.open(tmp_path / "run").state == "interrupted"
    run = tw.resume(tmp_path / "run", quiet=True)
    assert verdict(run) == "REPAIRED"


def test_a_run_that_is_killed_between_decision_and_attempt_begins_anew_with_what_was_decided(
    zeros: dict[str, Any], repaired: tw.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path, number: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(healed, "leave", killed)
        with pytest.raises(KeyboardInterrupt):
            tw.train(zeros, {"doctor": "heal"}, out=tmp_path / "run", quiet=True)
    run = tw.resume(tmp_path / "run", quiet=True)
    assert verdict(run) == "REPAIRED"
    assert run.view.losses == repaired.view.losses
    assert [r.what for r in run.view.repairs] == [r.what for r in repaired.view.repairs]


def test_a_healed_attempt_that_is_interrupted_goes_on_exactly(
    zeros: dict[str, Any], repaired: tw.Run, tmp_path: Path
) -> None:
    attempts: list[RunStarted] = []

    def stop(event: Event) -> tw.Stop | None:
        attempts.extend([event] if isinstance(event, RunStarted) else [])
        second = len(attempts) == 2 and isinstance(event, Probed) and event.step > 20
        return tw.Stop("enough", "interrupted") if second else None

    tw.train(zeros, {"doctor": "heal"}, out=tmp_path / "run", observers=[stop], quiet=True)
    run = tw.resume(tmp_path / "run", quiet=True)
    assert run.view.losses == repaired.view.losses
    assert verdict(run) == "REPAIRED"


def test_a_healed_run_of_an_own_module_is_resumed_with_its_repairs(tmp_path: Path) -> None:
    def broken() -> nn.Module:
        return net(nn.Softmax(1), outputs=1)

    y = Y.astype(np.float32)[:, None]
    given: dict[str, Any] = {"y": y, "loss": nn.BCELoss(), "lr": 0.02, "optimizer": "adam"}
    given["doctor"] = {"mode": "heal", "yes": True}
    attempts: list[RunStarted] = []

    def stop(event: Event) -> tw.Stop | None:
        attempts.extend([event] if isinstance(event, RunStarted) else [])
        second = len(attempts) == 2 and isinstance(event, Probed) and event.step > 40
        return tw.Stop("enough", "interrupted") if second else None

    straight = fit(broken(), tmp_path / "a", **given)
    fit(broken(), tmp_path / "b", observers=[stop], **given)
    run = fit(broken(), None, resume=tmp_path / "b", **given)  # type: ignore[arg-type]
    assert run.view.losses == straight.view.losses
    assert verdict(run) == "REPAIRED"


def test_a_repair_that_does_not_hold_is_taken_back(
    zeros: dict[str, Any], plain: tw.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = healed._Case._taken

    def overrated(case: Any, view: Any, finding: Any, remedy: Any, outcome: Any, state: Any) -> Any:
        following = held(case, view, finding, remedy, outcome, state)
        case.record.taken[-1]["reference"] = 0.0  # nothing can be better than what no change is said to have reached
        return following

    monkeypatch.setattr(healed._Case, "_taken", overrated)
    run = tw.train(zeros, {"doctor": "heal"}, out=tmp_path / "run", quiet=True)
    assert [r.state for r in run.view.repairs] == ["taken", "taken back"]
    assert run.view.losses == plain.view.losses  # as if nothing had been tried
    assert run.config["init"]["name"] == "zeros"
    assert verdict(run) == "FAILED"


def test_what_is_repaired_is_improved_once_and_the_improvement_is_measured_by_what_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def low(out: Path) -> tw.Run:
        return fit(net(), out, optimizer="sgd", lr=1e-6, epochs=10)

    before = low(tmp_path / "before")
    monkeypatch.setattr(healed, "_IMPROVED", 1)
    after = low(tmp_path / "after")
    assert len(after.view.tried) == len(before.view.tried) + 1
    assert [r.what for r in after.view.repairs[: len(before.view.repairs)]] == [r.what for r in before.view.repairs]
    last = after.view.repairs[-1]
    assert last.state == "taken"
    assert "tried once more" in last.trouble
    assert after.metrics["valid/loss"] < 0.95 * before.metrics["valid/loss"]
    taken = json.loads((after.path / "healing.json").read_text())["taken"][-1]
    assert taken["reference"] == pytest.approx(min(e.metrics["loss"] for e in before.view.evals))


def test_records_that_hold_nan_are_left_out_with_a_word_and_told_of(tmp_path: Path) -> None:
    torn = X.copy()
    torn[[3, 70], 1] = np.nan
    config: Any = SimpleNamespace(doctor={"mode": "heal", "yes": True})
    (told,) = whole((torn[:41], Y[:41]), "train", config)[1]
    assert told.trouble.startswith("1 of 41 records of train holds NaN")
    assert told.what == "leave out 1 record of train"
    short: dict[str, Any] = {"valid": 0.0, "epochs": 2, "loss": "cross_entropy", "quiet": True, "lr": 0.02}
    for doctor in ("heal", {"mode": "advise"}):
        with pytest.raises(TrainwrightError, match="holds nan"):
            tw.fit(net(), (torn, Y), out=tmp_path / str(doctor), doctor=doctor, **short)
    run = tw.fit(net(), (torn, Y), out=tmp_path / "yes", doctor={"mode": "heal", "yes": True}, **short)
    assert [(r.rule, r.state) for r in run.view.repairs] == [("not_finite_data", "taken")]
    assert "2 of 300 records" in run.view.repairs[0].trouble
    assert "record 3" in run.view.repairs[0].trouble
    assert verdict(run) == "REPAIRED"
    torn[:100] = np.nan  # so many are no accident
    with pytest.raises(TrainwrightError, match="holds nan"):
        tw.fit(net(), (torn, Y), out=tmp_path / "most", doctor={"mode": "heal", "yes": True}, **short)


def test_a_word_without_a_doctor_that_heals_is_refused(sound: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"doctor\.yes"):
        tw.train(sound, {"doctor.yes": True}, quiet=True)


def test_what_cannot_be_tried_is_refused_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"doctor\.mode"):
        fit(net(), tmp_path / "run", parts={"critic": net()})
