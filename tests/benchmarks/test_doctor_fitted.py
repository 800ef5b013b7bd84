"""Programs trained by tw.fit as their author would have called it, and what is read of their runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.doctor.fitted import fit_record, recipe_record, why_not
from benchmarks.doctor.healthy import Recipe
from benchmarks.doctor.plain import run
from benchmarks.doctor.programs import Bug, Program, program
from benchmarks.doctor.report import scores
from tests.benchmarks.test_doctor_outcome import line
from tests.benchmarks.test_doctor_programs import case


def test_a_program_learns_by_fit_as_it_does_by_its_own_loop() -> None:
    told = fit_record(line(), 0)
    assert told["learned"] is True
    assert (told["steps"], told["state"]) == (120, "finished")
    assert [found for found in told["findings"] if found["severity"] != "note"] == []


@pytest.mark.parametrize("schedule", ["StepLR gamma .7 per epoch", "ExponentialLR 0.9", "cosine"])
def test_a_schedule_by_epochs_is_followed(schedule: str) -> None:
    facts = {"optimizer": {"name": "sgd", "lr": 0.1, "schedule": schedule}}
    base = line()
    held = program(case(**facts, epochs=30)).schedule
    assert fit_record(replace(base, schedule=held), 0)["learned"] is True


def test_rows_in_their_own_order_stay_in_it() -> None:
    assert fit_record(replace(line(), shuffle=False, epochs=3), 0)["steps"] == 12


def test_a_loop_with_a_bug_of_its_own_is_watched() -> None:
    told = fit_record(replace(line(), bug=Bug(clears=False)), 0)
    assert "loop" in told["loop"]
    assert told["steps"] == 120
    assert "gradients_not_cleared" in {found["rule"] for found in told["findings"]}
    lbfgs: Program = replace(line(), optimizer=lambda model: torch.optim.LBFGS(model.parameters()))
    assert "several times" in why_not(lbfgs)


def test_what_was_not_run_is_not_counted() -> None:
    others = [{"id": "a", "status": "buggy", "left_out": "why"}, {"id": "b", "status": "buggy", "peers": {}}]
    assert scores(others)["detected"].programs == 0  # type: ignore[union-attr]


def test_a_refusal_is_a_finding_with_its_row() -> None:
    wide = [{"type": "dense", "units": 3}]
    told = fit_record(program(case(layers=wide, loss="mean_squared_error", task="regression")), 0)
    assert told["learned"] is False
    assert (told["findings"][0]["rule"], told["findings"][0]["rows"]) == ("refused", [16])


def test_a_run_that_cannot_go_on_says_where_it_ended() -> None:
    hopeless = {"optimizer": {"name": "sgd", "lr": 1e30}, "epochs": 50}
    told = fit_record(program(case(**hopeless, loss="mean_squared_error", layers=[{"type": "dense", "units": 1}])), 0)
    assert told["learned"] is False
    assert told["findings"][-1]["rule"] == "nonfinite"


def test_a_recipe_is_read_in_the_same_way() -> None:
    told = recipe_record(Recipe("iris", "iris", {"budget": "10 epochs", "optimizer.lr": 1e-2}), 0)
    assert told["learned"] is True
    assert told["steps"] == 70


def test_something_may_be_open_around_the_loop() -> None:
    seen: list[Any] = []

    @contextmanager
    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        seen.append((type(model), type(optimizer)))
        yield
        seen.append("closed")

    run(replace(line(), epochs=1), 0, beside=watch)
    assert seen == [(nn.Sequential, torch.optim.SGD), "closed"]
