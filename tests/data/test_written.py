"""Numbers and dates in the ways people write them, and nothing else."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.data.written import date_of, forms_of, number_of

NUMBERS = {
    "12": (12.0, ""),
    "-1.5e3": (-1500.0, ""),
    ".5": (0.5, ""),
    "1,234": (1234.0, ""),
    "1,234,567.89": (1234567.89, ""),
    "+1 234 567": (1234567.0, ""),
    "1'234.5": (1234.5, ""),
    "1\u202f234": (1234.0, ""),
    "$12": (12.0, "$"),
    "-$1,200.50": (-1200.5, "$"),
    "$-3": (-3.0, "$"),
    "12 €": (12.0, "€"),
    "7%": (7.0, "%"),
    "7.5 %": (7.5, "%"),
    "(1,234.50)": (-1234.5, ""),
    "($3)": (-3.0, "$"),
    "−4": (-4.0, ""),
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_read_with_its_unit(text: str) -> None:
    assert number_of(text) == NUMBERS[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "four",
        "1,23",
        "12,34,567",
        "0,123",
        "1,234 567",
        "$5%",
        "$ ",
        "--3",
        "(-3)",
        "(3",
        "3)",
        "1.2.3",
        "5 kg",
        "A1",
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        number_of(text)


@given(st.floats(-1e12, 1e12).map(lambda x: round(x, 2)))
def test_what_python_writes_with_groups_is_read_again(x: float) -> None:
    assert number_of(f"{x:,.2f}") == (x, "")


DAYS = [date(2024, 1, 31) + timedelta(days=37 * i) for i in range(40)]


@pytest.mark.parametrize(
    "form",
    ["%d.%m.%Y", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d %b %Y", "%B %d, %Y", "%d-%b-%Y", "%d.%m.%Y %H:%M"],
)
def test_a_form_is_found_from_the_dates_alone(form: str) -> None:
    texts = [f"{datetime(d.year, d.month, d.day, 13, 5):{form}}" for d in DAYS]
    found = forms_of(texts)
    assert [date_of(t, found[0]).date() for t in texts] == DAYS
    assert len({date_of(t, f) for f in found for t in texts[:1]}) == 1


def test_iso_goes_without_saying() -> None:
    assert forms_of([d.isoformat() for d in DAYS])[0] == ""
    assert forms_of(["2024-01-01T10:00:00+02:00"])[0] == ""


def test_days_up_to_twelve_can_be_read_both_ways() -> None:
    assert forms_of(["03/04/2024", "05/06/2024"]) == ["%d/%m/%Y", "%m/%d/%Y"]


@pytest.mark.parametrize(
    "texts", [["12", "13"], ["2024", "2025"], ["soon"], ["2024-01-01", "soon"], ["1.5.3", "x"], []]
)
def test_what_is_no_date_has_no_form(texts: list[str]) -> None:
    assert forms_of(texts) == []
