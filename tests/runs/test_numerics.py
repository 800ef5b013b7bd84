"""A run that meets NaN: skipped, gone back, stopped; told in the run; and exact again after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

import trainwright as tw
from trainwright.core.errors import NumericsError
from trainwright.core.events import Event, RunStarted, StepDone, StepSkipped, load
from trainwright.engine import checkpoint
from trainwright.runs import recover
from trainwright.runs.directory import EVENTS
from trainwright.tools.checkup import checkup

NAN = math.nan


class Items(Dataset[Any]):
    """Numbers, some of which are spoilt."""

    def __init__(self, spoilt: tuple[int, ...] = (), n: int = 96) -> None:
        g = torch.Generator().manual_seed(0)
        self.x = torch.randn(n, 4, generator=g)
        self.y = self.x.sum(1, keepdim=True)
        for index in spoilt:
            self.x[index, 1] = NAN

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


class Fragile(nn.Module):
    """Gives NaN for a while: whenever it is called in training with the numbers of some calls."""

    def __init__(self, bad: Callable[[float], bool] = lambda rate: False) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 1))
        self.bad = bad

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def net() -> Fragile:
    torch.manual_seed(0)
    return Fragile()


def unstable(bad: range, least: float = 0.0) -> Any:
    """A step that is NaN at some steps, as long as the learning rate is above the least."""

    def step(state: Any, task: Any, group: Any, runtime: Any, /, *, clip: Any, multiplier: float, progress: Any) -> Any:
        def loss(module: nn.Module, batch: tw.Batch, progress: tw.Progress) -> tw.Loss:
            found = task.loss(module, batch, progress)
            worse = NAN if progress.step in bad and multiplier > least else 1.0
            return tw.Loss(found.sum * worse)

        return tw.train_step(
            state, task, group, runtime, clip=clip, multiplier=multiplier, progress=progress, loss=loss
        )

    return step


CALL: dict[str, Any] = {
    "loss": "mse",
    "budget": "40 steps",
    "batch_size": 16,
    "lr": 1e-2,
    "eval_every": "10 steps",
    "save_every": "10 steps",
    "log_every": 4,
    "ema": 0.9,
    "quiet": True,
}


def trained(out: Path, **more: Any) -> tw.Run:
    return tw.fit(net(), Items(), valid=Items(n=32), out=out, **{**CALL, **more})


def state_of(run: tw.Run) -> dict[str, Tensor]:
    newest = checkpoint.at(run.path / "checkpoints", checkpoint.steps(run.path / "checkpoints")[-1])
    return {f"{p.name}/{k}": v for p in newest.glob("*.safetensors") for k, v in load_file(p).items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def events(run: tw.Run) -> list[Event]:
    return [load(line) for line in (run.path / EVENTS).read_text().splitlines()]


def test_a_record_that_is_not_finite_is_named_and_never_reaches_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"quiet": False, "budget": "6 steps"}
    run = tw.fit(net(), Items(spoilt=(80,)), valid=Items(n=32), out=tmp_path / "run", **{**CALL, **more})
    skipped = [e for e in events(run) if isinstance(e, StepSkipped)]
    assert [e.suspects for e in skipped] == [(80,)]
    assert 80 in skipped[0].records
    assert skipped[0].samples == 16
    assert skipped[0].what == "the loss was NaN"
    lines = [line for line in capsys.readouterr().out.splitlines() if "was skipped" in line]
    assert len(lines) == 1
    assert f"step {skipped[0].step} was skipped: the loss was NaN; not finite in themselves: records 80" in lines[0]
    assert all(bool(x.isfinite().all()) for x in state_of(run).values() if x.is_floating_point())
    assert [e.step for e in run.view.skipped] == [skipped[0].step]
    assert all(math.isfinite(row["train/loss"]) for row in run.history)


def test_a_run_goes_back_with_half_the_rate_and_every_step_counts_once(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", step_fn=unstable(range(23, 30), least=0.5))
    assert run.state == "finished"
    starts = [e for e in events(run) if isinstance(e, RunStarted)]
    assert [(e.attempt, e.from_step) for e in starts] == [(1, 0), (2, 20)]
    assert "went back from step 27 with 0.5 of the learning rate: the loss was NaN: 4 steps in a row" in starts[1].note
    assert "(steps 24, 25, 26, 27; records of the last one: " in starts[1].note
    assert sorted(run.view.losses) == list(range(1, 41))
    assert {e.lr for e in run.view.steps if e.step > 20} == {5e-3}
    assert {e.lr for e in run.view.steps if e.step <= 20} == {1e-2}
    assert [e.step for e in run.view.evals] == [10, 20, 30, 40]
    assert [a["from_step"] for a in run.manifest["attempts"]] == [0, 20]
    assert run.view.skipped == []
    assert all(math.isfinite(v) for v in run.view.losses.values())
    told = [(e.step, e.finding) for e in run.view.findings if e.finding.rule == "not_finite_steps"]
    assert told  # of steps that count no more
    again = checkup(run.path)
    assert [(s, f) for s, f in again.found if f.rule == "not_finite_steps"] == told
    assert run.view.ended is not None
    assert again.verdict == run.view.ended.verdict


@pytest.mark.parametrize("first", [5, 23])  # before and after the first checkpoint
@pytest.mark.parametrize("at", [4, 8, 22, 26, 32])  # before, at, within and after what made it go back
def test_an_interrupted_run_that_went_back_ends_as_if_nothing_had_happened(first: int, at: int, tmp_path: Path) -> None:
    step = unstable(range(first, first + 7), least=0.5)
    whole = trained(tmp_path / "whole", step_fn=step)

    def tired(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) and event.step == at else None

    run = trained(tmp_path / "run", step_fn=step, observers=[tired], log_every=2)
    assert run.state == "interrupted"
    again = trained(tmp_path / "run", step_fn=step, resume=run.path)
    assert again.state == "finished"
    assert equal(state_of(whole), state_of(again))
    assert again.view.losses == whole.view.losses
    assert [dict(e.metrics) for e in again.view.evals] == [dict(e.metrics) for e in whole.view.evals]
    assert again.metrics == whole.metrics
    told = [(r.path / "checkpoints") for r in (whole, again)]
    states = [checkpoint.load(checkpoint.at(f, 40)) for f in told]
    assert states[0]["counters"] == states[1]["counters"]
    assert states[0]["counters"]["share"] == 0.5


def test_what_was_found_behind_the_step_it_went_back_to_is_told_after_an_interruption(tmp_path: Path) -> None:
    step = unstable(range(23, 30), least=0.5)
    whole = trained(tmp_path / "whole", step_fn=step)
    back: list[RunStarted] = []

    def tired(event: Event) -> tw.Stop | None:
        back.extend([event] if isinstance(event, RunStarted) and event.again else [])
        return tw.Stop("enough", "interrupted") if back and isinstance(event, StepDone) and event.step == 22 else None

    run = trained(tmp_path / "run", step_fn=step, observers=[tired], log_every=2)
    assert (run.state, run.view.step) == ("interrupted", 22)
    again = trained(tmp_path / "run", step_fn=step, resume=run.path)
    told, at_once = ([e.finding.rule for e in r.view.findings if e.step > 20] for r in (again, whole))
    assert "not_finite_steps" in told
    assert told == at_once
    assert [f.rule for s, f in checkup(again.path).found if s > 20] == told
    assert again.view.ended is not None
    assert whole.view.ended is not None
    assert again.view.ended.verdict == whole.view.ended.verdict == checkup(again.path).verdict


def test_before_the_first_checkpoint_it_goes_back_to_the_very_start(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", step_fn=unstable(range(2, 9), least=0.5))
    assert [a.from_step for a in run.view.attempts] == [0, 0]
    slow = trained(tmp_path / "slow", lr=5e-3)
    assert equal(
        {k: v for k, v in state_of(run).items() if k.startswith("model")},
        {k: v for k, v in state_of(slow).items() if k.startswith("model")},
    )


def test_a_large_state_to_go_back_to_lies_on_the_disk_until_there_is_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = unstable(range(5, 12), least=0.5)
    usual = trained(tmp_path / "usual", step_fn=step)
    monkeypatch.setattr(recover, "_LARGE", 0)
    folder, there = tmp_path / "run" / "checkpoints", []

    def tired(event: Event) -> tw.Stop | None:
        if not isinstance(event, StepDone):
            return None
        there.append(checkpoint.steps(folder))
        return tw.Stop("enough", "interrupted") if event.step == 4 else None

    trained(tmp_path / "run", step_fn=step, observers=[tired])
    assert there == [[0]]
    assert checkpoint.steps(folder) == [0, 4]
    run = trained(tmp_path / "run", step_fn=step, resume=tmp_path / "run")
    assert [a.from_step for a in run.view.attempts] == [0, 4, 0]
    assert equal(state_of(run), state_of(usual))
    assert run.view.losses == usual.view.losses
    assert checkpoint.steps(folder) == checkpoint.steps(usual.path / "checkpoints")
    short = trained(tmp_path / "short", budget="8 steps", save_every="100 steps")
    assert checkpoint.steps(short.path / "checkpoints") == [8]


def test_a_second_time_it_goes_further_back_and_then_it_ends_with_exit_code_77(tmp_path: Path) -> None:
    with pytest.raises(NumericsError) as caught:
        trained(tmp_path / "run", step_fn=unstable(range(23, 30)))
    said = str(caught.value)
    assert "although it went back 2 times, to 0.25 of the learning rate at last" in said
    assert "the loss was NaN: 4 steps in a row without a finite loss and gradient" in said
    assert "(steps 24, 25, 26, 27; records of the last one:" in said
    assert caught.value.exit_code == 77
    run = tw.open(tmp_path / "run", model=net())
    assert run.state == "failed"
    first, second, third = (e for e in events(run) if isinstance(e, RunStarted))
    assert (first.from_step, second.from_step, third.from_step) == (0, 20, 20)


def test_the_second_time_it_goes_back_to_the_best_where_that_is_older(tmp_path: Path) -> None:
    """The validation part is all noise, so its best is an early one."""
    noise = Items(n=32)
    noise.y = torch.randn(32, 1, generator=torch.Generator().manual_seed(3))
    with pytest.raises(NumericsError):
        tw.fit(net(), Items(), valid=noise, out=tmp_path / "run", step_fn=unstable(range(33, 40)), **CALL)
    run = tw.open(tmp_path / "run", model=net())
    best = max(e.step for e in run.view.evals if e.best)
    assert best < 30
    assert [e.from_step for e in events(run) if isinstance(e, RunStarted)] == [0, 30, best]


@pytest.mark.parametrize("policy", [{"on_nan": "skip"}, {"on_nan": "stop"}, {"nan_rollbacks": 0}])
def test_the_policy_is_the_persons(policy: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(NumericsError):
        trained(tmp_path / "run", step_fn=unstable(range(23, 30)), **policy)
    found = events(tw.open(tmp_path / "run", model=net()))
    assert sum(isinstance(e, RunStarted) for e in found) == 1
    expected = 1 if policy.get("on_nan") == "stop" else 4
    assert sum(isinstance(e, StepSkipped) for e in found) == expected


def test_more_skips_may_be_allowed(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", step_fn=unstable(range(23, 30)), nan_skips=7)
    assert run.state == "finished"
    assert [e.step for e in run.view.skipped] == list(range(24, 31))


def test_an_exploding_rate_is_cured_by_going_back(tmp_path: Path) -> None:
    """Plain gradient descent on a steep problem: the weights double and overflow until the rate is small enough."""
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1)) * 3
    torch.manual_seed(0)
    line = nn.Linear(4, 1)
    run = tw.fit(
        line, (x, x.sum(1, keepdim=True)), loss="mse", optimizer="sgd", lr=0.16, budget="400 steps", batch_size="all",
        log_every=50, save_every="400 steps", out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    assert run.state == "finished"
    assert len(run.view.attempts) > 1
    assert run.view.losses[400] < 1e-3


def test_a_plateau_and_patience_begin_again_where_the_run_went_back(tmp_path: Path) -> None:
    more = {"schedule": {"name": "plateau", "patience": 0, "min_change": 1e9, "factor": 0.8}, "patience": 9}
    run = trained(tmp_path / "run", step_fn=unstable(range(23, 30), least=0.5), **more)
    rates = {e.step: e.lr for e in run.view.steps}
    assert rates[20] == pytest.approx(1e-2)  # judged at 10 for the first time
    assert rates[28] == pytest.approx(1e-2 * 0.8 * 0.5)
    assert rates[40] == pytest.approx(1e-2 * 0.8**2 * 0.5)
    whole = checkpoint.load(checkpoint.at(run.path / "checkpoints", 40))
    assert whole["best"]["waited"] < 4


def test_a_rate_that_a_person_sets_when_resuming_is_what_they_set(tmp_path: Path) -> None:
    trained(tmp_path / "run", step_fn=unstable(range(23, 30), least=0.5))
    same = trained(tmp_path / "run", step_fn=unstable(range(0)), resume=tmp_path / "run", budget="44 steps")
    assert {e.lr for e in same.view.steps if e.step > 40} == {5e-3}
    other = trained(tmp_path / "run", step_fn=unstable(range(0)), resume=tmp_path / "run", budget="48 steps", lr=2e-2)
    assert {e.lr for e in other.view.steps if e.step > 44} == {2e-2}


def test_a_recipe_says_what_is_done(tmp_path: Path) -> None:
    recipe = {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "iris", "valid": 0.2},
        "model": {"name": "mlp", "width": 64, "depth": 6},
        "optimizer": {"name": "sgd", "lr": 1e6},
        "budget": "20 steps",
        "log_every": 3,
    }
    with pytest.raises(NumericsError, match="although it went back 2 times"):
        tw.train(recipe, out=tmp_path / "run", quiet=True)
    with pytest.raises(NumericsError, match="the training cannot go on: the"):
        tw.train(recipe, {"on_nan": "stop"}, out=tmp_path / "stop", quiet=True)
    assert len(tw.open(tmp_path / "stop").view.attempts) == 1
