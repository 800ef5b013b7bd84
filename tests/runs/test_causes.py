"""Which cause a change takes away, and when a trial corrects the cause that was named."""

from __future__ import annotations

from typing import Any

import pytest

from trainwright.core.events import Branch
from trainwright.core.finding import Edit, Finding, Patch
from trainwright.runs.causes import CAUSES, corrected, said, taken_away
from trainwright.runs.recipe import read
from trainwright.runs.remedy import Remedy, remedies
from trainwright.runs.trials import _told
from trainwright.runs.weighing import Weighed


@pytest.mark.parametrize(
    ("keys", "repairs", "cause"),
    [
        ({"optimizer.lr": 0.001}, [], "rate_too_high"),
        ({"optimizer.lr": 1.0}, [], "rate_too_low"),
        ({"init": {"name": "kaiming_normal"}}, [], "weights_out_of_scale"),
        ({"init": {"name": "kaiming_normal"}, "optimizer.lr": 0.001}, [], ""),
        ({"optimizer": {"name": "adam"}}, [], ""),
        ({"freeze": [], "unfreeze": {}}, [], "weights_at_rest"),
        ({}, [{"name": "standard_inputs", "layer": "0"}], "inputs_not_scaled"),
        ({}, [{"name": "standard_inputs"}, {"name": "standard_targets"}], ""),
        ({"init": {"name": "kaiming_normal"}}, [{"name": "activations", "by": "relu"}], "vanishing_gradient"),
        ({}, [{"name": "activations", "by": "leaky_relu"}], "dead_units"),
        ({}, [{"name": "answers", "count": 3}], ""),
    ],
)
def test_a_change_takes_away_one_cause_or_none_that_is_known(keys: Any, repairs: Any, cause: str) -> None:
    assert taken_away(keys, repairs, 0.1) == cause
    assert not cause or cause in CAUSES


def fix(cause: str) -> Remedy:
    return Remedy(cause or "everything", {}, False, True, cause)


LOWER, DRAWN, LEAKY, ALL = fix("rate_too_high"), fix("weights_out_of_scale"), fix("dead_units"), fix("")


@pytest.mark.parametrize(
    ("rule", "tried", "sure", "cause"),
    [
        ("dead_units", [LEAKY, LOWER], [LOWER], "rate_too_high"),
        ("dead_units", [LEAKY, LOWER], [LOWER, LEAKY], ""),  # either helps: nothing is contradicted
        ("dead_units", [LOWER], [LOWER], ""),  # what would take it away was not tried
        ("rate_too_high", [LOWER, DRAWN], [DRAWN], "weights_out_of_scale"),
        ("rate_too_high", [LOWER, DRAWN], [LOWER], ""),
        ("rate_too_high", [LOWER, ALL], [ALL], ""),  # everything at once tells nothing
        ("symmetric_weights", [DRAWN], [DRAWN], ""),  # the same by another name
        ("not_learning", [LOWER, DRAWN], [LOWER], "rate_too_high"),
        ("not_learning", [LOWER, DRAWN], [], ""),
    ],
)
def test_a_trial_corrects_the_cause_where_it_contradicts_it(rule: str, tried: Any, sure: Any, cause: str) -> None:
    assert corrected(rule, tried, sure) == cause


def test_a_correction_says_what_was_named_and_why_it_is_not() -> None:
    assert said("dead_units", "") == ""
    told = said("dead_units", "rate_too_high")
    assert "a learning rate that is too high (rate_too_high), not dead_units" in told
    assert said("not_learning", "rate_too_high").endswith("a learning rate that is too high (rate_too_high)")


def test_the_fixes_of_a_finding_know_their_causes() -> None:
    config = read("iris", {"device": "cpu", "optimizer.lr": 0.5}).config
    anew = Patch({"init": {"name": "kaiming_normal"}})
    scaled = Edit("scale", ({"name": "standard_inputs", "layer": "0"},))
    found = remedies(Finding("x", "error", "", fixes=(Patch({"optimizer.lr": 0.05}), anew, scaled)), config)
    assert [r.cause for r in found] == ["rate_too_high", "weights_out_of_scale", "inputs_not_scaled"]


def test_a_change_that_could_not_be_tried_is_told_beside_the_one_that_won() -> None:
    branches = (
        Branch("no change", 1.0),
        Branch("another seed", 1.1),
        Branch("a lower rate", 0.2),
        Branch("another activation", float("inf"), 0.0, "RuntimeError: no copy of this can be made"),
    )
    told = _told(branches, "a lower rate", Weighed(0.8, 0.1, True, False), "200 steps", "the loss")
    assert "it is 0.2" in told
    assert "“another activation” (RuntimeError: no copy of this can be made)" in told
    won = _told(branches[:3], "a lower rate", Weighed(0.8, 0.1, True, False), "200 steps", "the loss")
    assert "came to nothing" not in won
