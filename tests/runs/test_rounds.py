"""What is tried against a finding, in which order, and what several findings propose together."""

from __future__ import annotations

from typing import Any

import pytest

from trainwright.core.facts import Facts, LayerFacts, LossFacts, OptimizerFacts, Output, Target, Values
from trainwright.core.finding import Edit, Evidence, Finding, Patch
from trainwright.rules.no_gradient import check as no_gradient
from trainwright.rules.patients import patient
from trainwright.rules.remedies import scaled_targets, together, usual
from trainwright.runs.decided import over
from trainwright.runs.recipe import read
from trainwright.runs.remedy import remedies
from trainwright.runs.rounds import after_repair, in_doubt, rounds

LAYERS = (LayerFacts("0", "linear", 8), LayerFacts("1", "sigmoid"), LayerFacts("2", "linear", 8))
FACTS = Facts(
    layers=LAYERS, loss=LossFacts("mse", "numbers", 1.0, 1.0), optimizer=OptimizerFacts("sgd", 0.1), steps=300
)
LOWER = Patch({"optimizer.lr": 0.01})
BETWEEN = Edit("put a ReLU between the layers", ({"name": "activations_between"},))
END = Edit("use cross-entropy", ({"name": "last_activation", "was": "softmax"},), {"task.loss": "cross_entropy"})
OTHER_END = Edit("leave it out", ({"name": "last_activation", "was": "none"},))


def finding(*fixes: Any, rule: str = "rate_too_high", severity: Any = "error") -> Finding:
    return Finding(rule, severity, "", fixes=fixes)


def config() -> Any:
    return read("iris", {"device": "cpu", "optimizer": {"name": "sgd", "lr": 0.1}}).config


def test_several_findings_propose_one_change_of_each_kind_together() -> None:
    found = together(FACTS, [finding(LOWER), finding(END), finding(OTHER_END), finding(BETWEEN, severity="note")])
    assert [f.what for f in found[:2] if isinstance(f, Edit)] == [END.what, BETWEEN.what]  # no second end
    assert [f.what for f in found[2:] if isinstance(f, Edit)] == [
        "use ReLU in place of sigmoid, with weights that fit it"
    ]
    assert together(Facts(), [finding(LOWER)]) == []  # a rate comes with the usual settings


def test_dropout_of_more_than_a_half_is_lowered_with_the_rest() -> None:
    facts = Facts(layers=(LayerFacts("0", "linear", 8), LayerFacts("1", "dropout", option=0.9)))
    assert [f.repairs[0]["name"] for f in together(facts, []) if isinstance(f, Edit)] == ["dropout"]


def test_a_budget_that_was_too_short_goes_with_the_rest_and_needs_a_word() -> None:
    short = finding(Patch({"budget": "1000 steps"}), rule="stopped_early", severity="warning")
    (with_it, *_) = usual(FACTS, together(FACTS, [short]))
    assert with_it.keys["budget"] == "1000 steps"
    assert [r.consent for r in remedies(short, config())] == [True]
    assert remedies(finding(Patch({"budget": "1000 steps"}), rule="below_linear"), config()) == []


def test_first_what_is_proposed_then_everything_at_once_then_longer_and_that_once() -> None:
    bad, considered = Evidence(patient(FACTS, [1.0] * 300).view, FACTS, True), list[str]()
    made = list(rounds(finding(LOWER), [finding(BETWEEN, severity="note")], bad, config(), considered))
    assert [r.longer for r in made] == [1, 1, 2]
    assert [r.what for r in made[0].fixes] == ["optimizer.lr: 0.1 -> 0.01"]
    whole = next(r for r in made[1].fixes if "ReLU between" in r.what)
    assert whole.consent
    assert whole.keys["optimizer"]["name"] == "adam"
    assert [r["name"] for r in whole.keys["repairs"]] == ["activations_between", "activations"]
    assert any(not r.consent for r in made[1].fixes)  # without a word there is something too
    assert len(list(rounds(finding(LOWER), [], bad, config(), considered))) == 1


def test_a_training_that_learns_is_offered_only_what_its_finding_proposes() -> None:
    good = Evidence(patient(FACTS, [0.1] * 300).view, FACTS, True)
    assert len(list(rounds(finding(LOWER), [], good, config(), []))) == 1


def test_the_usual_settings_are_a_last_resort_where_nothing_is_learned() -> None:
    bad = patient(FACTS, [1.0] * 300).view
    assert in_doubt(bad, [])
    assert not in_doubt(bad, ["usual settings"])
    assert not in_doubt(patient(FACTS, [0.1] * 300).view, [])


def test_after_a_repair_other_rates_and_what_was_noted_are_tried() -> None:
    good = Evidence(patient(FACTS, [0.1] * 300, lr=0.1).view, FACTS, True)
    made = after_repair([finding(BETWEEN, severity="note")], good, config())
    assert {"optimizer.lr: 0.1 -> 0.3", "optimizer.lr: 0.1 -> 0.0333"} <= {r.what for r in made}
    assert any(r.keys.get("repairs") for r in made)


@pytest.mark.parametrize(
    ("old", "new", "both"),
    [
        ({"optimizer.lr": 5}, {"optimizer": {"name": "adam"}}, ["optimizer"]),
        ({"optimizer.lr": 5, "optimizer": 1}, {"optimizer.lr": 2}, ["optimizer", "optimizer.lr"]),
        ({"clip": 1, "init": 2}, {"clip": 3}, ["init", "clip"]),
    ],
)
def test_what_is_set_later_is_set_over_what_was_set_before(old: Any, new: Any, both: list[str]) -> None:
    assert list(over(old, new)) == both
    assert over(old, new)[both[-1]] == list(new.values())[-1]


def test_targets_of_an_absolute_error_are_scaled_for_it() -> None:
    target, output = Target(Values((1,)), "numbers"), Output(Values((1,)))
    for name, power in (("mse", None), ("mae", 1), ("huber", 1)):
        facts = Facts(target=target, output=output, loss=LossFacts(name, "numbers"))
        assert scaled_targets(facts).repairs[0].get("power") == power


def test_a_gradient_that_was_there_and_is_gone_asks_for_shorter_steps() -> None:
    alive = Facts(layers=(LayerFacts("a", "linear", 9, gradient=0.1),), loss=LossFacts("mse", "numbers", 1.0, 1.0))
    gone = no_gradient(patient(alive, [1.0] * 300, norms=[0.0] * 300, lr=2.0))
    assert gone is not None
    assert "was not at the start" in gone.what
    assert any(isinstance(f, Patch) and f.changes["optimizer.lr"] < 2.0 for f in gone.fixes if isinstance(f, Patch))
