"""Piano rolls in JSON: parts, grids, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainwright.core.errors import DataError
from trainwright.core.kinds import sources
from trainwright.data.piano_rolls import looks_like

PIECES = {"test": [[[60]]], "train": [[[60, 64.0], []], [[70], [71]]], "valid": [[[62]], [[63]]]}


def source(folder: Path, whole: Any, **options: Any) -> Any:
    (folder / "rolls.json").write_text(json.dumps(whole))
    return sources["piano_rolls"](path=str(folder / "rolls.json"), **options)


def test_pieces_are_in_the_order_of_their_parts(tmp_path: Path) -> None:
    made = source(tmp_path, PIECES, per_beat=4)
    assert {p: list(ids) for p, ids in made.parts().items()} == {"train": [0, 1], "valid": [2, 3], "test": [4]}
    assert made[0] == {"steps": [[60, 64], []], "per_beat": 4, "path": "piece 0 of train"}
    assert made.where(3) == "rolls.json, piece 1 of valid"
    assert made.fields() == list(made[0])


def test_a_list_of_pieces_has_no_parts(tmp_path: Path) -> None:
    made = source(tmp_path, PIECES["train"])
    assert (len(made), dict(made.parts()), made.where(1)) == (2, {}, "rolls.json, piece 1")


def test_a_bad_piece_is_told_when_it_is_read(tmp_path: Path) -> None:
    made = source(tmp_path, [[[60]], [[200]], 7])
    assert made[0]["steps"] == [[60]]
    with pytest.raises(DataError, match=r"rolls.json, piece 1, step 0: pitch 200"):
        made[1]
    with pytest.raises(DataError, match=r"rolls.json, piece 2: 'steps' is int"):
        made[2]


@pytest.mark.parametrize(
    ("whole", "says"),
    [
        ("{", "is no JSON"),
        ("3", "holds no lists of pieces"),
        ('{"train": 3}', "holds no lists of pieces"),
        ('{"training": []}', "has a part 'training'"),
        ("[]", "holds no piece"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_other_json_is_told(whole: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "rolls.json").write_text(whole)
    with pytest.raises(DataError, match=says):
        sources["piano_rolls"](path=str(tmp_path / "rolls.json"))


@pytest.mark.parametrize(("whole", "is_one"), [(PIECES, True), (PIECES["train"], True), ({}, False), ([], False)])
def test_such_a_file_is_known_by_its_form(whole: Any, is_one: bool) -> None:
    assert looks_like(whole) is is_one
    assert not looks_like([{"a": 1}])
    assert not looks_like({"a": [[["x"]]]})
    assert not looks_like(3)
