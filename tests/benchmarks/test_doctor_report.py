"""Other tools' rules on the same runs, and shares with honest intervals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.doctor.__main__ import tell
from benchmarks.doctor.causes import ROWS, RULES, rows_of_rule
from benchmarks.doctor.intervals import middle, share, wilson
from benchmarks.doctor.observed import Known, Layer, Note, Observer, Weight, known
from benchmarks.doctor.peers import judged_by_peers
from benchmarks.doctor.peers_rules import TOOLS, alarms
from benchmarks.doctor.plain import run
from benchmarks.doctor.report import misses, page, peers, repaired_metrics, scores
from tests.benchmarks.test_doctor_outcome import line
from tests.benchmarks.test_doctor_programs import case
from trainwright.core.kinds import rules

QUIET = Known(
    hidden=("relu",),
    last="softmax",
    loss="categorical_crossentropy",
    logits=False,
    rate=0.001,
    dropout=0.0,
    inputs=(-1, 1, 0),
    shape=(100, 4),
    targets=(0, 1),
    counts=(50, 50),
    epochs=20,
)
RELU = Layer("relu", mean=0.5, large=0.5, below=0.4, dead=0.0, beyond5=0.0, saturated=0.0)
KERNEL = Weight(0.1, 0.1, 1.0, True, False, 0.1, 0.01, 0.0, 0.01, 0.01, kernel=True)


def notes(n: int = 20, **changes: Any) -> list[Note]:
    """A run that learns, but for what is changed in every epoch."""
    made = []
    for epoch in range(1, n + 1):
        weight = replace(KERNEL, mean=0.1 + epoch / 1000, **changes.get("weight", {}))
        layer = replace(RELU, mean=0.5 + epoch / 1000, **changes.get("layer", {}))
        told = {
            "loss": 1 / epoch,
            "accuracy": 1 - 0.5 / epoch,
            "valid_loss": 1 / epoch,
            "valid_accuracy": 0.94 - 0.5 / epoch,
        }
        told |= {k: v(epoch) for k, v in changes.get("note", {}).items()}
        made.append(Note(epoch, output=(0.1, 0.9, 1.0), layers=[layer], weights=[weight, weight], **told))
    return made


def said(tool: str, *, facts: Known = QUIET, n: int = 20, **changes: Any) -> list[str]:
    return [alarm.says for alarm in alarms(tool, facts, notes(n, **changes))]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_run_without_symptoms_is_left_alone(tool: str) -> None:
    assert said(tool) == []


@pytest.mark.parametrize(
    ("tool", "changes", "says"),
    [
        ("AUTOTRAINER", {"weight": {"finite": False}, "note": {"accuracy": lambda e: 0.5}}, "exploding gradient"),
        ("AUTOTRAINER", {"weight": {"grad_zeros": 0.9}, "note": {"accuracy": lambda e: 0.5}}, "dying ReLU"),
        ("AUTOTRAINER", {"note": {"accuracy": lambda e: 0.8 + 0.1 * (e % 2)}}, "oscillating loss"),
        ("AUTOTRAINER", {"note": {"accuracy": lambda e: 0.5, "valid_accuracy": lambda e: 0.5}}, "slow convergence"),
        ("AUTOTRAINER", {"layer": {"large": 12.0}}, "abnormal data"),
        ("DeepDiagnosis", {"layer": {"below": 0.8}}, "dead node"),
        ("DeepDiagnosis", {"weight": {"grad_mean": 1e-9}}, "vanishing gradient"),
        ("DeepDiagnosis", {"note": {"loss": lambda e: math.nan}}, "invalid loss"),
        ("DeepDiagnosis", {"note": {"loss": lambda e: 0.7}}, "loss does not decrease"),
        ("DeepDiagnosis", {"note": {"accuracy": lambda e: 0.5}}, "accuracy does not increase"),
        ("DeepDiagnosis", {"layer": {"kind": "tanh", "beyond5": 0.9}}, "saturated activation"),
        ("DeepDiagnosis", {"weight": {"variance": 100.0}}, "poor initialization"),
        ("UMLAUT", {"note": {"loss": lambda e: math.nan}}, "NaN"),
        ("UMLAUT", {"note": {"valid_loss": lambda e: float(e)}}, "overfitting"),
        ("UMLAUT", {"note": {"valid_accuracy": lambda e: 0.99}}, "suspiciously good validation"),
        ("SageMaker Debugger", {"layer": {"dead": 0.6}}, "dead ReLU"),
        ("SageMaker Debugger", {"note": {"loss": lambda e: 0.7}}, "loss not decreasing"),
        ("SageMaker Debugger", {"note": {"valid_loss": lambda e: 2.0 / e}}, "overfit"),
        ("SageMaker Debugger", {"weight": {"grad_range": 1e-5}}, "poor weight initialization"),
        ("SageMaker Debugger", {"weight": {"moved": 0.0}}, "unchanged tensor"),
        ("SageMaker Debugger", {"weight": {"zero": True}}, "all zero"),
    ],
)
def test_each_rule_says_its_symptom(tool: str, changes: dict[str, Any], says: str) -> None:
    assert says in said(tool, **changes)


@pytest.mark.parametrize(
    ("tool", "facts", "says"),
    [
        ("UMLAUT", {"last": "sigmoid"}, "cross-entropy without softmax"),
        ("UMLAUT", {"hidden": ("linear",)}, "a hidden layer without activation"),
        ("UMLAUT", {"dropout": 0.6}, "high dropout"),
        ("UMLAUT", {"rate": 0.1}, "unusual learning rate"),
        ("UMLAUT", {"inputs": (0, 255, 30)}, "inputs outside [-1, 1]"),
        ("DeepDiagnosis", {"inputs": (0, 255, 30)}, "inputs outside [-1, 1]"),
        ("SageMaker Debugger", {"counts": (100, 5)}, "class imbalance"),
    ],
)
def test_what_shows_before_the_run_is_said(tool: str, facts: dict[str, Any], says: str) -> None:
    assert says in said(tool, facts=replace(QUIET, **facts))


def test_gradients_raise_no_alarm_in_autotrainer_once_it_has_converged() -> None:
    assert said("AUTOTRAINER", weight={"grad_zeros": 0.9}) == []


def test_looking_changes_nothing() -> None:
    program = line()
    observer = Observer(program)
    assert run(program, 0, each=observer).last_loss == run(program, 0).last_loss
    assert len(observer.notes) == 30
    assert observer.notes[-1].loss < observer.notes[0].loss
    assert observer.notes[0].weights[0].moved == 0
    assert observer.notes[1].weights[0].moved > 0


def test_what_is_known_before_a_run_is_read_from_the_program() -> None:
    from benchmarks.doctor.programs import program

    built = program(case())
    told = known(built, built.module(0))
    assert (told.hidden, told.last, told.counts, told.rate) == (("relu",), "sigmoid", (2, 2), 0.001)


def test_a_run_is_judged_by_every_tool() -> None:
    record = judged_by_peers(line(), 0)
    assert set(record["peers"]) == set(TOOLS)
    assert record["learned"] is True
    assert torch.isfinite(torch.tensor(record["train"]))


def test_wilsons_interval_is_the_published_one() -> None:
    assert wilson(0, 37) == pytest.approx((0, 0.0941), abs=1e-3)
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson(0, 0) == (0, 1)


def test_a_share_counts_programs_and_not_runs() -> None:
    told = share({"a": [True] * 5, "b": [False] * 5, "c": [True, False]})
    assert (told.value, told.programs, told.runs) == (0.5, 3, 12)
    assert (told.low, told.high) == wilson(1.5, 3)
    assert middle([3, 1, math.nan, 2]).value == 2


def record(name: str, status: str, learned: bool, *found: tuple[str, str, int], **more: Any) -> dict[str, Any]:
    findings = [{"rule": rule, "severity": severity, "step": step} for rule, severity, step in found]
    return {"id": name, "seed": 0, "status": status, "learned": learned, "findings": findings, **more}


def test_alarms_are_counted_where_they_should_and_should_not_be() -> None:
    records = [
        record("seen", "buggy", False, ("vanishing_gradient", "error", 60), problems=["VANISHING_GRADIENT"]),
        record("otherwise", "buggy", False, ("dead_units", "warning", 20), problems=["LEAKAGE"]),
        record("silent", "buggy", True, problems=["LEAKAGE"]),
        record("noted", "healthy", True, ("plateau", "note", 5)),
        record("blamed", "healthy", True, ("plateau", "warning", 5)),
        record("sick", "healthy", False, ("plateau", "warning", 5)),
    ]
    told = scores(records)
    assert told["detected"].value == pytest.approx(2 / 3)
    assert told["detected, of those that fail"].value == 1
    assert told["right cause"].value == pytest.approx(1 / 3)
    assert told["false alarms"].value == 0.5
    assert told["false alarms, of classifiers"].programs == 0  # type: ignore[union-attr]
    assert told["steps to the first alarm"].value == 40
    assert [text.split(":")[0] for text in misses(records)] == ["wrong cause", "missed", "false alarm"]
    assert "| false alarms | 50.0%" in page({"ours": told})


def test_repair_is_measured_against_the_repaired_twin() -> None:
    bug = {"problems": ["LEAKAGE"], "baseline": 0.5}
    records = [
        record("a", "buggy", False, **bug, healed={"metric": 0.9}),
        record("b", "buggy", False, **bug, healed={"metric": 0.7}),
        record("a-fix", "healthy", True, twins=["a"], train=0.9),
        record("b-fix", "healthy", True, twins=["b"], train=0.9),
        record("c-fix", "healthy", False, twins=["c"], train=0.5),
    ]
    told = repaired_metrics(records)
    assert told == {"a": 0.9, "b": 0.9}
    assert scores(records, told)["repaired"].value == 0.5


def test_the_rules_of_other_tools_are_counted_the_same_way() -> None:
    runs = [
        {
            **record("a", "buggy", False, problems=["DYING_RELU"]),
            "peers": {"X": [{"rule": "r", "epoch": 1, "rows": [10]}]},
        },
        {**record("b", "healthy", True), "peers": {"X": []}},
    ]
    told = peers(runs)["X"]
    assert (told["right cause"].value, told["false alarms"].value) == (1, 0)


def test_a_report_is_written_from_files_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    (tmp_path / "runs.json").write_text(json.dumps({"runs": [record("a", "healthy", True, train=1.0)]}))
    given = argparse.Namespace(runs=[tmp_path / "runs.json"], json=tmp_path / "out.json")
    assert tell(given) == 0
    assert "false alarms" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["ours"]["false alarms"]["value"] == 0


def test_every_rule_of_the_doctor_has_its_rows() -> None:
    assert set(rules.names()) <= set(RULES)
    assert set().union(*RULES.values()) <= set(ROWS)
    assert rows_of_rule("something else") == frozenset()
