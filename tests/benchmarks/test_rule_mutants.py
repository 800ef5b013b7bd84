"""Every rule can fail its tests: disabled, inverted, or with a threshold or a comparison changed."""

from __future__ import annotations

import pytest

from benchmarks.rule_edges import EDGES
from benchmarks.rule_mutants import disabled, inverted, mutants_of, noticed, ours, wrong_at_edges

RULES = ours()


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_says_nothing_or_the_contrary_is_noticed_by_its_patients(name: str) -> None:
    assert not noticed(RULES[name])
    assert noticed(disabled(RULES[name]))
    assert noticed(inverted(RULES[name]))


@pytest.mark.parametrize("name", EDGES)
def test_at_the_edges_of_its_clauses_a_rule_says_what_it_must(name: str) -> None:
    assert wrong_at_edges(RULES[name]) == []


def test_small_changes_of_a_rule_are_made_and_mostly_noticed() -> None:
    made = list(mutants_of("momentum_too_high"))
    assert {m.what for m in made} >= {"disabled", "inverted", "condition negated", "Lt -> GtE", "threshold x 100"}
    assert 5 <= sum(m.noticed for m in made) < len(made)  # two numbers made a patient of each: some changes fit both
