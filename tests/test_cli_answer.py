"""`predict` answers for whatever holds records, names each, and says what it could not read."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trainwright as tw
from trainwright.cli import main
from trainwright.cli.rows import Rows, file_rows
from trainwright.core.errors import UserError
from trainwright.runs.answers import answered
from trainwright.runs.inputs import Item

Captured = pytest.CaptureFixture[str]
NAMES = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
HEAD = ["input", "row", "label", "probability", *(f"probabilities.{n}" for n in ("setosa", "versicolor", "virginica"))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on flowers and one on digits, and a table of three flowers."""
    place = tmp_path_factory.mktemp("answers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.chdir(place)
        tw.train("iris", {"budget": "2 epochs"}, out=place / "iris", quiet=True)
        tw.train("digits", {"budget": "2 steps", "model.filters": [2]}, out=place / "digits", quiet=True)
    rows = [dict(zip(["name", *NAMES], [f"flower {i}", *f], strict=True)) for i, f in enumerate(FLOWERS)]
    with (place / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["name", *NAMES])
        writer.writeheader()
        writer.writerows(rows)
    (place / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture
def place(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def said(arguments: list[str], capfd: Captured, code: int = 0) -> tuple[str, str]:
    assert main(["predict", *arguments]) == code
    captured = capfd.readouterr()
    return captured.out, captured.err


def test_a_table_is_answered_on_a_pipe_as_csv_json_lines_and_one_object(place: Path, capfd: Captured) -> None:
    expected = tw.open("iris").predict([dict(zip(NAMES, f, strict=True)) for f in FLOWERS])
    out, _ = said(["iris", "new.csv"], capfd)
    rows = table(out)
    assert list(rows[0]) == HEAD
    assert [(r["input"], r["row"], r["label"]) for r in rows] == [
        ("new.csv", str(i), a["label"]) for i, a in enumerate(expected, 1)
    ]
    for row, answer in zip(rows, expected, strict=True):
        given = {k: float(row[f"probabilities.{k}"]) for k in answer["probabilities"]}
        assert given == pytest.approx(answer["probabilities"], rel=1e-5)
        assert sum(given.values()) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == max(given.values())

    out, _ = said(["iris", "new.jsonl", "--format", "jsonl"], capfd)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["row"] for line in lines] == [1, 2, 3]
    out, _ = said(["iris", "new.csv", "new.jsonl", "--json"], capfd)
    assert [(a["input"], a["row"]) for a in json.loads(out)["answers"]] == [
        (name, i) for name in ("new.csv", "new.jsonl") for i in (1, 2, 3)
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_file_of_answers_is_new_whole_and_keeps_fields_of_the_records(
    suffix: str, place: Path, capfd: Captured
) -> None:
    out, err = said(["iris", "new.csv", "--keep", "name", "--out", f"a.{suffix}"], capfd)
    assert out == f"3 answers in a.{suffix}\n"
    text = (place / f"a.{suffix}").read_text()
    rows = table(text) if suffix == "csv" else [json.loads(line) for line in text.splitlines()]
    assert [row["name"] for row in rows] == ["flower 0", "flower 1", "flower 2"]
    assert "a.{suffix}' exists" not in err
    _, err = said(["iris", "new.csv", "--out", f"a.{suffix}"], capfd, code=2)
    assert "exists; choose another name; nothing was overwritten" in err
    assert (place / f"a.{suffix}").read_text() == text


@pytest.mark.parametrize(
    ("out", "message"), [("answers.txt", "suffix"), ("no/where.csv", "is not there"), ("", "suffix")]
)
def test_a_place_that_cannot_be_written_is_told_before_any_work(
    out: str, message: str, place: Path, capfd: Captured
) -> None:
    _, err = said(["iris", "nothing.csv", "--out", out], capfd, code=2)
    assert message in err


def test_a_field_of_the_answers_own_name_is_repeated_beside_it(place: Path, capfd: Captured) -> None:
    out, _ = said(["digits", "--part", "test", "--keep", "label", "--format", "jsonl"], capfd)
    first = json.loads(out.splitlines()[0])
    assert {"part", "record", "record.label", "label", "probability", "probabilities"} == set(first)
    assert len(first["probabilities"]) == 10
    _, err = said(["iris", "new.csv", "--keep", "nam"], capfd, code=2)
    assert "did you mean 'name'" in err


def test_a_part_of_the_runs_own_data_is_answered_as_it_was_scored(place: Path, capfd: Captured) -> None:
    run = tw.open("iris")
    out, _ = said(["iris", "--part", "test", "--keep", "target"], capfd)
    rows = table(out)
    assert len(rows) == run.manifest["data"]["samples"]["test"]
    right = sum(row["target"] == row["label"] for row in rows) / len(rows)
    assert right == pytest.approx(run.metrics["test/accuracy"])
    assert len({row["record"] for row in rows}) == len(rows)
    _, err = said(["iris", "new.csv", "--part", "test"], capfd, code=2)
    assert "give one of them" in err
    said(["iris"], capfd, code=2)


def test_pictures_and_folders_of_them_are_answered_by_name(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.png", "deep/a.png", "deep/er/c.JPG"):
        Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(name)
    (tmp_path / "deep" / "notes.txt").write_text("none")
    out, _ = said([str(place / "digits"), "b.png", "deep"], capfd)
    assert [row["input"] for row in table(out)] == ["b.png", "deep/a.png", "deep/er/c.JPG"]


def standard_input(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize("name", ["new.csv", "new.jsonl"])
def test_standard_input_is_read_as_csv_or_json_lines(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    wanted, _ = said(["iris", name], capfd)
    standard_input((place / name).read_text(), monkeypatch)
    out, _ = said(["iris", "-"], capfd)
    assert out.replace("\n-,", f"\n{name},") == wanted
    standard_input("\n \n", monkeypatch)
    _, err = said(["iris", "-"], capfd, code=2)
    assert "standard input: is empty" in err


def test_json_lines_are_answered_a_batch_at_a_time_and_none_is_read_ahead(place: Path) -> None:
    predictor = tw.open("iris").predictor
    record, read = dict(zip(NAMES, FLOWERS[0], strict=True)), 0

    def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield Item({"row": read}, "nowhere", lambda: record)

    answers = answered(predictor, endless())
    next(answers)
    assert read == predictor.batch_size


def test_what_cannot_be_read_ends_the_command_or_is_passed_over_by_name(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save("good.png")
    Path("bad.png").write_text("no picture")
    inputs = [str(place / "digits"), "bad.png", "gone.png", "good.png", "good.png"]
    out, err = said([*inputs, "--out", "a.csv"], capfd, code=2)
    assert (out, Path("a.csv").exists()) == ("", False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.png", "good.png"]
    assert len(err.splitlines()) == 1
    out, err = said([*inputs, "--on-bad", "skip"], capfd)
    assert [row["input"] for row in table(out)] == ["good.png", "good.png"]
    for text in ("skipped: bad.png", "skipped: gone.png: no such file", "2 inputs were skipped"):
        assert text in err
    out, _ = said([*inputs, "--on-bad", "skip", "--json"], capfd)
    told = json.loads(out)
    assert [s["input"] for s in told["skipped"]] == ["gone.png", "bad.png"] or len(told["skipped"]) == 2
    assert len(told["answers"]) == 2
    _, err = said([str(place / "digits"), "bad.png", "--on-bad", "skip"], capfd, code=2)
    assert "no input could be used" in err


def test_a_broken_line_of_many_moves_no_answer_to_another_record(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    good = (place / "new.jsonl").read_text().splitlines()
    wanted = [json.loads(line) for line in said(["iris", "new.jsonl", "--format", "jsonl"], capfd)[0].splitlines()]
    standard_input("\n".join([good[0], "{torn", '{"x": 1}', good[1], '["list"]', good[2]]), monkeypatch)
    out, err = said(["iris", "-", "--on-bad", "skip", "--format", "jsonl"], capfd)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["row"] for row in rows] == [1, 4, 6]
    assert [row["label"] for row in rows] == [row["label"] for row in wanted]
    for row, other in zip(rows, wanted, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], rel=1e-5)
    assert "3 inputs were skipped" in err


def test_answers_of_other_fields_are_no_rows_of_one_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="write JSON lines instead"), file_rows(tmp_path / "a.csv") as rows:
        rows.write([{"a": 1}, {"b": 2}])
    assert list(tmp_path.iterdir()) == []
    stream = io.StringIO()
    assert Rows(stream, "jsonl").write([{"a": 1}, {"b": float("nan")}]) == 2
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [{"a": 1}, {"b": "NaN"}]


@pytest.mark.parametrize("targets", [("setosa", "", "virginica"), ("other", "a new kind", "setosa"), ("1", "2.5", "x")])
def test_a_target_in_the_table_is_not_read_and_may_be_anything(
    targets: tuple[str, ...], place: Path, tmp_path: Path, capfd: Captured
) -> None:
    plain, _ = said(["iris", "new.csv"], capfd)
    rows = [",".join([*NAMES, "target"]), *(",".join(map(str, [*f, t])) for f, t in zip(FLOWERS, targets, strict=True))]
    (tmp_path / "new.csv").write_text("\n".join(rows))
    out, _ = said(["iris", str(tmp_path / "new.csv"), "--keep", "target"], capfd)
    assert [row["target"] for row in table(out)] == list(targets)
    assert [row["probability"] for row in table(out)] == [row["probability"] for row in table(plain)]
    records = [{**dict(zip(NAMES, f, strict=True)), "target": t} for f, t in zip(FLOWERS, targets, strict=True)]
    assert [a["label"] for a in tw.open("iris").predict(records)] == [row["label"] for row in table(plain)]


def test_an_answer_does_not_hang_on_the_other_rows_of_the_file(tmp_path: Path, capfd: Captured) -> None:
    """In a file of its own, 2.00 looks like a number and 3.10 like 3.1; in training they stood beside XL."""
    sizes, grades = ["2.00", "XL", "3.1", "3.10"], ["+1", "-1", "+2"]
    rows = [f"{sizes[i % 4]},{grades[i % 3]},{'ab'[i % 4 > 1]}" for i in range(48)]
    (tmp_path / "t.csv").write_text("\n".join(["size,grade,y", *rows]))
    task = {"name": "tabular_classification", "target": "y", "categorical": ["grade"]}
    data = {"source": "table", "path": str(tmp_path / "t.csv"), "columns": ["size", "grade", "y"]}
    run = tw.train(
        {"task": task, "data": data, "model": {"name": "mlp", "width": 8}, "doctor": "off", "pace": "plain"},
        {"budget": "5 epochs", "score": "none"}, out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    whole, _ = said([str(run.path), str(tmp_path / "t.csv")], capfd)
    expected = [float(row["probabilities.a"]) for row in table(whole)]
    assert len({round(p, 5) for p in expected}) == 12
    records = [dict(zip(("size", "grade"), row.split(","), strict=False)) for row in rows]
    for i in range(12):
        (tmp_path / "one.csv").write_text("size,grade\n" + ",".join(records[i].values()))
        alone, _ = said([str(run.path), str(tmp_path / "one.csv")], capfd)
        assert float(table(alone)[0]["probabilities.a"]) == pytest.approx(expected[i], rel=1e-5)
    assert [a["probabilities"]["a"] for a in run.predict(records)] == pytest.approx(expected, rel=1e-5)
