"""Texts that a run is asked about: typed, in tables, in files and folders, one by one or line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.cli import main

GOOD, BAD = "a warm film of the year", "a dull film of the year"


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("table")
    lines = [
        f"{'warm' if i % 2 else 'dull'} film {'abcdefg'[i % 7]} of the year,{'pos' if i % 2 else 'neg'}"
        for i in range(60)
    ]
    (place / "train.csv").write_text("review,mood\n" + "\n".join(lines))
    return trained(place, {"source": "table", "path": str(place / "train.csv")})


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("folder")
    for i in range(60):
        file = place / "films" / ("pos" if i % 2 else "neg") / f"{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"a {'warm' if i % 2 else 'dull'} film\nof the year {'abcdefg'[i % 7]}")
    return trained(place, {"source": "texts", "path": str(place / "films")})


def trained(place: Path, data: dict[str, Any]) -> Path:
    recipe = {
        "task": {"name": "text_classification"},
        "data": {**data, "test": 0.2},
        "model": {"name": "text_cnn", "width": 16, "filters": 8},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "batch_size": 8,
        "budget": "6 epochs",
    }
    return tw.train(recipe, out=place / "run", quiet=True).path


def asked(capsys: pytest.CaptureFixture[str], *given: str) -> list[dict[str, Any]]:
    assert main(["predict", *given, "--json"]) == 0
    answers: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["answers"]
    return answers


def test_a_typed_text_is_answered(table_run: Path, folder_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in (table_run, folder_run):
        answers = asked(capsys, str(run), "--text", GOOD, "--text", BAD)
        assert [(a["text"], a["label"]) for a in answers] == [(GOOD, "pos"), (BAD, "neg")]


def test_a_typed_text_without_a_piece_is_one_message(table_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(table_run), "--text", "  "]) == 2
    assert "is empty" in capsys.readouterr().err


def test_a_text_where_a_file_belongs_is_told_its_option(table_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(table_run), GOOD]) == 2
    assert "no such file or folder; a text to judge is given by --text" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_reads_no_text_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tw.train("iris", {"budget": "1 step"}, out=tmp_path / "run", quiet=True)
    assert main(["predict", str(run.path), "--text", "long petals"]) == 2
    assert "tabular_classification, which reads no text" in capsys.readouterr().err


def test_inputs_and_typed_texts_do_not_mix(table_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(table_run), "--text", GOOD, "--part", "test"]) == 2
    assert "one of INPUT, --part and --text" in capsys.readouterr().err


def test_rows_of_a_table_are_answered(table_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new.csv").write_text(f"review,stars\n{GOOD},5\n{BAD},1\n")
    answers = asked(capsys, str(table_run), str(tmp_path / "new.csv"), "--keep", "stars")
    assert [(a["row"], a["stars"], a["label"]) for a in answers] == [(1, 5, "pos"), (2, 1, "neg")]


def test_a_text_file_is_lines_or_one_text_as_in_training(
    table_run: Path, folder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.txt"
    file.write_text(f"{GOOD}\n\n{BAD}\n")
    assert [a["label"] for a in asked(capsys, str(table_run), str(file))] == ["pos", "neg"]
    assert len(asked(capsys, str(folder_run), str(file))) == 1
    (tmp_path / "more").mkdir()
    (tmp_path / "more/1.txt").write_text(GOOD)
    (tmp_path / "more/2.txt").write_text(BAD)
    assert [a["label"] for a in asked(capsys, str(folder_run), str(tmp_path / "more"))] == ["pos", "neg"]
