"""Tables that are damaged, odd or meant badly: an exact count of what is read, or one message with file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from tests.mistakes import refused, written
from trainwright.core.errors import DataError
from trainwright.data.table import Table

ROWS = [f"{i},{i * i % 7},{'p' if i % 3 else 'q'}" for i in range(60)]
GOOD = "a,b,y\n" + "\n".join(ROWS) + "\n"
TASK: dict[str, Any] = {"name": "tabular_classification", "target": "y", "numeric": ["a", "b"]}


def recipe(path: Path, **more: Any) -> dict[str, Any]:
    return {"task": TASK, "data": {"source": "table", "path": str(path)}, "budget": "2 steps", **more}


def spoilt(line: int, text: str) -> str:
    """GOOD with another text on one line of the file."""
    lines = GOOD.splitlines()
    lines[line - 1] = text
    return "\n".join(lines) + "\n"


REFUSED: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "a row that is too short": (spoilt(9, "1,2"), ("t.csv, line 9", "2 cells where the first line has 3")),
    "a row that is too long": (spoilt(9, "1,2,p,q"), ("t.csv, line 9", "4 cells where the first line has 3")),
    "a quote that is never closed": (spoilt(9, '1,"2,p'), ("t.csv, line 9", "never closed")),
    "a quote in the middle of a cell": (spoilt(9, '1,2"3"4,p'), ("t.csv, line 9", "in the middle of a cell")),
    "a header that names a column twice": (GOOD.replace("a,b,y", "a,a,y", 1), ("two columns are named 'a'",)),
    "bytes that are not UTF-8": (GOOD.encode().replace(b"p", b"\xe9", 1), ("not UTF-8", 'encoding = "latin-1"')),
    "a number beyond all numbers": (spoilt(9, "1e400,2,p"), ("t.csv, line 9, column 'a'", "inf")),
    "an infinite number": (spoilt(9, "-inf,2,p"), ("t.csv, line 9, column 'a'", "-inf")),
    "a word in a column of numbers": (spoilt(9, "seven,2,p"), ("t.csv, line 9, column 'a'", "'seven' is not a number")),
    "a target that is missing": (spoilt(9, "1,2,"), ("t.csv, line 9", "the target 'y' is missing")),
    "a null character in a number": (spoilt(9, "1\x00,2,p"), ("t.csv, line 9, column 'a'", "is not a number")),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ("t.csv",)),
    "nothing at all": ("", ("the file is empty",)),
    "blank lines alone": ("\n\n\n", ("the file is empty",)),
    "a byte-order mark alone": (b"\xef\xbb\xbf", ("the file is empty",)),
    "a header alone": ("a,b,y\n", ("a header and no records",)),
    "the wrong separator": (GOOD.replace(",", ";"), ("only one column", 'separator = ";"')),
    "UTF-16": (GOOD.encode("utf-16"), ("UTF-16",)),
    "a half of a gzip file under another name": (gzip.compress(GOOD.encode())[:40], ("t.csv",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_cannot_be_used_names_the_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, told = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(["train", written(tmp_path, recipe(tmp_path / "t.csv"))], told, capsys, tmp_path)


READ: dict[str, bytes] = {
    "as it is": GOOD.encode(),
    "a byte-order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "line ends of Windows": GOOD.replace("\n", "\r\n").encode(),
    "mixed line ends": GOOD.replace("\n", "\r\n", 20).encode(),
    "no line end at the end": GOOD.rstrip().encode(),
    "blank lines within": GOOD.replace("\n", "\n\n", 5).encode(),
    "spaces around cells": GOOD.replace(",", " , ").encode(),
    "quotes around every cell": "\n".join(
        ",".join(f'"{c}"' for c in line.split(",")) for line in GOOD.splitlines()
    ).encode(),
}


@pytest.mark.parametrize("name", READ)
def test_an_oddly_written_table_has_the_same_records(name: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(READ[name])
    source = Table(path=str(tmp_path / "t.csv"))
    assert len(source) == 60
    assert [source[i] for i in range(60)] == [{"a": i, "b": i * i % 7, "y": "p" if i % 3 else "q"} for i in range(60)]


BROKEN = {9: "1,2", 20: "1,2,p,q", 33: "inf,2,p", 41: "1,x,q", 50: "1,2,"}


def test_every_bad_line_is_counted_once_and_no_other(tmp_path: Path) -> None:
    text = GOOD.splitlines()
    for line, bad in BROKEN.items():
        text[line - 1] = bad
    (tmp_path / "t.csv").write_text("\n".join(text) + "\n")
    more = {"on_bad_sample": "skip", "bad_samples": 5, "model": {"name": "mlp", "width": 4}}
    run = tw.train(recipe(tmp_path / "t.csv", **more), out=tmp_path / "run", quiet=True)
    told = run.manifest["data"]["bad_samples"]
    assert told["records"] == [line - 2 for line in BROKEN]
    assert sum(run.manifest["data"]["samples"].values()) == 55
    listed = (run.path / "bad_samples.csv").read_text()
    assert all(f"t.csv, line {line}" in listed for line in BROKEN)
    assert "2 cells where the first line has 3" in listed
    assert run.config["data"]["broken"] == "record"


def test_bad_lines_beyond_the_budget_end_with_76(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(GOOD + "1,2\n3,4\n")
    wrong = recipe(tmp_path / "t.csv", on_bad_sample="skip")
    told = ("2 of 62 samples are bad", "t.csv, line 62")
    refused(["train", written(tmp_path, wrong)], told, capsys, tmp_path, code=76)


def test_a_file_of_mostly_broken_lines_is_read_with_the_wrong_separator(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "1\n" * 10 + "1,2\n")
    with pytest.raises(DataError, match="name another separator"):
        Table(path=str(tmp_path / "t.csv"), broken="record")


def test_broken_lines_are_records_that_raise_and_values_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n\n5,6\n7,8,9\n10,11\n")
    source = Table(path=str(tmp_path / "t.csv"), broken="record")
    assert len(source) == 5
    assert [source[i] for i in (0, 2, 4)] == [{"a": 1, "b": 2}, {"a": 5, "b": 6}, {"a": 10, "b": 11}]
    assert source.values("b") == [2, None, 6, None, 11]
    for index, what in ((1, "line 3: 1 cell where"), (3, "line 6: 3 cells where")):
        with pytest.raises(DataError, match=what):
            source[index]


def test_a_line_of_json_that_is_broken_can_be_a_record_too(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n{"a": 2\n[3]\n{"a": 4}\n')
    with pytest.raises(DataError, match=r"t\.jsonl, line 2"):
        Table(path=str(path))
    source = Table(path=str(path), broken="record")
    assert source.values("a") == [1, None, None, 4]
    with pytest.raises(DataError, match=r"line 3: list where an object"):
        source[2]


JSON: dict[str, tuple[str, str]] = {
    "no JSON": ("a,b\n1,2\n", "not JSON"),
    "a list": ("[1, 2]\n", "list where an object"),
    "values of two kinds": ('{"a": 1}\n{"a": "x"}\n', "'a' is 'x' here and 1 on line 1"),
    "empty objects": ("{}\n{}\n", "have no values"),
}


@pytest.mark.parametrize("name", JSON)
def test_json_lines_that_cannot_be_used_name_the_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, told = JSON[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text(content)
    refused(["train", written(tmp_path, recipe(tmp_path / "t.jsonl"))], told, capsys, tmp_path)


@pytest.mark.parametrize("suffix", ["csv.gz", "parquet", "npz", "zip"])
def test_a_file_that_is_not_what_its_name_says_is_told(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"t.{suffix}"
    path.write_text(GOOD)
    source = {"npz": "npz", "zip": "folder"}.get(suffix, "table")
    wrong = {**recipe(path), "data": {"source": source, "path": str(path)}}
    refused(["train", written(tmp_path, wrong)], path.name, capsys, tmp_path)


def test_a_row_to_predict_that_is_wrong_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(GOOD)
    model = {"name": "mlp", "width": 4}
    run = tw.train(recipe(tmp_path / "t.csv", model=model), out=tmp_path / "run", quiet=True)
    for text, told in (("a,b\n1,x\n", "'x' is not a number"), ("a\n1\n", "no such column"), ("a,b\ninf,1\n", "inf")):
        (tmp_path / "new.csv").write_text(text)
        refused(["predict", str(run.path), str(tmp_path / "new.csv")], told, capsys, tmp_path)
    assert json.loads((run.path / "manifest.json").read_text())["data"]["samples"]["train"] == 48
