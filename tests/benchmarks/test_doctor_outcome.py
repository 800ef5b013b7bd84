"""Runs are judged by what came of them, against the constant prediction; shards go on where they stopped."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.doctor.judge import Judged, judged
from benchmarks.doctor.outcome import disagreements, outcomes
from benchmarks.doctor.plain import Stepper, run
from benchmarks.doctor.programs import Bug, Program, Skipped, program
from tests.benchmarks.test_doctor_programs import case


class Fixed(nn.Module):
    """Answers what it was told to, whatever it is shown."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, x: Tensor) -> Tensor:
        return self.answers


def line() -> Program:
    """A line that is learned in a few epochs."""
    x = [[i / 10] for i in range(40)]
    gen = {"fn": "inline", "X": x, "y": [3 * row[0] + 1 for row in x]}
    facts = {"task": "regression", "layers": [{"type": "dense", "units": 1}], "loss": "mean_squared_error"}
    learning = {"optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 10, "epochs": 30, "input_shape": [1]}
    return program(case(**facts, **learning, dataset={"gen": gen}))


def accuracy(answers: list[list[float]], y: Tensor, logits: bool = False) -> Judged:
    return judged(Fixed(torch.tensor(answers)), torch.zeros(len(y), 1), y, "accuracy", logits)


def test_accuracy_is_measured_against_the_share_of_the_most_frequent_class() -> None:
    told = accuracy([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]], torch.tensor([0, 1, 0, 1]))
    assert (told.metric, told.baseline, told.learned) == (0.75, 0.5, True)


def test_one_output_answers_the_nearest_of_the_labels() -> None:
    assert accuracy([[0.9], [0.2], [0.4]], torch.tensor([[1.0], [0.0], [1.0]])).metric == pytest.approx(2 / 3)
    assert accuracy([[0.4], [-0.2], [3.0]], torch.tensor([[1.0], [0.0], [1.0]]), logits=True).metric == 1
    assert accuracy([[0.2], [-0.2], [0.1]], torch.tensor([[1.0], [-1.0], [1.0]])).metric == 1


def test_columns_of_yes_and_no_are_counted_one_by_one() -> None:
    told = accuracy([[0.9, 0.9], [0.1, 0.9]], torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert (told.metric, told.baseline) == (0.75, 0.5)


def test_where_the_constant_is_perfect_nothing_can_be_learned() -> None:
    assert accuracy([[0.9], [0.8]], torch.ones(2, 1)).learned is None


def test_a_network_of_nan_has_not_learned() -> None:
    told = accuracy([[math.nan], [math.nan]], torch.tensor([[0.0], [1.0]]))
    assert math.isnan(told.metric)
    assert told.learned is False


def test_r2_is_measured_against_the_mean() -> None:
    y = torch.tensor([[1.0], [3.0]])
    assert judged(Fixed(torch.tensor([[2.0], [2.0]])), y, y, "r2", False).metric == 0
    assert judged(Fixed(y), y, y, "r2", False).metric == 1


def test_a_line_is_learned_and_a_seed_repeats_its_run() -> None:
    first, again, other = (run(line(), seed) for seed in (0, 0, 1))
    assert first.learned
    assert (first.epochs, first.steps, first.cut) == (30, 120, False)
    assert first.last_loss == again.last_loss != other.last_loss


def test_a_run_is_cut_when_its_time_is_over() -> None:
    ended = run(line(), 0, seconds=0)
    assert (ended.steps, ended.cut) == (1, True)


def test_a_program_that_counts_steps_ends_with_them() -> None:
    assert run(replace(line(), steps=7), 0).steps == 7


@pytest.mark.parametrize(
    ("bug", "learns"),
    [(Bug(), True), (Bug(detaches=True), False), (Bug(freezes=True), True), (Bug(trains="not first"), False)],
)
def test_a_bug_of_the_loop_does_what_it_says(bug: Bug, learns: bool) -> None:
    broken = replace(line(), bug=bug)
    if bug.trains == "not first":
        broken = program(case(training_bug="the optimizer was made before the layer, without it", epochs=2))
        model = broken.module(0)
        before = [p.detach().clone() for p in model.parameters()]
        Stepper(broken, model)(broken.arrays().x, broken.arrays().y)
        moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
        assert moved == [False, False, True, True]
    else:
        assert run(broken, 0).learned is learns


def test_gradients_that_are_not_cleared_add_up() -> None:
    held = replace(line(), bug=Bug(clears=False), optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=1e-9))
    model, data = held.module(0), held.arrays()
    step = Stepper(held, model)
    step(data.x, data.y)
    once = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    step(data.x, data.y)
    twice = [p.grad for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(twice, [2 * grad for grad in once], rtol=1e-4, atol=1e-4)


def test_shards_go_on_where_they_stopped(tmp_path: Path) -> None:
    out, skipped = tmp_path / "runs.json", [Skipped("other", "buggy", "the dog ate it")]
    assert outcomes([line()], skipped, range(3), out, minutes=0) == 3
    assert outcomes([line()], skipped, range(2), out) == 0
    first = json.loads(out.read_text())
    assert outcomes([line()], skipped, range(3), out) == 0
    held = json.loads(out.read_text())
    assert held["runs"][:2] == first["runs"]
    assert [r["seed"] for r in held["runs"]] == [0, 1, 2]
    assert all(r["learned"] for r in held["runs"])
    assert held["skipped"][0]["reason"] == "the dog ate it"


def test_a_program_that_breaks_leaves_the_others_alone(tmp_path: Path) -> None:
    broken = replace(line(), id="broken", loss=lambda output, target: output @ target)
    assert outcomes([broken, line()], [], range(1), tmp_path / "runs.json") == 0
    first, second = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert "RuntimeError" in first["left_out"]
    assert second["learned"] is True


def test_another_outcome_than_the_files_is_said() -> None:
    ours = [{"id": "a-case", "learned": True}, {"id": "a-case", "learned": False}]
    theirs = replace(line(), recorded={"runs": [{"learned": False}]})
    assert disagreements([theirs], ours) == ["a-case (buggy): learned 1 of 2 here, 0 of 1 in the file"]
    assert disagreements([theirs], ours[1:]) == []
