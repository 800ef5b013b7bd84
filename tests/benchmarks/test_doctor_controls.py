"""Controls of a repair: blind, repeatable, and on the same data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.doctor.controls import CONTROLS, REPAIRS, changed, controls, random_repair, standardized
from benchmarks.doctor.outcome import spelled
from benchmarks.doctor.programs import program
from benchmarks.doctor.report import control_shares
from tests.benchmarks.test_doctor_outcome import line
from tests.benchmarks.test_doctor_programs import case


def test_each_control_is_run_and_repeats_itself() -> None:
    short = replace(line(), epochs=2)
    first, again = controls(short, 0), controls(short, 0)
    assert set(first["controls"]) == set(CONTROLS)
    assert spelled(first) == spelled(again)
    assert first["baseline"] == 0


def test_another_seed_draws_another_repair() -> None:
    short = replace(line(), epochs=1)
    assert len({random_repair(short, seed, 1.0)[1] for seed in range(8)}) > 1


@pytest.mark.parametrize("name", [name for name in REPAIRS if name != "standardize"])
def test_a_repair_gives_a_program_that_runs_or_says_that_it_changes_nothing(name: str) -> None:
    layers = [
        {"type": "dense", "units": 3, "activation": "tanh"},
        {"type": "dropout", "rate": 0.9},
        {"type": "dense", "units": 1, "activation": "relu"},
    ]
    subject = program(case(layers=layers, optimizer={"name": "sgd", "lr": 0.01}))
    repaired = changed(subject, REPAIRS[name])
    assert repaired is not None
    data = repaired.arrays()
    assert data.x is subject.arrays().x
    assert repaired.loss(repaired.module(0)(data.x), data.y).isfinite()
    assert changed(repaired, lambda facts: facts) is None


def test_standardized_inputs_have_mean_0_and_deviation_1() -> None:
    scaled = standardized(line())
    assert scaled is not None
    x = scaled.arrays().x
    torch.testing.assert_close((x.mean(0), x.std(0)), (torch.zeros(1), torch.ones(1)), atol=1e-5, rtol=1e-5)


def test_controls_are_measured_as_repairs_are() -> None:
    told = {"seed": 0, "status": "buggy", "baseline": 0.5}
    records = [
        {**told, "id": "a", "controls": {"another seed": {"metric": 0.89}, "random search": {"metric": 0.6}}},
        {**told, "id": "b", "controls": {"another seed": {"metric": 0.5}, "random search": {"metric": 0.9}}},
        {**told, "id": "without a twin", "controls": {"another seed": {"metric": 1.0}}},
    ]
    shares = control_shares(records, {"a": 0.9, "b": 0.9})
    assert {name: told["repaired"].value for name, told in shares.items()} == {
        "another seed": 0.5,
        "random search": 0.5,
    }
