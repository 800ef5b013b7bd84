from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainwright.core.errors import DataError, UserError
from trainwright.data.arrays import Arrays
from trainwright.data.joined import Joined
from trainwright.data.source import Source
from trainwright.data.table import Table


def numbers(n: int, *names: str) -> Arrays:
    return Arrays({name: np.arange(n) for name in names})


def test_records_follow_each_other_part_by_part() -> None:
    both = Joined({"test": numbers(2, "x"), "train": numbers(3, "x"), "valid": numbers(1, "x")})
    assert both.values("x") == [0, 1, 2, 0, 0, 1]
    assert {p: list(ids) for p, ids in both.parts().items()} == {"train": [0, 1, 2], "valid": [3], "test": [4, 5]}
    assert [both[i]["x"] for i in range(6)] == both.values("x")


def test_a_part_without_the_target_says_so_only_when_it_is_asked_for() -> None:
    both = Joined({"train": numbers(3, "x", "y"), "test": numbers(2, "x")})
    assert both.lacking("y") == ["test"]
    assert both.lacking("x") == []
    assert both[4] == {"x": 1}
    assert both.values("x") == [0, 1, 2, 0, 1]
    with pytest.raises(DataError, match=r"data\.test: record 0 and on have no 'y'"):
        both.values("y")


def test_a_part_of_other_fields_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.test: lacks 2 fields of the train part: y, z"):
        Joined({"train": numbers(3, "x", "y", "z"), "test": numbers(2, "x")})


@pytest.mark.parametrize("names", [[], ["valid"], ["train", "extra"]])
def test_parts_have_their_names(names: list[str]) -> None:
    sources: dict[str, Source] = {n: numbers(2, "x") for n in names}
    with pytest.raises(UserError, match="give train"):
        Joined(sources)


def test_numbers_here_and_text_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("code,x\n1,1\n2,2\n")
    (tmp_path / "b.csv").write_text("code,x\n1,1\nA2,2\n")
    train, test = (str(tmp_path / n) for n in ("a.csv", "b.csv"))
    with pytest.raises(
        DataError, match=r'data\.test: \'code\' is text here and numbers in the train part.*text = \["code"\]'
    ):
        Joined({"train": Table(path=train), "test": Table(path=test)})
    both = Joined({"train": Table(path=train, text=("code",)), "test": Table(path=test, text=("code",))})
    assert both.values("code") == ["1", "2", "1", "A2"]
    assert both.where(3) == "b.csv, line 3"


def test_the_order_of_the_parts_is_in_the_fingerprint() -> None:
    a, b = numbers(2, "x"), numbers(3, "x")
    assert Joined({"train": a, "test": b}).fingerprint() != Joined({"train": b, "test": a}).fingerprint()


@pytest.mark.data
def test_the_unlabelled_passengers_join_the_labelled(real_data: Path) -> None:
    train, test = (Table(path=str(real_data / f"titanic/{p}.csv")) for p in ("train", "test"))
    both = Joined({"train": train, "test": test})
    assert len(both) == 1309
    assert both.lacking("Survived") == ["test"]
    assert both.where(891) == "test.csv, line 2"
