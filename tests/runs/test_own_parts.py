"""A person's own parts: from Python any callable, from a recipe a file; each trains, each mistake is one message."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.events import EvalDone, Event, StepDone

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def fit(tmp_path: Path, **options: Any) -> tw.Run:
    chosen: dict[str, Any] = {"loss": "cross_entropy", "epochs": 5, "lr": 0.02, "log_every": 1, "quiet": True}
    return tw.fit(options.pop("model", None) or net(), (X, Y), **{**chosen, "out": tmp_path / "run", **options})


def learned(run: tw.Run) -> bool:
    curve = list(run.view.losses.values())
    return run.state == "finished" and curve[-1] < curve[0]


# --- schedules -------------------------------------------------------------------------------------------------------


def test_a_function_of_step_and_steps_is_a_schedule(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []

    def note(event: Event) -> None:
        if isinstance(event, StepDone):
            seen.append((event.step, event.lr))

    run = fit(tmp_path, schedule=lambda step, steps: 1 - step / (2 * steps), observers=[note])
    steps = run.view.step
    assert learned(run)
    assert [lr for _, lr in seen] == pytest.approx([0.02 * (1 - s / (2 * steps)) for s in range(steps)])
    assert run.config["schedule"] == {"name": "own"}


@pytest.mark.parametrize(
    "make",
    [
        partial(lr_scheduler.StepLR, step_size=3, gamma=0.5),
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=20),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 10, 0.001),
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [lr_scheduler.ConstantLR(optimizer, 0.1, 3), lr_scheduler.ExponentialLR(optimizer, 0.9)],
            milestones=[3],
        ),
    ],
    ids=["step", "one cycle", "cosine", "sequential"],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # torch's own SequentialLR
def test_torchs_schedulers_give_the_rates_they_give_in_torch(make: Callable[..., Any], tmp_path: Path) -> None:
    seen: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, StepDone):
            seen.append(event.lr)

    assert learned(fit(tmp_path, schedule=make, budget="20 steps", epochs=None, observers=[note]))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=0.02, momentum=0.9)
    scheduler, wanted = make(optimizer), []
    for _ in range(20):
        wanted.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(wanted) < 20:
            scheduler.step()
    assert seen == pytest.approx(wanted, rel=1e-9)


def test_a_run_with_a_schedule_of_ones_own_resumes_to_the_same_weights(tmp_path: Path) -> None:
    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) and event.step == 7 else None

    make = partial(lr_scheduler.ExponentialLR, gamma=0.8)
    data: dict[str, Any] = {"loss": "cross_entropy", "epochs": 10, "batch_size": 16, "log_every": 1, "quiet": True}
    tw.fit(whole := net(), (X, Y), schedule=make, out=tmp_path / "whole", **data)
    part = tw.fit(net(), (X, Y), schedule=make, out=tmp_path / "part", observers=[stop], **data)
    tw.fit(again := net(), (X, Y), schedule=make, resume=part.path, **data)
    assert all(map(torch.equal, whole.parameters(), again.parameters()))


def broken(step: int, steps: int) -> float:
    raise KeyError("rate")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (lambda step, steps: math.nan, r"schedule: gives nan at step 0 of 10; return a finite number, 0 or more"),
        (lambda step, steps: -1 if step == 7 else 1, "schedule: gives -1 at step 7 of 10"),
        (lambda step, steps: "fast", r"schedule: gives 'fast' \(str\)"),
        (lambda step, steps: None, r"schedule: gives None \(NoneType\)"),
        (lambda step, steps: 1 / (8 - step), r"schedule: raised ZeroDivisionError.*; look at test_own_parts.py, line"),
        (broken, r"schedule: raised KeyError: 'rate'; look at test_own_parts.py, line"),
        (3, "schedule: 3 is no schedule"),
        ("slow", "no schedule is named 'slow'"),
        (lambda optimizer: 0.5, "schedule: made a float of the optimizer"),
        (lr_scheduler.ReduceLROnPlateau, "waits for evaluations; write schedule='plateau'"),
    ],
)
def test_what_is_no_schedule_is_told_before_the_first_step(schedule: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        fit(tmp_path, schedule=schedule, budget="10 steps", epochs=None)
    assert not (tmp_path / "run").exists()


def test_a_scheduler_that_is_made_already_is_told(tmp_path: Path) -> None:
    made = lr_scheduler.StepLR(torch.optim.SGD(net().parameters(), lr=0.1), 3)
    with pytest.raises(UserError, match="lambda optimizer: StepLR"):
        fit(tmp_path, schedule=made)


def test_a_scheduler_that_moves_groups_apart_is_told(tmp_path: Path) -> None:
    model = net()
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.2}]
    apart = partial(lr_scheduler.LambdaLR, lr_lambda=[lambda s: 1.0, lambda s: 0.9**s])
    with pytest.raises(UserError, match="LambdaLR moves the groups of weights apart"):
        fit(tmp_path, model=model, optimizer=torch.optim.SGD(groups), lr=None, schedule=apart)


# --- losses and optimizers -------------------------------------------------------------------------------------------


def margin(output: Tensor, target: Tensor) -> Tensor:
    return torch.relu(1 - (2.0 * target - 1) * (output[:, 1] - output[:, 0]))


def test_a_function_is_a_loss(tmp_path: Path) -> None:
    assert learned(fit(tmp_path, loss=margin))


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda o, t: o, r"loss: <lambda> returned shape \(8, 2\) for 8 samples; return one number per sample"),
        (lambda o, t: 0.5, "loss: <lambda> returned float; return a tensor"),
        (lambda o: o.sum(), r"loss, <lambda>, ?: raised TypeError: .*2 were given"),
        (
            lambda o, t: torch.nn.functional.mse_loss(o, t.nope),
            r"raised AttributeError.*look at test_own_parts.py, line",
        ),
    ],
)
def test_what_is_no_loss_is_told_before_anything_is_written(loss: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        fit(tmp_path, loss=loss)
    assert not (tmp_path / "run").exists()


def test_a_function_of_the_weights_makes_an_optimizer(tmp_path: Path) -> None:
    assert learned(fit(tmp_path, optimizer=lambda weights: torch.optim.NAdam(weights, lr=0.02), lr=None))
    with pytest.raises(UserError, match=r"optimizer: made a list; return a torch\.optim\.Optimizer"):
        fit(tmp_path / "list", optimizer=list, lr=None)


# --- observers -------------------------------------------------------------------------------------------------------


def test_an_observer_that_raises_ends_the_run_with_one_message_and_is_told_nothing_more(tmp_path: Path) -> None:
    told: list[str] = []

    def faulty(event: Event) -> None:
        told.append(type(event).__name__)
        if isinstance(event, EvalDone):
            raise IndexError("no such row")

    with pytest.raises(
        UserError, match=r"observer faulty, told of EvalDone, ?: raised IndexError: no such row; look at"
    ):
        fit(tmp_path, observers=[faulty])
    assert told[-1] == "EvalDone"
    run = tw.open(tmp_path / "run")
    assert run.state == "failed"
    assert run.view.ended is not None
    assert "no such row" in run.view.ended.reason


def test_an_observer_that_answers_something_else_is_told(tmp_path: Path) -> None:
    def chatty(event: Event) -> Any:
        return True

    with pytest.raises(UserError, match=r"observer chatty: returned True \(bool\); return None, or tw.Stop\(why\)"):
        fit(tmp_path, observers=[chatty])
    with pytest.raises(UserError, match="observers: 'me' is no observer"):
        fit(tmp_path / "text", observers=["me"])


# --- from a file that a recipe names ---------------------------------------------------------------------------------


# --- a run with parts of ones own, opened again ----------------------------------------------------------------------


def halved(step: int, steps: int) -> float:
    return 0.5


def fitted(tmp_path: Path, **options: Any) -> tw.Run:
    """Interrupted after four steps."""

    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) and event.step == 4 else None

    return fit(tmp_path, observers=[stop], **options)


def test_a_run_says_which_of_its_parts_were_code_and_must_be_brought_again(tmp_path: Path) -> None:
    parts = {"loss": margin, "schedule": halved, "metrics": {"always": lambda output, target: 1.0}}
    run = fitted(tmp_path, **parts)
    assert run.manifest["own"] == ["loss", "schedule", "metrics.always"]
    needs = r"tw\.fit\(net, data, …, resume=.*its loss, its schedule, its metrics\.always are code of yours too"
    with pytest.raises(UserError, match=needs):
        tw.resume(run.path, quiet=True)
    with pytest.raises(UserError, match=r"tw\.open\(.*, model=net\)"):
        tw.open(run.path).predict(X[:2])
    assert len(tw.open(run.path, model=net()).predict(X[:2])) == 2  # predictions need none of them
    again = fit(tmp_path, resume=run.path, out=None, **parts)
    assert again.state == "finished"


def test_a_run_without_such_parts_says_nothing_of_them(tmp_path: Path) -> None:
    run = fitted(tmp_path)
    assert run.manifest["own"] == []
    with pytest.raises(UserError, match=r"with what it was called with$"):
        tw.resume(run.path, quiet=True)


@pytest.mark.parametrize(
    ("began", "goes_on", "said"),
    [
        ({"loss": margin}, {}, "loss: is 'cross_entropy', but this run began with one of your own"),
        ({}, {"loss": margin}, "loss: is code of yours, but this run began with 'cross_entropy'"),
        ({"schedule": halved}, {}, "schedule: is 'constant', but this run began with one of your own; give it that"),
        (
            {},
            {"optimizer": torch.optim.NAdam, "lr": None},
            "optimizer: is code of yours, but this run began with 'adamw'",
        ),
        ({"optimizer": "sgd"}, {"optimizer": "lion"}, "optimizer: is 'lion', but this run began with 'sgd'"),
    ],
)
def test_a_run_goes_on_with_what_it_began_with(began: Any, goes_on: Any, said: str, tmp_path: Path) -> None:
    run = fitted(tmp_path, **began)
    with pytest.raises(UserError, match=said):
        fit(tmp_path, resume=run.path, out=None, **goes_on)


def test_another_schedule_by_name_may_take_over(tmp_path: Path) -> None:
    run = fitted(tmp_path, schedule="linear")
    assert fit(tmp_path, resume=run.path, out=None, schedule="cosine").state == "finished"
