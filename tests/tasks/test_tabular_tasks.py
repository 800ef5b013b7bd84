"""Rows of a table to a class or a number: targets, answers, metrics, baselines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

import trainwright as tw
from tests.tasks.cases import part_of, rows, whole
from tests.training import baselines_of, measured
from trainwright.core.errors import DataError, UserError
from trainwright.core.task import Progress, Record
from trainwright.tasks.tabular_classification import TabularClassification
from trainwright.tasks.tabular_regression import TabularRegression


def labelled(labels: Sequence[Any], name: str = "target") -> list[dict[str, Any]]:
    return [{"x": float(i % 9), name: v} for i, v in enumerate(labels)]


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (["b", "a", "c"], ["a", "b", "c"]),
        ([3, 1, 10], [1, 3, 10]),
        ([True, False], [False, True]),
        ([1.0, 0.0], [0, 1]),
        ([np.int64(2), np.int64(1)], [1, 2]),
        (["10", "9"], ["10", "9"]),
    ],
)
def test_labels_are_sorted_and_keep_their_type_through_json(labels: list[Any], values: list[Any]) -> None:
    task, again = TabularClassification(), TabularClassification()
    task.processor.fit(labelled(labels * 4))
    again.processor.load_state_dict(json.loads(json.dumps(task.processor.state_dict())))
    for processor in (task.processor, again.processor):
        assert processor.labels.values == values
        assert [type(v) for v in processor.labels.values] == [type(v) for v in values]
        assert [int(processor.encode({"x": 0.0, "target": v})["y"]) for v in values] == list(range(len(values)))


@pytest.mark.parametrize("first", [{}, {"target": 0}, {"income": 0}])
def test_the_target_is_the_one_named_else_target_else_the_last_column(first: dict[str, int]) -> None:
    records = [{**first, "x": i % 5, "last": "ab"[i % 2]} | ({"target": i % 3} if first else {}) for i in range(20)]
    expected = "target" if first else "last"
    task = TabularClassification()
    assert task.strata(records[0]) == expected
    task.processor.fit(records)
    assert task.processor.target == expected
    assert TabularClassification(target="x").strata(records[0]) == "x"


@pytest.mark.parametrize("task", [TabularClassification, TabularRegression])
def test_a_training_record_without_a_target_is_named_as_soon_as_it_is_read(task: Any) -> None:
    records = labelled([1, 2, 3, 4, None, 5])
    read = []

    def stream() -> Any:
        for i, record in enumerate(records):
            read.append(i)
            yield record

    with pytest.raises(DataError, match="training record 4: the target 'target' is missing"):
        task(target="target").processor.fit(stream())
    assert read[-1] == 4


@pytest.mark.parametrize("task", [TabularClassification, TabularRegression])
def test_an_absent_target_is_told_with_the_nearest_column(task: Any) -> None:
    with pytest.raises(DataError, match=r"task\.target: no column is named 'incme'; did you mean 'income'"):
        task(target="incme").processor.fit(labelled([1, 2], "income"))


def test_a_split_by_an_absent_target_is_told_too() -> None:
    with pytest.raises(DataError, match="did you mean 'income'"):
        TabularClassification(target="incme").strata({"x": 1.0, "income": "high"})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a"] * 9, "every training record has the label 'a'"),
        ([0.5, 1.5, 2.5], r"the label 0\.5 is no class"),
        (list(range(60)), "60 different labels in 60 training records"),
    ],
)
def test_labels_that_are_no_classes_are_told(labels: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        TabularClassification().processor.fit(labelled(labels))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, "much", 2.0], "training record 1: the target 'target' is 'much', not a number"),
        ([1.0, float("inf")], "the target 'target' is inf"),
        ([True, False], "use the task 'tabular_classification'"),
        ([5, 5, 5], "the target is 5 in every training record"),
    ],
)
def test_targets_that_are_no_numbers_are_told(values: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        TabularRegression().processor.fit(labelled(values))


def test_a_label_that_training_did_not_have_is_told() -> None:
    task = TabularClassification()
    task.processor.fit(labelled(["red", "blue"] * 5))
    with pytest.raises(
        DataError, match=r"column 'target': the label 'rde' occurs in no training record; did you mean 'red'"
    ):
        task.processor.encode({"x": 1.0, "target": "rde"})


def test_losses_of_the_wrong_kind_are_told() -> None:
    with pytest.raises(UserError, match=r"task\.loss: 'mse' does not compare classes"):
        TabularClassification(loss="mse")
    with pytest.raises(UserError, match=r"task\.loss: 'cross_entropy' does not compare numbers"):
        TabularRegression(loss="cross_entropy")


def test_records_are_served_without_their_target_or_with_an_empty_one() -> None:
    task = TabularClassification()
    task.processor.fit(labelled(["a", "b"] * 5))
    for record in ({"x": 1.0}, {"x": 1.0, "target": None}, {"x": 1.0, "target": ""}):
        assert set(task.processor.encode(record)) == {"x"}


def test_answers_name_the_label_and_every_probability() -> None:
    task = TabularClassification()
    batch = whole(labelled([True, False, True] * 4), task)
    outputs = {"probabilities": torch.tensor([[0.25, 0.75]] * 12)}
    said = {"label": True, "probability": 0.75, "probabilities": {"False": 0.25, "True": 0.75}}
    assert task.processor.decode(outputs, batch)[0] == said


class Perfect(torch.nn.Module):
    """Says the standardized truth plus an error."""

    def __init__(self, y: torch.Tensor, error: float) -> None:
        super().__init__()
        self.said = y.unsqueeze(1) + error

    def forward(self, x: torch.Tensor, categorical: torch.Tensor | None = None) -> torch.Tensor:
        return self.said


def test_a_regression_is_judged_and_answered_in_its_own_unit() -> None:
    records = rows(40, regression=True)
    truth = np.array([r["target"] for r in records])
    task = TabularRegression()
    batch = whole(records, task)
    assert float(batch.targets["y"].mean()) == pytest.approx(0, abs=1e-5)
    assert float(batch.targets["y"].std(correction=0)) == pytest.approx(1, abs=1e-5)
    model = Perfect(batch.targets["y"], error=0.1)
    answers = [a["value"] for a in task.processor.decode(task.predict(model, batch), batch)]
    outputs = task.loss(model, batch, Progress()).outputs
    scores = {name: measured(m, outputs, batch) for name, m in task.metrics().items()}
    assert np.array(answers) == pytest.approx(truth + 0.1 * truth.std(), rel=1e-5)
    assert scores["rmse"] == pytest.approx(0.1 * truth.std(), rel=1e-5)
    assert scores["mae"] == pytest.approx(0.1 * truth.std(), rel=1e-5)
    assert scores["r2"] == pytest.approx(sk.r2_score(truth, np.array(answers)), abs=1e-5)


def test_numbers_far_from_zero_are_told_with_all_their_digits() -> None:
    records = [{**r, "target": 1.7e9 + r["target"]} for r in rows(40, regression=True)]
    truth = np.array([r["target"] for r in records])
    task = TabularRegression()
    batch = whole(records, task)
    answers = task.processor.decode(task.predict(Perfect(batch.targets["y"], error=0.0), batch), batch)
    assert np.array([a["value"] for a in answers]) - truth == pytest.approx(0, abs=1e-5 * truth.std())


def test_a_target_may_have_one_unit_which_is_kept_and_no_other() -> None:
    records = [{"a": i % 5 + 0.5, "target": f"${1000 + i:,}" if i else "1000"} for i in range(30)]
    task, plain, again = TabularRegression(), TabularRegression(), TabularRegression()
    task.processor.fit(records)
    plain.processor.fit([{**r, "target": 1000 + i} for i, r in enumerate(records)])
    assert (task.processor.mean, task.processor.deviation) == (plain.processor.mean, plain.processor.deviation)
    again.processor.load_state_dict(task.processor.state_dict())
    assert torch.equal(again.processor.encode(records[3])["y"], plain.processor.encode({"a": 1, "target": 1003})["y"])
    with pytest.raises(DataError, match=r"'€5', in another unit than the training records \(\$\)"):
        again.processor.encode({"a": 1, "target": "€5"})
    with pytest.raises(DataError, match=r"'\$5', in another unit than the training records \(none\)"):
        plain.processor.encode({"a": 1, "target": "$5"})
    with pytest.raises(DataError, match=r"training record 30.*'5 %', in another unit"):
        TabularRegression().processor.fit([*records, {"a": 1, "target": "5 %"}])


def test_the_weight_is_the_number_of_samples() -> None:
    for task, records in ((TabularClassification(), rows(20)), (TabularRegression(), rows(20, regression=True))):
        assert float(whole(records, task).weight) == 20


def test_baselines_stand_where_they_should() -> None:
    task = TabularClassification()
    records = rows(300)
    task.processor.fit(records)
    part = part_of(records, task.processor)
    found = baselines_of(task, part, part)
    share = max(np.mean([r["target"] == v for r in records]) for v in ("low", "high"))
    assert found["constant"]["accuracy"] == pytest.approx(share)
    assert found["constant"]["auroc"] == 0.5
    assert found["linear"]["accuracy"] > share + 0.1
    assert found["boosting"]["accuracy"] > share + 0.2
    assert all(reached.keys() == {"loss", *task.metrics()} for reached in found.values())


def test_a_regressions_constant_is_the_training_mean() -> None:
    task = TabularRegression()
    records = rows(300, regression=True)
    task.processor.fit(records)
    part = part_of(records, task.processor)
    found = baselines_of(task, part, part)
    assert found["constant"]["rmse"] == pytest.approx(np.std([r["target"] for r in records]), rel=1e-5)
    assert found["constant"]["r2"] == pytest.approx(0, abs=1e-5)
    assert found["linear"]["r2"] > 0.5
    assert found["boosting"]["r2"] > 0.9


def test_sizes_tell_a_model_what_it_must_know() -> None:
    task = TabularClassification()
    task.processor.fit(rows())
    sizes = task.sizes()
    edges = sizes.pop("edges")
    # size, count, since, the mark of size; the weekday and month of since
    known = {"inputs": 4, "cardinalities": [5, 4, 9, 11], "outputs": 2}
    assert sizes == {**known, "expects": "classes"}
    assert isinstance(edges, list)
    assert len(edges) == 4
    assert edges[3] == [0.0, 1.0]
    notes = " ".join(task.processor.inputs.notes)
    assert "'row_id' is left out: an id" in notes
    assert "'unit' is left out: every value is 'cm'" in notes


def test_what_is_learned_does_not_depend_on_other_parts() -> None:
    """Only training records are seen: encoding others changes nothing."""
    task = TabularRegression()
    task.processor.fit(rows(40, regression=True))
    before = json.dumps(task.processor.state_dict())
    odd: Record = {**rows(1, regression=True)[0], "kind": "purple", "count": 10**6, "target": -5.0}
    task.processor.encode(odd)
    assert json.dumps(task.processor.state_dict()) == before


@pytest.mark.parametrize("value", [lambda i: i / 7 + 0.01, lambda i: f"customer {i}"])
def test_a_quantity_or_an_id_as_classes_is_told_before_they_cannot_be_drawn(value: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i * i % 11},{value(i)}\n" for i in range(80)))
    recipe = {
        "task": {"name": "tabular_classification", "target": "y"},
        "data": {"source": "table", "path": str(tmp_path / "t.csv")},
    }
    with pytest.raises(DataError, match=r"use a regression|belong to a regression"):
        tw.train(recipe, out=tmp_path / "run", quiet=True)


def test_labels_that_differ_in_capitals_alone_are_noted() -> None:
    task = TabularClassification(target="y")
    task.processor.fit([{"a": i % 7, "y": ["Yes", "no", "yes", "YES"][i % 4]} for i in range(40)])
    assert list(task.processor.notes()) == [
        "column 'y': 'YES' and 'Yes' and 'yes' differ in capital letters alone, and are classes of their own"
    ]
