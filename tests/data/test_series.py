"""The source of series: an even grid of times, and everything that is not one told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainwright.core.errors import DataError
from trainwright.data.series import Series

HEAD = "date,load,heat\n"


def table(at: Path, lines: list[str], head: str = HEAD) -> str:
    path = at / "load.csv"
    path.write_text(head + "\n".join(lines) + "\n")
    return str(path)


def hours(*numbers: int) -> list[str]:
    return [f"2024-03-01 {h:02}:00,{10 + h},{h / 2}" for h in numbers]


def test_records_are_times_in_order_with_the_columns_of_numbers(tmp_path: Path) -> None:
    found = Series(path=table(tmp_path, hours(*range(5))))
    assert (len(found), str(found.step), found.time) == (5, "1 hour", "date")
    assert found[2] == {"time": "2024-03-01 02:00:00", "load": 12, "heat": 1.0}
    assert found.fields() == ["time", "load", "heat"]
    assert found.where(2) == "load.csv, line 4"
    last = ["2024-03-01 03:00:00", "2024-03-01 04:00:00"]
    assert found.stretch(2) == {"time": last, "load": [13, 14], "heat": [1.5, 2.0]}
    assert Series(path=str(found.path), columns=("heat",)).fields() == ["time", "heat"]
    assert Series(path=str(found.path), drop=("heat",)).fields() == ["time", "load"]


def test_missing_times_and_numbers_are_marked_where_that_is_asked_for(tmp_path: Path) -> None:
    lines = hours(0, 1, 4, 5)
    lines[1] = "2024-03-01 01:00,,0.5"
    path = table(tmp_path, lines)
    with pytest.raises(DataError, match=r"line 4: .*04:00:00 follows .*01:00:00.*2 times are missing.*gaps = \"mark\""):
        Series(path=path)
    found = Series(path=path, gaps="mark")
    assert [r["load"] for r in map(found.__getitem__, range(len(found)))] == [10, None, None, None, 14, 15]
    assert found.values("time")[2] == "2024-03-01 02:00:00"
    assert found.missing == 2
    assert "which is missing" in found.where(3)
    assert found.fingerprint() != Series(path=path, gaps="mark", drop=("heat",)).fingerprint()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (hours(0, 1, 1, 2), r"line 4: the time 2024-03-01 01:00:00 comes twice, first in load.csv, line 3"),
        (hours(0, 2, 1, 3), r"line 4: the time .*01:00:00 is earlier than .*02:00:00.*sort the file by 'date'"),
        ([*hours(0, 1, 2), "2024-03-01 02:30,1,1"], r"line 5: .*does not stand on the grid of 1 hour"),
        ([*hours(0, 1), "2024-03-01 02:00,,1", *hours(3)], r"line 4: column 'load' has no number here; 1 of its 4"),
        ([*hours(0, 1), "2024-03-01 02:00,much,1", *hours(3)], r"line 4: column 'load' holds text: 'much'.*drop ="),
        ([*hours(0, 1), "soon,1,1", *hours(3)], "no column holds times|is no date"),
        (hours(0, 1), "has 2 times"),
    ],
)
def test_what_is_no_even_grid_of_numbers_is_told_with_its_line(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        Series(path=table(tmp_path, lines))


def test_the_column_of_times_is_found_or_asked_for(tmp_path: Path) -> None:
    years = table(tmp_path, [f"{1990 + i},{i * i}" for i in range(6)], "year,births\n")
    assert Series(path=years).time == "year"
    assert str(Series(path=years).step) == "1 number"
    counted = table(tmp_path, [f"{3 * i},{i * i}" for i in range(6)], "count,births\n")
    with pytest.raises(DataError, match="no column holds times; there are count, births"):
        Series(path=counted)
    assert str(Series(path=counted, time_column="count").step) == "3 number" + "s"
    with pytest.raises(DataError, match="did you mean 'count'"):
        Series(path=counted, time_column="conut")
    two = table(tmp_path, [f"2024-01-0{i},2024-02-0{i},1" for i in range(1, 5)], "made,sold,n\n")
    with pytest.raises(DataError, match='several columns hold dates: made, sold; write time_column = "made"'):
        Series(path=two)
    with pytest.raises(DataError, match="holds text"):
        Series(path=two, time_column="made")
