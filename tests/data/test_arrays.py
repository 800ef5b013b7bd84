from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from trainwright.core.errors import DataError
from trainwright.data.arrays import Arrays, Records, frame


def test_rows_of_numbers_are_python_values_and_rows_of_arrays_are_views() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    source = Arrays(
        {
            "x": x,
            "y": torch.tensor([3, 4, 5]),
            "z": torch.ones(3, 2),
            "t": np.array(["a", "b", "c"]),
            "l": [1, "u", None],
        }
    )
    record = source[1]
    assert np.shares_memory(record["x"], x)
    assert record["x"].tolist() == [2, 3]
    assert isinstance(record["z"], torch.Tensor)
    assert (record["y"], record["t"], record["l"]) == (4, "b", "u")
    assert type(record["y"]) is int


def test_tensors_lose_their_gradient() -> None:
    source = Arrays({"x": torch.ones(2, 3, requires_grad=True)})
    assert not source[0]["x"].requires_grad


def test_an_array_of_which_nothing_is_masked_is_an_array() -> None:
    rows: Any = np.ma.masked_less([1.0, 2.0], 0)
    block = Arrays({"x": rows}).block(range(2))
    assert block is not None
    assert block["x"].tolist() == [1.0, 2.0]


def test_a_tensor_that_is_negated_when_it_is_read_is_read() -> None:
    turned = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert turned.is_neg()
    assert [r["x"] for r in Arrays({"x": turned.reshape(2, 1)})] == [-2.0, 4.0]


def test_dates_become_iso_text() -> None:
    source = Arrays({"t": np.array(["2020-01-02", "2020-01-03"], dtype="datetime64[D]")})
    assert source.values("t") == ["2020-01-02", "2020-01-03"]


def test_lengths_that_differ_are_told() -> None:
    with pytest.raises(DataError, match="not equally long: x 3, y 2"):
        Arrays({"x": np.zeros(3), "y": np.zeros(2)})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no array is given"),
        ({"x": np.zeros((0, 2))}, "the arrays are empty"),
        ({"x": np.array([[1], [1, 2]], dtype=object)}, "data 'x': a NumPy array of Python objects"),
        ({"x": np.array([(1, 2.0)], dtype="i4,f4")}, "data 'x': a NumPy array of"),
        ({"x": np.float32(1)}, "data 'x': float32 is neither"),
        ({"x": np.array(1.0)}, "data 'x': a single number has no rows"),
        ({"x": torch.tensor(1.0)}, "data 'x': a single number has no rows"),
        ({"x": torch.eye(3).to_sparse()}, "data 'x': a torch.sparse_coo tensor"),
        ({"x": pd.Series([1, 2])}, "data 'x': Series is neither.*to_numpy"),
        ({"x": "text"}, "data 'x': str is neither"),
        ({"x": np.ma.masked_less([1.0, -1.0, 2.0], 0)}, "data 'x': 1 of its 3 values is masked; fill them in"),
    ],
)
def test_what_is_no_array_is_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Arrays(columns)


def test_records_are_what_was_given() -> None:
    given: list[dict[str, Any]] = [{"a": 1, "b": [1, 2]}, {"b": None, "a": 2}]
    source = Records(given)
    assert [source[i] for i in range(2)] == given
    assert source.values("b") == [[1, 2], None]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "the list of records is empty"),
        ([{"a": 1}, {"b": 1}], "record 1: its keys differ from record 0's in a, b"),
        ([{"a": 1}, 3], "record 1: int is no record"),
    ],
)
def test_what_are_no_records_is_refused(records: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Records(records)


COLUMNS: dict[str, list[Any]] = {
    "i": [1, 2, 3],
    "f": [0.5, None, 1.5],
    "s": ["a", None, "c"],
    "b": [True, False, True],
    "d": [datetime(2020, 1, 2, 3, 4), None, datetime(2020, 1, 3)],
}


def test_polars_and_pandas_frames_give_the_same_records() -> None:
    one, two = frame(pl.DataFrame(COLUMNS)), frame(pd.DataFrame(COLUMNS))
    assert [one[i] for i in range(3)] == [two[i] for i in range(3)]
    assert one[0] == {"i": 1, "f": 0.5, "s": "a", "b": True, "d": "2020-01-02T03:04:00"}
    assert one[1] == {"i": 2, "f": None, "s": None, "b": False, "d": None}
    assert one.fingerprint() == two.fingerprint()


def test_types_of_pandas_become_python_values() -> None:
    data = pd.DataFrame(
        {
            "n": pd.array([1, None], dtype="Int64"),
            "c": pd.Categorical(["x", None]),
            "o": np.array(["u", None], dtype=object),
            "f": np.array([np.nan, 1], dtype=np.float32),
        },
        index=[7, 9],
    )
    source = frame(data)
    assert [source[i] for i in range(2)] == [
        {"n": 1, "c": "x", "o": "u", "f": None},
        {"n": None, "c": None, "o": None, "f": 1.0},
    ]
    assert source.fields() == ["n", "c", "o", "f"]


def test_types_of_polars_become_python_values() -> None:
    data = pl.DataFrame(
        {
            "d": [date(2020, 1, 2)],
            "m": [Decimal("1.50")],
            "p": [timedelta(minutes=1)],
            "u": pl.Series([2**63], dtype=pl.UInt64),
        }
    )
    assert frame(data)[0] == {"d": "2020-01-02", "m": 1.5, "p": 60.0, "u": 2**63}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pl.DataFrame({"a": [1]}).lazy(), "call .collect"),
        (pl.DataFrame({"a": []}), "the data frame is empty"),
        (pd.DataFrame(), "the data frame is empty"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are named 'a'"),
        ([1, 2], "builtins.list is not a data frame"),
    ],
)
def test_what_is_no_frame_is_refused(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        frame(data)
