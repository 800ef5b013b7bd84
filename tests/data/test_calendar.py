"""Steps between times: found, counted, and gone on with, over months of any length, weekends and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from trainwright.data.calendar import Step, read_times, step_of, written_time

CASES = [
    (["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"], "1 month", 12, ["2020-05-31", "2020-06-30"]),
    (["2020-01", "2020-04", "2020-10"], "3 months", 4, ["2021-01", "2021-04"]),
    (["2023-11-30", "2023-12-30", "2024-01-30"], "1 month", 12, ["2024-02-29", "2024-03-30"]),
    (["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"], "1 business day", 5, ["2024-01-10", "2024-01-11"]),
    (["2024-01-05", "2024-01-06", "2024-01-07", "2024-01-08"], "1 day", 7, ["2024-01-09", "2024-01-10"]),
    (["2024-01-01", "2024-01-08", "2024-01-15"], "1 week", 52, ["2024-01-22", "2024-01-29"]),
    (["2020-01-01T00:15", "2020-01-01T00:30"], "15 minutes", 96, ["2020-01-01 00:45:00", "2020-01-01 01:00:00"]),
    (["31.12.2019 23:00", "01.01.2020 00:00"], "1 hour", 24, ["2020-01-01 01:00:00", "2020-01-01 02:00:00"]),
    (["1949-01-01", "1950-01-01", "1951-01-01"], "12 months", 1, ["1952-01-01", "1953-01-01"]),
    ([1949, 1950, 1952, 1953], "1 number", 1, [1954, 1955]),
    (["2020-01-01T00+02:00", "2020-01-01T01+02:00"], "1 hour", 24, ["2020-01-01 00:00:00", "2020-01-01 01:00:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("times", "step", "season", "then"), CASES, ids=[f"{c[1]} {c[0][0]}" for c in CASES])
def test_a_step_is_found_and_gone_on_with(times: list[object], step: str, season: int, then: list[object]) -> None:
    ticks, form = read_times(times)
    found = step_of(ticks, form == "number")
    assert (str(found), found.season) == (step, season)
    places, fits = found.places(ticks)
    assert fits.all()
    assert [written_time(found.after(int(ticks[-1]), k), form) for k in (1, 2)] == then
    assert [found.after(int(ticks[0]), k) for k in places.tolist()] == ticks.tolist()
    assert Step.of_list(found.as_list()) == found


@pytest.mark.parametrize("rule", [Step("month", 1), Step("month", 1, True), Step("business day", 2), Step("number", 3)])
def test_steps_and_places_are_each_others_inverse(rule: Step) -> None:
    start = int(np.datetime64("2023-11-30", "D").astype(np.int64)) * 86_400_000_000 if rule.unit != "number" else 5
    ticks = np.array([rule.after(start, k) for k in range(40)], dtype=np.int64)
    places, fits = rule.places(ticks)
    assert places.tolist() == list(range(40))
    if rule != Step("month", 1):  # the 30th is not in every month
        assert fits.all()


@pytest.mark.parametrize(
    ("values", "at", "says"),
    [
        (["2020-01-01", None], 1, "missing"),
        (["2020-01-01", "soon"], 1, "'soon' is no date"),
        (["2020-01-01", 3.5], 1, "3.5"),
        (["03/04/2020", "05/06/2020"], 0, "day and month or as month and day"),
    ],
)
def test_what_is_no_time_is_told_with_its_number(values: list[object], at: int, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        read_times(values)
    assert error.value.args[0] == at
