"""The columns of a table find their roles, and rows become numbers and ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from trainwright.core.errors import DataError, UserError
from trainwright.core.task import Record
from trainwright.data.roles import BINS, FIRST, MISSING, UNKNOWN
from trainwright.data.table import Table
from trainwright.data.tabular import Inputs


def fitted(
    records: Sequence[Record],
    *,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    ignore: Sequence[str] = (),
    scaling: Literal["quantile", "standard"] = "quantile",
) -> Inputs:
    inputs = Inputs(numeric=numeric, categorical=categorical, ignore=ignore, scaling=scaling)
    inputs.fit(records, lambda index, record: "target")
    return inputs


def column(values: Sequence[Any], **options: Any) -> Inputs:
    """One column beside another that is of use."""
    return fitted([{"c": v, "other": i % 7 / 3, "target": 0} for i, v in enumerate(values)], **options)


def role(values: Sequence[Any], **options: Any) -> str:
    inputs = column(values, **options)
    if any(n.name == "c" for n in inputs.numbers):
        return next(n.kind for n in inputs.numbers if n.name == "c")
    return "category" if any(c.name == "c" for c in inputs.categories) else inputs.notes[0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 1.5, None, 2.5] * 5, "number"),
        ([1, 2, 3, 4] * 5, "number"),
        (["1.5", "2", "?", "3"] * 5, "number"),
        ([np.float32(1), np.float32(2)] * 5, "number"),
        ([True, False] * 10, "category"),
        (["yes", "no", None] * 10, "category"),
        ([date(2024, 1, d) for d in range(1, 21)], "date"),
        ([f"2024-01-{d:02d}" for d in range(1, 21)], "date"),
        ([datetime(2024, 1, 1, h) for h in range(20)], "date"),
        ([f"2024-01-01T{h:02d}:00:00+02:00" for h in range(20)], "date"),
        ([f"person {i}" for i in range(40)], "free text"),
        ([f"ticket {i // 2}" for i in range(100)], "free text"),
        (["same"] * 20, "every value is 'same'"),
        ([3.0] * 20, "every value is 3"),
        ([None] * 20, "every value is missing"),
        (["?"] * 20, "every value is missing"),
        (list(range(100, 180)), "an id"),
        ([[1, 2]] * 20, "type list"),
        (["only", None] * 10, "category"),
        ([7, None] * 10, "category"),
        ([1, "many"] * 10, "category"),
        ([True, 2.5] * 10, "category"),
        ([{"a": 1}, 2] * 10, "type dict"),
        ([date(2024, 1, 1), "soon"] * 10, "category"),
    ],
)
def test_roles_are_found_in_the_training_records(values: list[Any], expected: str) -> None:
    assert expected in role(values)


def test_whole_numbers_named_as_an_id_are_one_but_repeated_ones_are_not() -> None:
    for name, values, kept in (("customer_id", range(30), False), ("customer_id", [i // 2 for i in range(30)], True)):
        rows = [{name: v * 17 % 101, "x": v % 7, "target": 0} for v in values]
        assert any(n.name == name for n in fitted(rows).numbers) == kept


def test_a_person_can_say_otherwise() -> None:
    assert role([1, 2, 3, 4] * 5, categorical=["c"]) == "category"
    assert role(list(range(100, 180)), numeric=["c"]) == "number"
    assert role([f"p{i}" for i in range(40)], categorical=["c"]) == "category"
    inputs = column([1, 2, 3], ignore=["c"])
    assert [n.name for n in inputs.numbers] == ["other"]
    assert not inputs.notes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"numeric": ["othr"]}, r"task\.numeric: no column is named 'othr'; did you mean 'other'"),
        ({"ignore": ["target"]}, r"task\.ignore: 'target' is the target"),
        ({"numeric": ["c"], "categorical": ["c"]}, r"task\.categorical: 'c' also stands in `numeric`"),
        ({"numeric": ["c"]}, "'a' is not a number"),
    ],
)
def test_what_a_person_says_must_fit_the_table(options: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        column(["a", "b"] * 4, **options)


def test_nothing_of_use_is_told_with_the_reasons() -> None:
    with pytest.raises(DataError, match="no column is of use: column 'c' is left out: every value is 3"):
        fitted([{"c": 3, "target": i} for i in range(5)])
    with pytest.raises(DataError, match="there is none beside the target"):
        fitted([{"target": i} for i in range(5)])
    with pytest.raises(DataError, match="the training part has no records"):
        fitted([])


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=60, unique=True))
@settings(max_examples=40, deadline=None)
def test_scaling_keeps_the_order_and_gives_about_unit_variance(values: list[float]) -> None:
    for scaling in ("quantile", "standard"):
        inputs = column(values, scaling=scaling, numeric=["c"])
        z = torch.stack([inputs.encode({"c": v, "other": 0.0})["x"][0] for v in values])
        assert bool((z[torch.tensor(values, dtype=torch.float64).argsort()].diff() >= -1e-6).all())
        assert abs(float(z.mean())) < 0.2
        assert 0.5 < float(z.std()) < 1.5


def test_standard_scaling_is_scikit_learns() -> None:
    values = (np.random.default_rng(0).normal(size=50) * 40 + 1e5).tolist()
    inputs = column(values, scaling="standard")
    mine = [float(inputs.encode({"c": v, "other": 0.0})["x"][0]) for v in values]
    assert mine == pytest.approx(StandardScaler().fit_transform(np.array(values)[:, None])[:, 0].tolist(), abs=1e-6)


def test_quantiles_give_a_heavy_tail_the_shape_of_a_normal_distribution() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=3000) * 4).tolist()
    inputs = column(values)
    z = np.array([float(inputs.encode({"c": v, "other": 0.0})["x"][0]) for v in values])
    assert abs(np.mean(z)) < 0.01
    assert np.std(z) == pytest.approx(1, abs=0.03)
    assert np.mean(np.abs(z) < 1) == pytest.approx(0.6827, abs=0.01)
    assert float(inputs.encode({"c": 1e300, "other": 0.0})["x"][0]) == pytest.approx(z.max(), abs=1e-5)


def test_tied_values_share_their_mean_rank() -> None:
    inputs = column([0] * 60 + [1] * 30 + [2] * 10)
    z = [float(inputs.encode({"c": v, "other": 0.0})["x"][0]) for v in (0, 1, 2)]
    assert z == pytest.approx([-0.5244, 0.6745, 1.6449], abs=1e-3)  # the normal at 0.3, 0.75, 0.95


def test_a_missing_number_is_the_median_and_marked() -> None:
    inputs = column([1.0, 2.0, None, 10.0, float("nan")] * 4)
    assert inputs.width == 3
    assert (
        inputs.encode({"c": None, "other": 0.0})["x"].tolist() == inputs.encode({"c": "", "other": 0.0})["x"].tolist()
    )
    there, missing = (inputs.encode({"c": v, "other": 0.0})["x"] for v in (2.0, None))
    assert there[0] == missing[0]
    assert (there[2], missing[2]) == (0, 1)


def test_categories_have_ids_in_training_order_and_two_of_their_own() -> None:
    inputs = column(["b", "a", None, "b", "c"] * 4)
    ids = [
        int(inputs.encode({"c": v, "other": 0.0})["categorical"][0]) for v in ("b", "a", "c", None, "", "new", " a ")
    ]
    assert ids == [FIRST, FIRST + 1, FIRST + 2, MISSING, MISSING, UNKNOWN, FIRST + 1]
    assert inputs.cardinalities == [5]


def test_whole_numbers_are_the_same_category_however_they_are_read() -> None:
    inputs = column([1, 2, 3] * 5, categorical=["c"])
    ids = {int(inputs.encode({"c": v, "other": 0.0})["categorical"][0]) for v in (2, 2.0, np.int64(2), "2")}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"c": "many", "other": 1.0}, "column 'c': 'many' is not a number"),
        ({"c": float("inf"), "other": 1.0}, "column 'c': the number is inf"),
        ({"cc": 1.0, "other": 1.0}, r"column 'c': the record has no such column.*did you mean 'cc'"),
    ],
)
def test_a_cell_that_cannot_be_read_is_told(record: Record, said: str) -> None:
    with pytest.raises(DataError, match=said):
        column([1.0, 2.0, 3.0]).encode(record)


def test_a_key_that_training_records_lack_may_be_lacking() -> None:
    rows = [{"x": i % 5, "target": 0} | ({"y": i % 3} if i % 2 else {}) for i in range(20)]
    inputs = fitted(rows)
    assert torch.equal(inputs.encode({"x": 1})["x"], inputs.encode({"x": 1, "y": None})["x"])
    assert inputs.width == 3


def test_dates_are_days() -> None:
    inputs = column([f"2024-01-{d:02d}" for d in range(1, 31)], scaling="standard")
    with pytest.raises(DataError, match="'soon' is not a date"):
        inputs.encode({"c": "soon", "other": 0.0})
    with pytest.raises(DataError, match="12 is not a date"):
        inputs.encode({"c": 12, "other": 0.0})
    number = next(n for n in inputs.numbers if n.name == "c")
    assert number.read("1970-01-03") == 2
    assert number.read(date(1970, 1, 2)) == 1
    assert number.read("1970-01-01T12:00:00") == 0.5


def test_what_was_learned_survives_json() -> None:
    rows = [
        {"a": i * 0.7 if i % 5 else None, "b": "xyz"[i % 3], "d": f"2024-02-{i % 28 + 1:02d}", "e": 1}
        for i in range(60)
    ]
    inputs = fitted([{**r, "target": 0} for r in rows])
    again = Inputs(numeric=(), categorical=(), ignore=(), scaling="quantile")
    again.load_state_dict(json.loads(json.dumps(inputs.state_dict(), allow_nan=False)))
    for row in rows:
        one, two = inputs.encode(row), again.encode(row)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[k], two[k]) for k in one)
    assert again.notes == inputs.notes != []
    assert again.cardinalities == inputs.cardinalities


def test_linear_models_see_numbers_and_one_column_per_level() -> None:
    from trainwright.data.encode import encode_records  # through a processor, as rows are made
    from trainwright.tasks.tabular_regression import TabularRegression

    task = TabularRegression()
    rows = [{"a": i * 0.7, "b": "xyz"[i % 3], "target": float(i)} for i in range(12)]
    task.processor.fit(rows)
    inputs = task.processor.inputs
    flat = inputs.flat(**inputs.batch(encode_records(rows, task.processor)))
    assert flat.shape == (12, 1 + 4)  # a; missing, x, y, z
    assert flat[:3, 1:].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@given(
    values=st.lists(st.integers(0, 500), min_size=3, max_size=900), scaling=st.sampled_from(["quantile", "standard"])
)
@settings(max_examples=30, deadline=None)
def test_edges_rise_within_the_training_values_and_are_few(
    values: list[int], scaling: Literal["quantile", "standard"]
) -> None:
    if len(set(values)) < 2:
        return
    inputs = column(values, numeric=["c"], scaling=scaling)
    number = next(n for n in inputs.numbers if n.name == "c")
    edges = np.array(number.edges)
    assert np.all(np.diff(edges) > 0)
    assert len(edges) <= BINS + 1
    scaled = {np.float32(number.scaled(v)) for v in values}
    assert set(edges.astype(np.float32)) <= scaled
    assert (min(edges), max(edges)) == (min(scaled), max(scaled))
    if len(scaled) <= BINS + 1:
        assert len(edges) == len(scaled)


def test_bins_hold_about_as_many_training_values_each() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=100 * BINS).tolist()
    number = column(values, scaling="standard").numbers[0]
    held = np.histogram(np.float32([number.scaled(v) for v in values]), np.float32(number.edges))[0]
    assert len(held) == BINS
    assert 99 <= held.min() <= held.max() <= 101


def test_a_value_that_repeats_does_not_use_up_the_bins() -> None:
    rng = np.random.default_rng(0)
    values = [0.0 if rng.random() < 0.95 else float(rng.normal()) for _ in range(6000)]
    assert len(column(values, scaling="standard").numbers[0].edges) > 100


def test_edges_follow_the_columns_of_x_marks_last() -> None:
    inputs = fitted([{"a": i, "b": None if i % 3 else i / 2, "target": 0} for i in range(12)])
    assert [len(e) for e in inputs.edges] == [12, 4, 2]
    assert inputs.edges[2] == [0.0, 1.0]
    again = Inputs(numeric=(), categorical=(), ignore=(), scaling="quantile")
    again.load_state_dict(json.loads(json.dumps(inputs.state_dict())))
    assert again.sizes() == json.loads(json.dumps(inputs.sizes())) == inputs.sizes()


def test_the_index_of_a_frame_is_no_input_in_whatever_order_it_stands(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(40)
    frame = pd.DataFrame({"a": order % 7, "target": order > 20}, index=order)
    frame.to_csv(tmp_path / "t.csv")
    records = list(Table(path=str(tmp_path / "t.csv")))
    (note,) = fitted(records).notes
    assert note == "column 'Unnamed: 0' is left out: an id: whole numbers, each once"
