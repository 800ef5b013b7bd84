"""Every rule catches its sick patient and leaves its healthy one alone; and the diagnosis says causes, not symptoms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from trainwright.core.events import (
    Difference,
    Event,
    Examined,
    Found,
    Probed,
    RunEnded,
    RunStarted,
    StepDone,
    StepSkipped,
    advance,
    dump,
    load,
)
from trainwright.core.facts import Facts, LayerFacts, LossFacts, OptimizerFacts, Output, Target, Values
from trainwright.core.finding import Finding
from trainwright.core.kinds import rules
from trainwright.rules.diagnosis import Diagnosis, all_rules, diagnosed, verdict
from trainwright.rules.patients import patient
from trainwright.rules.reading import by_heart, failing, lagging, standing, window
from trainwright.rules.upstream import ALL

NAMES = [name for name in rules.names() if rules[name].__module__.startswith("trainwright.")]


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_catches_its_sick_patient_with_numbers_and_a_fix(name: str) -> None:
    rule = all_rules()[name]
    found = rule.check(rule.sick())
    assert isinstance(found, Finding)
    assert found.rule == rule.name == name
    assert found.what
    assert found.fixes
    assert found.why or found.severity == "note"
    assert all(isinstance(v, int | float) for v in found.evidence.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_leaves_its_healthy_patient_alone(name: str) -> None:
    rule = all_rules()[name]
    found = rule.check(rule.healthy())
    assert found is None or (isinstance(found, Finding) and found.severity == "note")


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_takes_offence_at_a_training_that_learns_and_of_which_little_is_known(name: str) -> None:
    falling = [0.9**i for i in range(300)]
    found = all_rules()[name].check(patient(Facts(), falling, over=True))
    assert found is None or (isinstance(found, Finding) and found.severity == "note")


@pytest.mark.parametrize(
    ("low", "high", "linear", "severity"),
    [
        (-0.01, 0.8, 0.0, ""),  # may be chance
        (0.08, 0.11, 0.0, ""),  # little beside what there is to gain
        (0.14, 0.16, 0.0, "note"),  # a straight line that a network meets but nearly
        (0.2, 0.22, 0.0, "warning"),
        (0.01, 0.79, 0.0, "note"),  # of few records
        (0.11, 0.69, 0.0, "warning"),
        (0.02, 0.03, 0.95, "warning"),  # by what can be gained, not by the loss
        (0.1, 0.2, 1.5, "warning"),  # worse than what is itself worse than guessing
    ],
)
def test_how_grave_it_is_to_be_below_a_linear_model_goes_by_what_that_gains(
    low: float, high: float, linear: float, severity: str
) -> None:
    evidence = patient(Facts(loss=LossFacts(guess=1.0, start=1.0)), [0.5] * 200, over=True)
    apart = {"linear": {"loss": Difference((low + high) / 2, low, high)}}
    simple = {"linear": {"loss": linear}, "constant": {"loss": 1.0}}
    advance(evidence.view, RunEnded(200, "finished", "", 1.0, {}, simple, differences=apart))
    found = all_rules()["below_linear"].check(evidence)
    assert (found.severity if isinstance(found, Finding) else "") == severity


def test_every_cause_that_a_rule_names_is_a_rule() -> None:
    known = set(NAMES)
    assert set(ALL) <= known
    assert all(set(rule.causes) <= known for rule in all_rules().values())


def test_guessing_is_no_learning_and_a_loss_that_falls_may_still_come_to_it() -> None:
    facts = Facts(loss=LossFacts(guess=1.0, start=1.5), per_epoch=10)
    assert failing(patient(facts, [1.0] * 300)) is not None
    assert failing(patient(facts, [0.9] * 300)) is None
    assert failing(patient(facts, [1.5 - i / 1000 for i in range(300)])) is None
    assert failing(patient(facts, [1.5 - i / 1000 for i in range(300)], over=True)) is not None


def test_few_steps_say_nothing_while_the_training_goes_on_and_little_at_its_end() -> None:
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0), per_epoch=400)
    assert failing(patient(facts, [1.0] * 300)) is None  # not an epoch yet
    assert failing(patient(replace(facts, per_epoch=10), [1.0] * 100)) is None
    assert failing(patient(facts, [1.0] * 19, over=True)) is None
    assert failing(patient(facts, [1.0] * 20, over=True)) is not None


def test_a_validation_loss_that_is_good_clears_a_training_loss_that_dropout_keeps_high() -> None:
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0))
    assert failing(patient(facts, [1.0] * 300, evals={200: {"loss": 0.5}})) is None
    assert failing(patient(facts, [1.0] * 300, evals={100: {"loss": 0.5}, 200: {"loss": 7.0}})) is not None


def test_a_window_is_an_epoch_and_never_more_than_half_of_all_steps() -> None:
    evidence = patient(Facts(per_epoch=120), [1.0] * 1000)
    assert window(evidence, 1000) == 120
    assert window(evidence, 60) == 30
    now = standing(patient(Facts(loss=LossFacts(guess=2.0)), [4.0] * 50 + [3.0] * 50))
    assert now is not None
    assert (now.loss, now.before, now.falling) == (3.0, 4.0, True)


def test_the_cause_is_said_and_what_follows_stands_under_it() -> None:
    facts = Facts(
        output=Output(Values((1,)), "softmax", 1, spread=0.0),
        loss=LossFacts("mse", "numbers", 1.0, 1.0),
        layers=(LayerFacts("a", "linear", 9, gradient=0.0),),
    )
    events = [RunStarted(1, 0, 300, 10, ""), Examined(0, facts)]
    found = diagnosed([*events, *steps([1.0] * 300), RunEnded(300, "finished", "", 1.0)])
    assert [f.rule for _, f in found if f.severity != "note"] == ["softmax_axis"]
    assert any("gradient of the loss is exactly 0" in text for text in found[0][1].consequences)


def steps(losses: list[float]) -> list[StepDone]:
    return [StepDone(i, 0, i, (v,), (1.0,), 1e-3, 0.01, 0.0) for i, v in enumerate(losses, 1)]


def test_a_finding_is_said_once_and_again_only_when_it_is_graver() -> None:
    events = [
        RunStarted(1, 0, 600, 10, ""),
        Examined(0, Facts(loss=LossFacts(guess=1.0, start=1.0), per_epoch=10)),
        *steps([1.0] * 300),
        Probed(300, {}),
        Probed(300, {}),
        RunEnded(300, "finished", "", 1.0),
    ]
    assert [(s, f.severity) for s, f in diagnosed(events)] == [(300, "warning"), (300, "error")]


def test_a_log_read_again_says_what_was_said_live() -> None:
    bad = StepSkipped(2, "the loss was NaN", math.nan, math.nan, 8, (1, 2))
    missing = Facts(optimizer=OptimizerFacts("adam", 1e-3, ("a.weight",), 10, 20))
    events = [RunStarted(1, 0, 4, 1, ""), Examined(0, missing), *steps([1.0, 2.0]), bad, RunEnded(2, "failed", "", 1.0)]
    live = Diagnosis()
    said = [(e.step if not isinstance(e, RunStarted) else 0, f) for e in events for f in live.take(e)]
    again = diagnosed([load(dump(e)) for e in events])
    assert [(s, f.rule, f.what) for s, f in again] == [(s, f.rule, f.what) for s, f in said]
    assert {f.rule for _, f in said} == {"not_in_optimizer", "not_finite_steps"}


def test_findings_of_the_log_are_not_asked_for_again() -> None:
    diagnosis = Diagnosis()
    diagnosis.take(Found(0, Finding("copies_across_parts", "warning", "copies")))
    assert [e.finding.rule for e in diagnosis.others] == ["copies_across_parts"]


def test_a_new_attempt_begins_with_a_clean_sheet() -> None:
    diagnosis = Diagnosis()
    facts = Facts(mixed=1.0)
    first = [f for e in (RunStarted(1, 0, 9, 1, ""), Examined(0, facts)) for f in diagnosis.take(e)]
    second = [f for e in (RunStarted(2, 3, 9, 1, ""), Examined(3, facts)) for f in diagnosis.take(e)]
    assert [f.rule for f in first] == [f.rule for f in second] == ["rows_mixed"]


def test_the_verdict_is_that_of_the_gravest_finding() -> None:
    note, warning, error = (Finding("x", s, "x") for s in ("note", "warning", "error"))  # type: ignore[arg-type]
    assert verdict([]) == verdict([note]) == "HEALTHY"
    assert verdict([note, warning]) == "SUSPECT"
    assert verdict([warning, error]) == "FAILED"


def test_a_trouble_that_went_away_spoils_no_verdict() -> None:
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0), per_epoch=10)
    diagnosis = Diagnosis()
    events = [RunStarted(1, 0, 600, 10, ""), Examined(0, facts), *steps([1.0] * 300), Probed(300, {})]
    said = [f.rule for e in events for f in diagnosis.take(e)]
    assert said == ["not_learning"]
    assert diagnosis.verdict == "SUSPECT"
    later = [StepDone(300 + i, 0, 1, (0.1,), (1.0,), 1e-3, 0.01, 0.0) for i in range(1, 301)]
    for event in (*later, Probed(600, {}), RunEnded(600, "finished", "", 1.0)):
        diagnosis.take(event)
    assert diagnosis.verdict == "HEALTHY"


def burst(facts: Facts, losses: list[float], steps: int = 4) -> list[tuple[int, Finding]]:
    """What is said of a training whose loss overflows behind these losses."""
    events: list[Event] = [RunStarted(1, 0, 300, 10, ""), Examined(0, facts)]
    for i, loss in enumerate(losses, 1):
        events.append(StepDone(i, 0, i, (loss,), (1.0,), 30.0, 0.01, 0.0))
    after = range(len(losses) + 1, len(losses) + 1 + steps)
    events += [StepSkipped(step, "the loss was NaN", math.nan, math.nan, 8, (1, 2)) for step in after]
    return diagnosed(events)


def test_losses_that_grow_until_they_overflow_are_the_rate_s_fault() -> None:
    facts = Facts(loss=LossFacts("mse", "numbers", 1.0, 1.0))
    grown = [f.what for _, f in burst(facts, [1.0, 30.0, 9e8])]
    assert any("the learning rate of 30 is too high" in what for what in grown)
    sudden = [f.what for _, f in burst(facts, [1.0, 0.8, 0.7])]  # a logarithm of 0
    assert sudden
    assert not any("learning rate" in what for what in sudden)


def test_an_overflow_by_inputs_or_targets_of_a_large_scale_names_these() -> None:
    wide = Facts(
        inputs={"x": Values((2,), low=0.0, high=1e6)},
        layers=(LayerFacts("a", "linear", 10, deviation=1e5),),
        loss=LossFacts("mse", "numbers", 1.0, 1.0),
    )
    prices = Target(Values((1,), rows=100, mean=3e5, deviation=2e4), "numbers")
    far = Facts(target=prices, loss=LossFacts("mse", "numbers", 9e10, 4e8))
    for facts, rule in ((wide, "inputs_not_scaled"), (far, "target_not_scaled")):
        assert (rule, "error") in [(f.rule, f.severity) for _, f in burst(facts, [1.0, 30.0, 9e8])]
        assert rule not in [f.rule for _, f in burst(facts, [1.0, 30.0, 9e8], steps=2) if f.severity == "error"]


def test_what_is_known_by_heart_and_never_holds_for_others_is_no_signal() -> None:
    falling = [1.0 - 0.003 * i for i in range(300)]
    never = {100 * i: {"loss": 1.0 + 0.1 * i} for i in (1, 2, 3)}
    facts = Facts(loss=LossFacts("mse", "numbers", 1.0, 1.0), signal=0.01, signal_error=0.05)
    found = all_rules()["no_signal"].check(patient(facts, falling, evals=never, over=True))
    assert isinstance(found, Finding)
    assert "by heart" in found.what
    assert by_heart(patient(facts, falling, evals=never)) is None  # it may come yet
    assert by_heart(patient(facts, falling, evals={**never, 150: {"loss": 0.9}}, over=True)) is None
    assert all_rules()["no_signal"].check(patient(replace(facts, signal=0.6), falling, evals=never, over=True)) is None


def test_a_gradient_that_is_clipped_to_nothing_is_said_to_be() -> None:
    facts = Facts(loss=LossFacts("mse", "numbers", 2.0, 1.0), clip=1e-6)
    found = all_rules()["rate_too_low"].check(
        patient(facts, [2.0] * 300, probes={300: {"a": {"update": 1e-9}}}, over=True)
    )
    assert isinstance(found, Finding)
    assert found.where == "clip"
    usual = patient(replace(facts, clip=1.0), [2.0] * 300, probes={300: {"a": {"update": 1e-9}}}, over=True)
    found = all_rules()["rate_too_low"].check(usual)
    assert isinstance(found, Finding)
    assert found.where == "optimizer.lr"


def test_half_way_a_loss_that_will_be_below_guessing_in_time_is_let_be() -> None:
    facts = Facts(loss=LossFacts("cross_entropy", "chances", start=2.35, guess=2.3), steps=800)
    slowly, in_time = ([2.35 - fall * i for i in range(400)] for fall in (1e-4, 4e-4))
    rule = all_rules()["rate_too_low"]
    assert isinstance(rule.check(patient(facts, slowly)), Finding)
    assert rule.check(patient(facts, in_time)) is None
    assert isinstance(rule.check(patient(facts, in_time, over=True)), Finding)


def test_minus_a_loss_is_said_to_be_that() -> None:
    found = all_rules()["loss_misfits_target"].check(patient(Facts(loss=LossFacts("cross_entropy", minus=True))))
    assert isinstance(found, Finding)
    assert "minus the cross_entropy" in found.what


def test_targets_that_are_the_same_in_one_batch_of_many_may_be_sorted() -> None:
    same = Target(Values(rows=32, high=0.0), "classes", 1, 0, (32,), 1)
    rule = all_rules()["constant_target"]
    one, all_of_them = (rule.check(patient(Facts(target=same, batch_size=n, per_epoch=16))) for n in (32, 16))
    assert isinstance(one, Finding)
    assert "sorted and not shuffled" in one.what
    assert isinstance(all_of_them, Finding)
    assert "sorted" not in all_of_them.what


def test_one_number_that_makes_its_column_wide_is_told() -> None:
    values = Values(
        (2,), low=-3.0, high=1e9, columns=(1.0, 4e7), widest=1, outlying=6e8, outlier_at="sample 17, column 1"
    )
    facts = Facts(
        inputs={"x": values},
        layers=(LayerFacts("a", "linear", 10, deviation=1e6),),
        loss=LossFacts("mse", "numbers", 1.0, 1.0),
    )
    assert any("sample 17, column 1" in f.what and f.severity == "error" for _, f in burst(facts, [1.0, 30.0, 9e8]))


BEHIND = Facts(
    inputs={"x": Values((2,), low=0.0, high=255.0)},
    layers=(LayerFacts("a", "linear", 10, deviation=60.0),),
    loss=LossFacts("cross_entropy", "logits", 7.0, 2.3),
    target=Target(Values(rows=300), "classes", 2, 0, (150, 150), 2),
    signal=0.8,
    signal_error=0.02,
    reached=0.2,
)


def test_far_behind_simple_models_a_symptom_is_believed_and_never_alone() -> None:
    for facts in (BEHIND, replace(BEHIND, reached=0.7), replace(BEHIND, signal=math.nan)):
        found = all_rules()["inputs_not_scaled"].check(patient(facts, [2.0] * 300, over=True))
        assert isinstance(found, Finding)
        assert found.severity == ("warning" if facts is BEHIND else "note")
        assert ("the network gets 20 %" in found.what) == (facts is BEHIND)
    sound = replace(BEHIND, inputs={"x": Values((2,), low=-3.0, high=3.0)})
    assert [f.severity for f in diagnosed_at_end(sound, [2.0] * 300) if f.severity != "note"] == []


def test_a_network_is_not_behind_while_it_trains_nor_where_an_evaluation_was_better() -> None:
    assert lagging(patient(BEHIND, [2.0] * 300)) is None
    assert lagging(patient(BEHIND, [2.0] * 150, over=True)) is None
    good, poor = ({100: {"loss": 2.0, "accuracy": a}} for a in (0.85, 0.55))
    assert lagging(patient(BEHIND, [2.0] * 300, evals=good, over=True)) is None
    assert lagging(patient(BEHIND, [2.0] * 300, evals=poor, over=True)) is not None


def test_simple_models_are_asked_only_where_their_answer_would_change_something() -> None:
    unknown = replace(BEHIND, signal=math.nan, signal_error=math.nan, reached=math.nan)
    sound = replace(unknown, inputs={"x": Values((2,), low=-3.0, high=3.0)})
    for facts, loss, reached, far, asked in (
        (unknown, 2.0, 0.4, True, True),
        (unknown, 0.3, 0.9, False, False),  # it has learned
        (sound, 2.0, 0.4, True, False),  # nothing to be believed
        (sound, 2.0, 0.1, True, True),  # it has hardly learned
    ):
        diagnosis = Diagnosis()
        diagnosis.view = patient(facts, [loss] * 300).view
        assert diagnosis.far() == far
        assert not diagnosis.far()  # once
        assert (far and diagnosis.doubtful(reached)) == asked


def test_a_network_that_hardly_learns_where_simple_models_learn_much_is_told_without_a_cause() -> None:
    sound = replace(
        BEHIND, inputs={"x": Values((2,), low=-3.0, high=3.0)}, loss=LossFacts("cross_entropy", "", 2.4, 2.3)
    )
    said = {r: diagnosed_at_end(replace(sound, reached=r), [2.0] * 300) for r in (0.1, 0.4)}
    assert [(f.rule, f.severity) for f in said[0.1]] == [("not_learning", "warning")]
    assert "the network gets 10 %" in said[0.1][0].what
    assert said[0.4] == []


def diagnosed_at_end(facts: Facts, losses: list[float]) -> list[Finding]:
    diagnosis = Diagnosis()
    diagnosis.view = patient(facts, losses).view
    return diagnosis.ending()


def test_a_budget_of_few_steps_in_which_nothing_is_learned_was_too_short_and_no_riddle() -> None:
    facts = Facts(loss=LossFacts("cross_entropy", "logits", 0.69, 0.69), steps=35)
    assert [f.rule for f in diagnosed_at_end(facts, [0.69] * 35)] == ["stopped_early"]
    assert [f.rule for f in diagnosed_at_end(replace(facts, steps=300), [0.69] * 300)] == ["not_learning"]


def test_what_is_no_better_than_guessing_has_learned_nothing_by_heart() -> None:
    rising = {40 * i: {"loss": v} for i, v in enumerate((80.0, 90.0, 100.0, 110.0), 1)}
    facts = Facts(loss=LossFacts(guess=1.0, start=1.0))
    falling = [100.0 - 0.1 * i for i in range(200)]
    assert all_rules()["overfitting"].check(patient(facts, falling, evals=rising)) is None


def test_sigmoids_where_one_answer_is_right_are_a_note_and_an_error_where_nothing_is_learned() -> None:
    output = Output(Values((10,), low=0.0, high=1.0), "sigmoid", 1, 0.4, (0.0, 1.0))
    facts = replace(BEHIND, output=output, loss=LossFacts("cross_entropy", "probabilities", 7.0, 2.3))
    rule = all_rules()["output_contradicts_loss"]
    for loss, severity in ((2.3, "error"), (2.0, "note")):  # networks far behind simple models have them, and learn
        found = rule.check(patient(facts, [loss] * 300, over=True))
        assert isinstance(found, Finding)
        assert found.severity == severity
    several = replace(facts, target=Target(Values((10,)), "several", 10))
    assert rule.check(patient(several, [2.0] * 300, over=True)) is None
