"""Controls of a repair: blind, repeatable, and on the same data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.doctor.controls import CONTROLS, REPAIRS, at_budget, changed, controls, random_repair, standardized
from benchmarks.doctor.judge import Judged
from benchmarks.doctor.outcome import spelled
from benchmarks.doctor.planted import OPERATORS, planted
from benchmarks.doctor.programs import program
from benchmarks.doctor.repaired import is_repaired
from benchmarks.doctor.report import control_shares
from benchmarks.doctor.zoo import healthy_facts
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


def test_a_control_is_drawn_anew_until_its_steps_are_spent_or_it_is_good_enough() -> None:
    short = replace(line(), epochs=2)  # eight steps
    spent = at_budget("another seed", short, 0, 1.0, 20, goal=2.0)
    assert (spent["draws"], spent["steps"], spent["repaired"]) == (3, 24, False)
    assert at_budget("another seed", line(), 0, 5.0, 10_000, goal=0.5)["draws"] == 1


def test_what_only_guesses_is_not_repaired_however_well_its_fixed_twin_guesses() -> None:
    assert not is_repaired(Judged(0.9, 0.9), 0.95 * 0.93)
    assert is_repaired(Judged(0.93, 0.9), 0.95 * 0.93)
    assert not is_repaired(Judged(float("nan"), 0.5), 0.5)


def test_a_fault_in_the_rows_is_judged_on_the_rows_as_they_were() -> None:
    base = next(facts for facts in healthy_facts() if facts["id"] == "own-wine-one-relu")
    made = {o.what: planted(base, o) for o in OPERATORS if o.name in ("holes", "shuffled") or o.units}
    holes, wide, shuffled = made["NaN in the rows"], made["inputs x1000"], made["labels"]
    assert holes is not None
    assert wide is not None
    assert shuffled is not None
    assert not holes.arrays().x.isfinite().all()
    assert holes.judging().x.isfinite().all()
    assert wide.judging() is wide.arrays()  # whoever learns from other units is asked in these
    assert shuffled.lost
    assert not holes.lost
