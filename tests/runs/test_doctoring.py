"""The doctor at a run: it changes no bit, says what is wrong, and the log says the same when it is read again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.events import Event, Examined, Probed, StepDone, Stop
from trainwright.runs import doctoring
from trainwright.tools.checkup import checkup

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def net(*more: nn.Module, outputs: int = 2) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, outputs), *more
    )


def fit(model: nn.Module, tmp_path: Path, y: Any = Y, **more: Any) -> tw.Run:
    given = {"loss": "cross_entropy", "epochs": 12, "lr": 1e-2, "out": tmp_path / "run", "quiet": True, **more}
    return tw.fit(model, (X, y), **given)


def test_a_training_that_learns_is_healthy_and_examined_and_probed(tmp_path: Path) -> None:
    run = fit(net(), tmp_path)
    view = run.view
    assert view.ended is not None
    assert view.ended.verdict == "HEALTHY"
    assert [f for f in run.findings if f.severity != "note"] == []
    assert view.examined is not None
    facts = view.examined.facts
    assert (facts.loss.name, facts.output.last, facts.target.coding) == ("cross_entropy", "linear", "classes")
    share = Y.mean()
    assert facts.loss.guess == pytest.approx(-(share * np.log(share) + (1 - share) * np.log(1 - share)), rel=0.05)
    assert view.probed[-1].step == view.step
    assert view.probed[-1].statistics["0"]["gradient"] > 0
    took = run.manifest["attempts"][-1]["doctor"]
    assert took == view.ended.doctor
    assert took["probes"] == len(view.probed)
    assert 0 < took["share"] < 1
    assert took["seconds"] > 0
    assert took["before"] > 0


def test_the_doctor_changes_no_bit(tmp_path: Path) -> None:
    weights = []
    for mode in ("advise", "off"):
        model = net()
        run = fit(model, tmp_path / mode, doctor=mode, batch_size=32)
        weights.append(({k: v.clone() for k, v in model.state_dict().items()}, run.view.losses))
        assert (run.view.examined is None) == (mode == "off")
        assert ("doctor" in run.manifest["attempts"][-1]) == (mode == "advise")
    assert weights[0][1] == weights[1][1]
    assert all(torch.equal(weights[0][0][k], weights[1][0][k]) for k in weights[0][0])


def test_a_resumed_run_is_examined_again_and_goes_on_exactly(tmp_path: Path) -> None:
    whole = net()
    straight = fit(whole, tmp_path / "a")

    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, Probed) and event.step > 20 else None

    fit(net(), tmp_path / "b", observers=[stop])
    part = net()
    run = fit(part, tmp_path / "b", resume=tmp_path / "b" / "run", out=None)
    assert run.view.losses == straight.view.losses
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), part.state_dict().values(), strict=True))
    assert run.view.ended is not None
    assert run.view.ended.verdict == "HEALTHY"


BROKEN: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "a rate that is too high": (net, {"lr": 300.0, "optimizer": "sgd", "epochs": 40}, "rate_too_high", "FAILED"),
    "a rate that is too low": (net, {"lr": 1e-9, "epochs": 40}, "rate_too_low", "FAILED"),
    "shapes that spread": (
        lambda: net(outputs=1),
        {"loss": lambda o, t: ((o - t.float()) ** 2).mean()},
        "shapes_spread",
        "FAILED",
    ),
    "a softmax over one unit": (
        lambda: net(nn.Softmax(1), outputs=1),
        {"loss": lambda o, t: ((o.squeeze(1) - t.float()) ** 2).mean()},
        "softmax_axis",
        "FAILED",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_training_is_named_and_a_second_look_at_its_log_agrees(name: str, tmp_path: Path) -> None:
    make, more, rule, verdict = BROKEN[name]
    run = fit(make(), tmp_path, **more)
    assert run.view.ended is not None
    assert run.view.ended.verdict == verdict
    said = [(e.step, e.finding.rule) for e in run.view.findings]
    assert rule in [r for _, r in said]
    again = checkup(run.path)
    assert again.verdict == verdict
    assert [(s, f.rule) for s, f in again.found] == said


def test_targets_that_a_last_relu_cannot_give_are_found_before_the_first_step(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1), nn.ReLU())
    run = fit(model, tmp_path, y=X[:, :1], loss="mse", epochs=1)
    found = run.view.findings[0]
    assert (found.step, found.finding.rule, found.finding.severity) == (0, "target_out_of_reach", "error")


@pytest.mark.parametrize("rare", [3, 0])
def test_what_is_rare_is_not_taken_for_none(rare: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 6)).astype(np.float32)
    y = np.zeros(len(x), np.int64)
    y[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[10_000 : 10_000 + rare]] = 1
    asked = {"valid": 0.0, "batch_size": 256, "budget": "2 steps", "quiet": True}
    run = tw.fit(net(), (x, y), loss="cross_entropy", out=tmp_path / "run", **asked)
    assert ("constant_target" in [e.finding.rule for e in run.view.findings]) == (rare == 0)
    assert run.view.examined is not None
    assert run.view.examined.facts.target.counts == ((19_997, 3) if rare else (20_000,))


def test_a_doctor_that_fails_says_so_and_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(subject: object) -> None:
        raise RuntimeError("nothing to see")

    monkeypatch.setattr(doctoring, "examine", broken)
    run = fit(net(), tmp_path, epochs=1)
    assert run.state == "finished"
    assert "the doctor could not examine the model: RuntimeError: nothing to see" in " ".join(
        f.what for f in run.findings
    )


class Counting(nn.Module):
    """Counts how often it is called, as a model of somebody's may."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.a(x) + 0 * torch.randn(())


def test_buffers_and_randomness_are_what_they_would_be_without_it(tmp_path: Path) -> None:
    told = []
    for mode in ("advise", "off"):
        model = Counting()
        torch.manual_seed(3)
        fit(model, tmp_path / mode, doctor=mode, epochs=2)
        told.append(float(model.calls))
    assert told[0] == told[1]


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"doctor\.mode"):
        fit(net(), tmp_path, doctor="shout")
    with pytest.raises(UserError, match=r"doctor\.mode"):
        tw.train("iris", {"doctor.mode": "shout"}, out=tmp_path / "x", quiet=True)


def test_a_recipe_is_examined_without_being_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = checkup("wine")
    assert found.verdict == "HEALTHY"
    assert found.facts.loss.guess == pytest.approx(np.log(3), rel=0.05)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("budget", ["1 day", "2 hours", "90 seconds", "7 steps"])
def test_a_recipe_is_examined_whatever_its_budget_counts(budget: str) -> None:
    assert checkup("wine", {"budget": budget}).facts.steps == (
        7 if "steps" in budget else checkup("wine").facts.per_epoch
    )


def test_every_event_is_read_as_it_was_written(tmp_path: Path) -> None:
    seen: list[Event] = []
    run = fit(net(), tmp_path, epochs=2, observers=[lambda e: seen.append(e)])
    examined = [e for e in seen if isinstance(e, Examined)]
    assert len(examined) == 1
    assert repr(run.view.examined) == repr(examined[0])


@pytest.mark.parametrize("header", ["loss,val_loss", "train_loss,eval_loss", "step,train/loss,valid/loss"])
def test_a_table_of_anybody_is_judged(tmp_path: Path, header: str) -> None:
    falling = [f"{1 - i / 20},{v}" for i, v in enumerate((1.0, 0.8, 0.9, 1.0, 1.1))]
    rows = [f"{i},{r}" for i, r in enumerate(falling)] if header.startswith("step") else falling
    (tmp_path / "log.csv").write_text("\n".join([header, *rows]) + "\n")
    assert [f.rule for f in checkup(tmp_path / "log.csv").findings] == ["overfitting"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a,b\n1,2\n", "no column of losses"), ("loss\n1\nx\n", "no number"), ("", "no column of losses")],
)
def test_a_table_that_cannot_be_judged_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        checkup(tmp_path / "log.csv")


def test_a_network_that_learns_far_less_than_simple_models_is_told_why_where_a_symptom_tells(tmp_path: Path) -> None:
    wide = np.concatenate([X, 100 * RNG.normal(size=(400, 1)).astype(np.float32)], 1)
    for name, x, verdict in (("wide", wide, "SUSPECT"), ("sound", wide / wide.std(0), "HEALTHY")):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 2))
        given: dict[str, Any] = {"loss": "cross_entropy", "budget": "240 steps", "lr": 1e-3, "batch_size": 32}
        run = tw.fit(model, (x, Y), **given, valid=0.0, out=tmp_path / name, quiet=True)
        assert run.view.ended is not None
        assert run.view.ended.verdict == verdict
        told = [f for f in run.findings if f.severity != "note"]
        assert [f.rule for f in told] == (["inputs_not_scaled"] if name == "wide" else [])
        assert all(f.evidence["simple models"] > f.evidence["the network"] + 0.25 for f in told)
        assert checkup(run.path).verdict == verdict


def test_a_sound_training_that_somebody_stops_early_is_not_doubted(tmp_path: Path) -> None:
    """A fifth of the labels is chance, so that the loss stays high, and it is asked how much was learned."""
    noisy = np.where(np.random.default_rng(1).random(400) < 0.2, 1 - Y, Y)

    def stops(event: Event) -> Stop | None:
        return Stop("enough") if isinstance(event, StepDone) and event.step >= 300 else None

    given: dict[str, Any] = {"epochs": 400, "save_every": "400 epochs", "valid": 0.0, "observers": [stops]}
    run = fit(net(), tmp_path, noisy, **given, lr=1e-3)
    examined = run.view.examined
    assert run.state == "stopped"
    assert run.view.ended is not None
    assert run.view.ended.verdict == "HEALTHY"
    assert examined is not None
    assert math.isnan(examined.facts.reached) or examined.facts.reached > 0.2
