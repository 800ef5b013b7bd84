"""Healthy trainings of our own, and faults planted in them that are known to harm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.doctor.case import Case
from benchmarks.doctor.healthy import Recipe, recipes
from benchmarks.doctor.outcome import plainly
from benchmarks.doctor.planted import OPERATORS, Operator, killed, pairs, planted, verdicts
from benchmarks.doctor.programs import Program, program
from benchmarks.doctor.zoo import healthy_facts
from trainwright.runs.recipe import read

ROOT = Path(__file__).resolve().parents[2]
BASES = healthy_facts()


def found(operator: Operator) -> tuple[Program, Program]:
    """The first healthy program that an operator applies to, and what it makes of it."""
    for facts in BASES:
        if "moons" in facts["id"] or "iris" in facts["id"] or "friedman" in facts["id"]:
            broken = planted(facts, operator)
            if broken is not None:
                return program(Case(str(facts["id"]), facts)), broken
    raise AssertionError(f"{operator.name} applies to nothing")


def test_there_are_more_than_two_hundred_and_each_has_a_name_of_its_own() -> None:
    names = [str(facts["id"]) for facts in BASES] + [recipe.id for recipe in recipes()]
    assert len(names) > 200
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name and "/" not in name for name in names)


@pytest.mark.parametrize("facts", BASES[::29], ids=lambda f: f["id"])
def test_a_healthy_program_is_built_without_a_doubt(facts: Any) -> None:
    built = program(Case(str(facts["id"]), facts))
    assert built.doubts == ()
    data = built.arrays()
    assert built.loss(built.module(0)(data.x[:8]), data.y[:8]).isfinite()


def test_no_wave_is_judged_by_a_copy_of_one_that_is_trained_on() -> None:
    data = program(Case("waves", next(f for f in BASES if "waves" in f["id"]))).arrays()
    assert data.x_valid is not None
    rows = torch.cat([data.x, data.x_valid])
    assert len(torch.unique(rows.reshape(len(rows), -1), dim=0)) == len(rows)


def test_every_recipe_can_be_read() -> None:
    for recipe in recipes():
        base = ROOT / str(recipe.base) if str(recipe.base).endswith(".toml") else recipe.base
        assert read(base, dict(recipe.changes)).config.task


def test_a_recipe_is_trained_and_judged_against_its_constant_baseline() -> None:
    told = plainly(Recipe("iris", "iris", {"budget": "20 epochs", "optimizer.lr": 1e-2}), seed=0)
    assert told["learned"] is True
    assert told["valid"] > 0.8
    assert told["baseline"] == pytest.approx(1 / 3, abs=0.1)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: f"{o.name} {o.what}")
def test_an_operator_changes_a_program_and_says_what_is_wrong(operator: Operator) -> None:
    healthy, broken = found(operator)
    assert broken.status == "buggy"
    assert broken.twins == (healthy.id,)
    assert broken.accepted
    one, other = healthy.arrays(), broken.arrays()
    same_data = torch.equal(one.x, other.x) and torch.equal(one.y, other.y)
    first, second = healthy.module(0), broken.module(0)
    same_weights = str(first) == str(second) and all(
        torch.equal(p, q) and p.requires_grad == q.requires_grad
        for p, q in zip(first.parameters(), second.parameters(), strict=True)
    )
    groups = [
        [{k: v for k, v in g.items() if k != "params"} for g in p.optimizer(m).param_groups]
        for p, m in ((healthy, first), (broken, second))
    ]
    told = [
        (p.batch_size, p.epochs, p.loss_name, p.logits, p.bug, type(p.optimizer(m)))
        for p, m in ((healthy, first), (broken, second))
    ]
    assert not (same_data and same_weights and groups[0] == groups[1] and told[0] == told[1])


def test_a_fault_is_real_by_the_study_s_criterion() -> None:
    healthy, worse = [0.9, 0.92, 0.88, 0.91] * 5, [0.8, 0.82, 0.78, 0.81] * 5
    harmful, p, d = killed(healthy, worse)
    assert harmful
    assert p < 1e-6
    assert d == pytest.approx(0.1 / math.sqrt(20 / 19 * 0.0002187), rel=1e-2)
    assert not killed(healthy, healthy)[0]
    assert not killed(worse, healthy)[0]
    assert not killed([0.9, 0.7] * 10, [0.89, 0.71] * 10)[0]
    assert killed([0.9] * 20, [0.5] * 20)[0]


def test_a_fault_with_too_few_runs_is_not_known() -> None:
    _, broken = found(OPERATORS[0])
    runs = [
        {"id": name, "valid": value, "train": 0.5, "baseline": 0.5} for name, value in ((broken.twins[0], 0.9),) * 20
    ]
    assert verdicts([broken], runs) == {broken.id: None}
    runs += [{"id": broken.id, "valid": math.nan, "train": 0.5, "baseline": 0.5}] * 20
    assert verdicts([broken], runs) == {broken.id: True}


def test_the_walk_meets_every_operator() -> None:
    assert {operator.what for _, operator in pairs()} == {operator.what for operator in OPERATORS}
