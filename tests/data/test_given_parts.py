"""Parts that the data come with, or that a person gives: kept as they are, and refused where they are careless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.data.test_split import lengths, lists, source, whole
from trainwright.core.errors import DataError, UserError
from trainwright.core.task import Record
from trainwright.data.joined import Joined
from trainwright.data.source import Source
from trainwright.data.split import split


def parted(**sizes: int) -> Joined:
    return Joined({p: source(n) for p, n in sizes.items()})


def test_given_parts_are_kept_and_valid_is_drawn_from_train() -> None:
    result = split(parted(train=50, test=10), strata=[i % 2 for i in range(60)])
    assert whole(result, 60)
    assert lengths(result) == {"train": 45, "valid": 5, "test": 10}
    assert result.parts["test"].tolist() == list(range(50, 60))
    assert result.how == "given; valid drawn from train, stratified"


def test_given_parts_can_be_all_there_is() -> None:
    assert lengths(split(parted(train=50, valid=5, test=10))) == {"train": 50, "valid": 5, "test": 10}
    assert lengths(split(parted(train=50, test=10), how="given")) == {"train": 50, "test": 10}
    assert lengths(split(parted(train=50, test=10), valid=0)) == {"train": 50, "test": 10}
    assert lengths(split(parted(train=50, valid=10))) == {"train": 50, "valid": 10}
    assert lengths(split(parted(train=50, valid=10), test=5)) == {"train": 45, "valid": 10, "test": 5}


def test_a_file_for_a_part_is_that_part() -> None:
    assert lengths(split(parted(train=50, test=10), test="adult_test.csv", valid=7)) == {
        "train": 43,
        "valid": 7,
        "test": 10,
    }
    with pytest.raises(UserError, match=r"data\.test: 'adult_test\.csv' was not joined"):
        split(source(50), test="adult_test.csv")
    with pytest.raises(UserError, match=r"data\.valid: the data come with their own"):
        split(parted(train=50, valid=5, test=10), test="adult_test.csv", valid=7, how="random")


def test_a_number_for_a_given_part_must_be_meant() -> None:
    with pytest.raises(
        UserError, match=r"data\.test: the data come with their own test part of 10 records; leave data\.test out"
    ):
        split(parted(train=50, test=10), test=0.5)
    result = split(parted(train=50, test=10), test=0.5, how="random")
    assert lengths(result) == {"train": 24, "valid": 6, "test": 30}
    assert result.how == "random"
    assert lists(split(parted(train=50, test=10), how="random"))["test"] == list(range(50, 60))


def test_a_field_can_tell_the_parts() -> None:
    words = ["train", "Val", "dev", "TEST", "training", "train "]
    result = split(source(6, p=words), part="p")
    assert lists(result) == {"train": [0, 4, 5], "valid": [1, 2], "test": [3]}
    with pytest.raises(DataError, match="record 1: 'p' is 'later', which names no part"):
        split(source(2, p=["train", "later"]), part="p")
    with pytest.raises(UserError, match=r"data\.test: .*leave data\.part out"):
        split(source(6, p=words), part="p", test=1, how="random")


def test_ranges_are_taken_as_they_are() -> None:
    result = split(source(100), ranges={"test": [70, 80], "train": [0, 50], "valid": [50, 60]})
    assert lists(result) == {"train": list(range(50)), "valid": list(range(50, 60)), "test": list(range(70, 80))}
    assert result.contiguous


def test_groups_hold_over_given_parts() -> None:
    data = Joined({"train": source(20, g=[i // 2 for i in range(20)]), "test": source(4, g=[20, 20, 21, 21])})
    result = split(data, group="g", valid=4)
    assert lengths(result) == {"train": 16, "valid": 4, "test": 4}
    mixed = Joined({"train": source(20, g=[i // 2 for i in range(20)]), "test": source(2, g=[3, 20])})
    with pytest.raises(DataError, match=r"record 0: 'g' 3 is in (train|valid) and in test"):
        split(mixed, group="g")


class Odd(Source):
    """Ten records with parts as a careless source might give them."""

    def __init__(self, **parts: list[int]) -> None:
        self.own = parts

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Record:
        return {"x": index}

    def fingerprint(self) -> str:
        return "odd"

    def parts(self) -> Mapping[str, Sequence[int]]:
        return self.own


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": [0, 1], "test": [1, 2]}, "a record is in two parts"),
        ({"train": [0, 1], "test": []}, r"data\.test: the part is empty"),
        ({"test": [0, 1]}, "without train"),
        ({"train": [0, 1], "holdout": [2]}, "a part 'holdout'"),
    ],
)
def test_careless_parts_are_refused(parts: dict[str, list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(Odd(**parts))
