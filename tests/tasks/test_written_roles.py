"""Cells as people write them find their roles: numbers with units, dates of every country, levels in any spelling."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import torch

from tests.tasks.test_roles import column, fitted, role
from trainwright.core.errors import DataError
from trainwright.data.roles import FIRST, MISSING, UNKNOWN
from trainwright.data.tabular import Inputs


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,200", "950", "12,000,000", "7"] * 5, "number"),
        (["$5", "$6.50", "$1,200", None] * 5, "number"),
        (["5 %", "6.5 %", "-3 %"] * 5, "number"),
        (["$5", "6 €", "$7"] * 5, "category"),
        (["00501", "10001", "94105"] * 5, "category"),
        (["31.12.2024", "01.06.2023", "15.03.2024"] * 5, "date"),
        (["12/31/2024", "01/06/2023", "03/15/2024"] * 5, "date"),
        (["Dec 31, 2024", "Jun 1, 2023", "Mar 15, 2024"] * 5, "date"),
        (["03/04/2024", "05/06/2024", "01/02/2024"] * 5, "day first and month first"),
        ([Decimal("1.5"), Decimal("2"), Decimal("NaN"), None] * 5, "number"),
        ([10**30, 5, 7, 10**25] * 5, "number"),
        ([f"{i}.5" for i in range(99)] + ["n.a."], "number"),
        ([f"{i}.5" for i in range(60)] + [f"ticket {i}" for i in range(40)], "free text"),
    ],
)
def test_what_people_write_finds_its_role(values: list[Any], expected: str) -> None:
    if "n.a." in values:  # one word among numbers is a mistake that names its record, not a reason to lose the column
        with pytest.raises(DataError, match=r"training record 99, column 'c'.*'n\.a\.' is not a number"):
            role(values)
    else:
        assert expected in role(values)


def test_units_do_not_change_a_number_and_another_unit_is_refused() -> None:
    inputs = column(["$5", "$1,200", "$7.50", "$20"] * 5, scaling="standard")
    plain = column([5, 1200, 7.5, 20] * 5, scaling="standard")
    for value, number in (("$1,200", 1200), ("1200", 1200), (7.5, 7.5), ("-$3", -3)):
        assert torch.equal(inputs.encode({"c": value, "other": 0})["x"], plain.encode({"c": number, "other": 0})["x"])
    with pytest.raises(DataError, match=r"'€5' is not a number in \$"):
        inputs.encode({"c": "€5", "other": 0})


def test_dates_are_days_with_weekday_month_and_hour() -> None:
    stamps = [datetime(2024, 1, 1) + timedelta(hours=31 * i) for i in range(60)]
    inputs = column([f"{s:%d.%m.%Y %H:%M}" for s in stamps], scaling="standard")
    assert {c.part: c.size - FIRST for c in inputs.categories} == {"weekday": 7, "month": 3, "hour": 24}
    by_iso = column([s.isoformat() for s in stamps], scaling="standard")
    same = inputs.encode({"c": "04.02.2024 09:00", "other": 0})
    iso = by_iso.encode({"c": "2024-02-04T09:00:00", "other": 0})
    assert torch.equal(same["x"], iso["x"])
    weekday, month, _ = (
        c.levels[i - FIRST] for c, i in zip(inputs.categories, same["categorical"].tolist(), strict=True)
    )
    assert (weekday, month) == ("7", "2")  # a Sunday in February
    missing = inputs.encode({"c": None, "other": 0})
    assert missing["categorical"].tolist() == [MISSING] * 3
    with pytest.raises(DataError, match="'soon' is not a date"):
        inputs.encode({"c": "soon", "other": 0})


def test_dates_of_one_month_at_midnight_have_no_month_and_no_hour() -> None:
    inputs = column([date(2024, 1, d) for d in range(1, 21)])
    assert [c.part for c in inputs.categories] == ["weekday"]


@pytest.mark.parametrize(
    ("levels", "asked", "same"),
    [
        (["yes", "no"], "Yes", "yes"),
        (["yes", "no"], True, "yes"),
        (["Y", "N"], "n", "N"),
        ([True, False], "true", "True"),
        ([True, False], 0, "False"),
        (["TRUE", "FALSE"], True, "TRUE"),
        (["north", "south"], "NORTH ", "north"),
        (["a", "A", "b"], "B", "b"),
        (["a", "A", "b"], "A", "A"),
        (["1.50", "XL"], 1.5, "1.50"),
        (["2.0", "3"], "2", "2.0"),
        ([-1, 1, 2], "+1", "1"),
        (["3.1", "3.10", "x"], "3.10", "3.10"),
        (["3.1", "3.10", "x"], 3.1, "3.1"),
    ],
)
def test_a_level_is_found_however_it_is_written(levels: list[Any], asked: Any, same: str) -> None:
    inputs = column(levels * 6, categorical=("c",))
    (known,) = inputs.categories
    assert inputs.encode({"c": asked, "other": 0})["categorical"].tolist() == [FIRST + known.levels.index(same)]


@pytest.mark.parametrize(
    ("levels", "asked"),
    [
        (["yes", "no"], "maybe"),
        (["yes", "no", "maybe"], True),
        (["Ab", "aB", "c"], "ab"),
        (["yes", "true"], "1"),
        (["1e3", "1E3"], 1000),
        (["007", "8x"], 7),
    ],
)
def test_a_level_that_could_be_several_or_none_is_unknown(levels: list[Any], asked: Any) -> None:
    inputs = column(levels * 6, categorical=("c",))
    assert inputs.encode({"c": asked, "other": 0})["categorical"].tolist() == [UNKNOWN]


def test_what_was_learned_of_writing_survives_as_json() -> None:
    stamps = [f"{datetime(2024, 1, 1) + timedelta(days=13 * i):%d.%m.%Y}" for i in range(40)]
    rows = [{"when": s, "price": f"${i},000", "target": 0} for i, s in enumerate(stamps, 1)]
    inputs = fitted(rows)
    other = Inputs(numeric=(), categorical=(), ignore=(), scaling="quantile")
    other.load_state_dict(json.loads(json.dumps(inputs.state_dict())))
    for row in (rows[3], {"when": None, "price": "12"}):
        assert all(torch.equal(v, other.encode(row)[k]) for k, v in inputs.encode(row).items())
