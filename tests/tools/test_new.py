"""`new` looks at data and writes a recipe that trains with no edit, or says in one message why it cannot."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainwright as tw
from tests.tools.made_data import SHORT, csv, flats, houses, pictures, recipe, said, trained
from trainwright.cli import main
from trainwright.core.errors import DataError, UserError
from trainwright.runs.recipe import read
from trainwright.tools.new import new

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    return tmp_path


def test_a_table_of_numbers_becomes_a_regression_that_trains(place: Path) -> None:
    made = new(csv(place / "houses.csv", houses()))
    written = recipe(made)
    assert written["task"]["name"] == "tabular_regression"
    assert written["task"]["target"] == "price"
    assert written["data"] == {"source": "table", "path": "houses.csv", "valid": 0.2, "test": 0.2}
    assert written["name"] == "houses"
    assert "id: whole numbers, each once" in said(made, "")
    assert made.unsure == ()
    assert "test/rmse" in trained(made).metrics


def test_a_table_of_classes_becomes_a_classification_that_trains(place: Path) -> None:
    made = new(csv(place / "flats.csv", flats()), target="sold")
    assert recipe(made)["task"]["name"] == "tabular_classification"
    assert "it was asked for" in said(made, "target")
    assert "test/accuracy" in trained(made).metrics


def test_a_training_and_a_test_table_are_parts(place: Path) -> None:
    csv(place / "d" / "flats_train.csv", flats(80))
    csv(place / "d" / "flats_test.csv", flats(30))
    made = new("d", target="sold")
    assert recipe(made)["data"] == {
        "source": "table", "path": "d/flats_train.csv", "test": "d/flats_test.csv", "valid": 0.2,
    }  # fmt: skip
    run = trained(made)
    assert run.manifest["data"]["samples"] == {"train": 64, "valid": 16, "test": 30}
    again = new("d/flats_train.csv", out="one.toml", target="sold")
    assert any("flats_test.csv lies beside it" in text for text in again.unsure)


def test_a_test_table_without_the_target_tells_it_and_is_left_for_predictions(place: Path) -> None:
    rows = houses()
    csv(place / "d" / "train.csv", rows)
    csv(place / "d" / "test.csv", [{k: v for k, v in row.items() if k != "rooms"} for row in rows])
    made = new("d")
    assert recipe(made)["task"]["target"] == "rooms"
    assert "test" in recipe(made)["data"]
    assert recipe(made)["data"]["test"] == 0.2
    assert "test.csv has no 'rooms': it is for predictions" in said(made, "split")


def test_a_folder_of_pictures_trains_and_so_does_its_zip_in_a_folder(place: Path) -> None:
    pictures(place / "sun" / "train")
    pictures(place / "sun" / "val", n=2)
    made = new("sun/")
    assert recipe(made)["data"] == {"source": "folder", "path": "sun"}
    assert recipe(made)["task"] == {"name": "image_classification"}
    assert "12x12 pixels" in said(made, "data")
    assert trained(made).manifest["data"]["samples"] == {"train": 12, "valid": 4}

    (place / "packed").mkdir()
    with zipfile.ZipFile(place / "packed" / "sun.zip", "w") as archive:
        for file in (place / "sun").rglob("*.png"):
            archive.write(file, file.relative_to(place))
    assert recipe(new("packed", out="packed.toml"))["data"] == {"source": "folder", "path": "packed/sun.zip"}


def test_a_damaged_picture_is_told_by_its_place_and_can_be_passed_over(place: Path) -> None:
    pictures(place / "data", n=12)
    (place / "data" / "a" / "0.png").write_bytes(b"no picture")
    made = new("data")
    (doubt,) = [text for text in made.unsure if "0.png" in text]
    assert "data/a/0.png: the file is no image that can be read" in doubt
    with pytest.raises(DataError, match=r"data/a/0\.png"):
        tw.train(made.recipe, SHORT, quiet=True)
    run = tw.train(made.recipe, {**SHORT, "on_bad_sample": "skip", "bad_samples": 1}, quiet=True)
    assert sum(run.manifest["data"]["samples"].values()) == 23


def test_idx_files_and_npz_files_are_read(place: Path) -> None:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 255, (40, 6, 6), dtype=np.uint8), np.arange(40, dtype=np.uint8) % 4
    (place / "idx").mkdir()
    for part in ("train", "t10k"):
        head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in images.shape)
        (place / "idx" / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = b"\0\0\x08\x01" + (40).to_bytes(4, "big")
        (place / "idx" / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + labels.tobytes()))
    made = new("idx")
    assert recipe(made)["data"] == {"source": "idx", "path": "idx", "valid": 0.2}
    assert "test: 40 records of its own" in said(made, "split")
    with pytest.raises(UserError, match=r"is one of several IDX files; name their folder: trainwright new idx"):
        new("idx/train-images-idx3-ubyte", out="x.toml")

    np.savez(place / "pictures.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert recipe(new("pictures.npz", out="b.toml"))["task"] == {"name": "image_classification"}
    np.savez(place / "table.npz", X=draw.normal(size=(40, 3)), y=labels)
    made = new("table.npz", out="c.toml")
    assert recipe(made)["data"]["rows"] == "columns"
    assert recipe(made)["task"] == recipe(made)["task"] | {"name": "tabular_classification", "target": "y"}
    assert trained(made).state == "finished"


@pytest.mark.parametrize(
    ("column", "task", "doubt"),
    [
        ([0, 1] * 20, "tabular_classification", False), ([3, 7] * 20, "tabular_classification", False),
        ([1, 2, 3, 4] * 10, "tabular_classification", False), ([3, 4, 5, 6, 7] * 8, "tabular_regression", True),
        ([0.5, 1.5] * 20, "tabular_regression", False), (["a", "b"] * 20, "tabular_classification", False),
        ([True, False] * 20, "tabular_classification", False), (list(range(40)), "tabular_regression", False),
        ([0.0, 1.0] * 20, "tabular_classification", False),
    ],
)  # fmt: skip
def test_the_values_of_the_target_decide_between_classes_and_numbers(
    column: list[Any], task: str, doubt: bool, place: Path
) -> None:
    rows = [{"x": float(i % 7) + 0.5, "target": value} for i, value in enumerate(column)]
    (place / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    made = new("t.jsonl")
    assert recipe(made)["task"]["name"] == task
    assert any("if they are classes" in text for text in made.unsure) == doubt


@pytest.mark.parametrize("write", ["${:,.2f}", "{:.1f} %", "{:,.0f}", "€ {:.2f}"])
def test_a_target_of_numbers_with_a_unit_is_a_regression_that_trains(write: str, place: Path) -> None:
    rows = [{"size": i % 17 + 0.5, "price": write.format(1_000 * i + 1)} for i in range(40)]
    (place / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = new("t.jsonl")
    assert recipe(made)["task"]["name"] == "tabular_regression"
    run = trained(made)
    assert run.metrics["test/rmse"] > 0
    assert isinstance(run.predict([{"size": 3.5}])[0]["value"], float)


@pytest.mark.parametrize(
    ("names", "target", "others"),
    [
        (["a", "Label", "b"], "Label", ""), (["y", "a", "b"], "y", ""), (["class", "b", "target"], "target", ""),
        (["a", "SalePrice", "b"], "SalePrice", ""), (["a", "b", "c"], "c", "no column is named like"),
        (["median_income", "house_value", "b"], "house_value", "median_income"),
        (["marital-status", "income", "b"], "income", "marital-status"),
        (["priceless", "b", "c"], "c", "no column is named like"),
    ],
)  # fmt: skip
def test_the_target_is_found_by_its_name_and_doubts_are_said(
    names: list[str], target: str, others: str, place: Path
) -> None:
    rows = [{name: f"{1.5 * i + k % 3}" for k, name in enumerate(names)} for i in range(30)]
    made = new(csv(place / "t.csv", rows))
    assert recipe(made)["task"]["target"] == target
    assert others in " ".join(made.unsure)
    assert bool(others) == bool(made.unsure)


def test_the_dialect_of_a_table_is_found_and_written_down(place: Path) -> None:
    made = new(csv(place / "t.csv", houses(), separator=";", decimal=","))
    data = recipe(made)["data"]
    assert (data["separator"], data["decimal"]) == (";", ",")
    assert recipe(made)["task"]["name"] == "tabular_regression"
    (place / "latin.csv").write_bytes(b"town,price\n" + "Málaga,1.5\nCádiz,2.5\n".encode("latin-1") * 20)
    made = new("latin.csv", out="l.toml")
    assert recipe(made)["data"]["encoding"] == "cp1252"
    assert any("encoding = 'cp1252'" in text for text in made.unsure)
    headless = [{"1.5": i + 0.5, "2.25": i * 0.3, "a": "ab"[i % 2]} for i in range(20)]
    made = new(csv(place / "bare.csv", headless), out="b.toml")
    assert recipe(made)["data"]["header"] is False
    assert recipe(made)["task"]["target"] == "column_3"
    csv(place / "flowers.data", headless, separator="|", header=False)
    assert recipe(new("flowers.data", out="f.toml"))["data"] == {
        "source": "table", "path": "flowers.data", "separator": "|", "header": False, "valid": 0.2, "test": 0.2,
    }  # fmt: skip
    (place / "verses.txt").write_text("Shall I compare thee,\nto a summer's day?\nThou art, more, lovely\n")
    with pytest.raises(DataError, match="there are only 64 characters"):
        new("verses.txt", out="v.toml")
    years = [{"land": "ab"[i % 2], "2019": i * 1.5, "2020": i * 2.5} for i in range(20)]
    assert "header" not in recipe(new(csv(place / "years.csv", years), out="y.toml"))["data"]


def test_records_in_order_of_time_are_divided_by_it(place: Path) -> None:
    rows = [{"date": f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}", "x": i % 5, "demand": i * 1.5} for i in range(100)]
    made = new(csv(place / "t.csv", rows))
    assert recipe(made)["data"]["time"] == "date"
    assert any("in order of 'date'" in text for text in made.unsure)
    run = trained(made)
    assert run.manifest["data"]["split"] == "chronological"


def test_records_without_the_target_are_passed_over_and_counted(place: Path) -> None:
    rows = [{**row, "price": None if i % 20 == 0 else row["price"]} for i, row in enumerate(houses())]
    made = new(csv(place / "t.csv", rows))
    assert (recipe(made)["on_bad_sample"], recipe(made)["bad_samples"]) == ("skip", 3)
    assert trained(made).state == "finished"


def test_paths_hold_from_where_the_recipe_lies(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv(place / "d" / "t.csv", houses())
    (place / "recipes").mkdir()
    made = new("d/t.csv", out="recipes/a.toml")
    assert recipe(made)["data"]["path"] == "../d/t.csv"
    monkeypatch.chdir(place / "d")
    assert read(place / "recipes" / "a.toml").source["path"] == str(place / "d" / "t.csv")
    made = new(place / "d" / "t.csv", out=place / "recipes" / "b.toml")
    assert recipe(made)["data"]["path"] == str(place / "d" / "t.csv")
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(place / "d"))
    monkeypatch.chdir(place / "recipes")
    made = new("t.csv", out=place / "recipes" / "c.toml")
    assert recipe(made)["data"]["path"] == "t.csv"


def test_a_recipe_is_never_overwritten(place: Path) -> None:
    csv(place / "t.csv", houses())
    (place / "recipe.toml").write_text("mine")
    with pytest.raises(UserError, match=r"'recipe\.toml' exists"):
        new("t.csv")
    assert (place / "recipe.toml").read_text() == "mine"


def sounds(root: Path) -> Path:
    root.mkdir()
    (root / "a.wav").write_bytes(b"RIFF")
    return root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: sounds(p / "s"), r"the 1 recordings of .* lie in no folder of a class"),
        (lambda p: (p / "e").mkdir() or p / "e", "it is empty"),
        (lambda p: csv(p / "two" / "a.csv", houses()).parent, None),
        (lambda p: pictures(p / "one", classes="a"), "has one class only"),
        (lambda p: p / "nowhere", "nothing is at"),
        (lambda p: pictures(p / "x") / "a" / "0.png", "is a single picture"),
        (lambda p: csv(p / "t.csv", [{"a": i, "target": 1} for i in range(9)]), "there is nothing to predict"),
        (lambda p: csv(p / "t.csv", [{"a": i % 3, "target": f"no {i}"} for i in range(20)]), "a text of its own"),
        (lambda p: csv(p / "t.csv", [{"t": f"{i} x y", "y": i * 0.37} for i in range(60)]), "numbers from text"),
    ],
)
def test_what_cannot_be_trained_on_is_one_message_and_no_file(
    make: Any, message: str | None, place: Path, capfd: Captured
) -> None:
    path = make(place)
    if message is None:
        csv(place / "two" / "b.csv", houses())
        message = (
            r"holds 2 tables, and their names do not tell which .*: a.csv, b.csv; name one of them: trainwright new"
        )
    with pytest.raises(UserError, match=message):
        new(path)
    assert not (place / "recipe.toml").exists()
    assert main(["new", str(path)]) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_pictures_with_boxes_in_no_form_that_is_read_are_told(place: Path) -> None:
    pictures(place / "voc" / "images")
    (place / "voc" / "Annotations").mkdir()
    (place / "voc" / "Annotations" / "0.xml").write_text("<x/>")
    with pytest.raises(UserError, match="none of the forms of boxes"):
        new("voc")


def test_what_was_asked_for_in_vain_is_told(place: Path) -> None:
    csv(place / "t.csv", houses())
    for asked, message in (
        ({"target": "prise"}, "did you mean 'price'"),
        ({"task": "tabular_regresion"}, "did you mean 'tabular_regression'"),
        ({"task": "image_classification"}, "does not go with a table"),
        ({"out": "recipe.yaml"}, "another suffix"),
    ):
        with pytest.raises(UserError, match=message):
            new("t.csv", **asked)


def test_the_command_says_what_was_decided_and_what_comes_next(place: Path, capfd: Captured) -> None:
    csv(place / "t.csv", houses())
    assert main(["new", "t.csv", "--out", "a.toml"]) == 0
    text = capfd.readouterr().out
    for part in ("target  price: its name", "tabular_regression: it holds numbers", "trainwright train a.toml"):
        assert part in " ".join(text.split(" ")) or part.replace("  ", " ") in " ".join(text.split())
    assert main(["init", "t.csv", "--out", "b.toml", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["recipe"] == "b.toml"
    assert told["next"] == "trainwright train b.toml"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "task", "target"),
    [
        ("adult", "tabular_classification", "income"),
        ("california_housing", "tabular_regression", "median_house_value"),
        ("titanic", "tabular_classification", "Survived"), ("telco_churn", "tabular_classification", "Churn"),
        ("wine_quality/winequality-red.csv", "tabular_regression", "quality"),
        ("wine_quality/winequality-white.csv", "tabular_regression", "quality"),
        ("adbench_anomaly/38_thyroid.npz", "tabular_classification", "y"),
        ("mnist", "image_classification", None), ("fashion_mnist", "image_classification", None),
        ("tinyshakespeare/input.txt", "generation", None), ("sst2/train.tsv", "text_classification", "column_2"),
        ("multi30k_en_de/train.de.gz", "translation", None),
        ("cifar10_subset", "image_classification", None), ("clothing_subset", "image_classification", None),
        ("jsb_chorales/jsb-chorales-quarter.json", "music", None), ("nottingham", "music_events", None),
        ("ljspeech_part/transcripts.csv", "speech_recognition", "text"),
        ("fsdd", "audio_classification", None),
        ("etth1", "forecasting", None), ("univariate_series/airline-passengers.csv", "forecasting", None),
        ("univariate_series/daily-min-temperatures.csv", "forecasting", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by", ["path", "name"])
def test_every_real_table_and_set_of_images_gets_its_recipe(name: str, task: str, target: str | None, by: str) -> None:
    home = os.environ.get("TRAINWRIGHT_DATA")
    if not home:
        pytest.skip("TRAINWRIGHT_DATA is not set")
    if by == "name" and "/" in name:
        pytest.skip("is no name of the catalogue")
    made = new(f"{home}/{name}" if by == "path" else name)
    written = recipe(made)
    assert (written["task"]["name"], written["task"].get("target")) == (task, target)
    assert read(made.recipe).config.task["name"] == task


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["jsb_chorales", "rotten_tomatoes", "yesno", "wine_quality", "univariate_series", "adbench_anomaly"],
)  # fmt: skip
def test_every_other_real_set_is_refused_in_one_message(name: str, place: Path) -> None:
    home = os.environ.get("TRAINWRIGHT_DATA")
    if not home:
        pytest.skip("TRAINWRIGHT_DATA is not set")
    with pytest.raises(UserError):
        new(f"{home}/{name}")
    assert not (place / "recipe.toml").exists()


def test_texts_get_a_language_model_that_trains(place: Path) -> None:
    (place / "book").mkdir()
    for name in ("a.txt", "b.md"):
        (place / "book" / name).write_text("It was a dark and stormy night; the rain fell.\n" * 120)
    made = new("book")
    written = recipe(made)
    assert written["task"]["name"] == "generation"
    assert written["data"] == {"source": "documents", "path": "book", "valid": 0.1, "test": 0}
    run = tw.train(made.recipe, {**SHORT, "task.write": 5}, out=place / "run", quiet=True)
    assert run.state == "finished"
    (place / "parts").mkdir()
    for name in ("train", "valid"):
        (place / "parts" / f"{name}.txt").write_text("It was a dark and stormy night; the rain fell.\n" * 120)
    assert recipe(new("parts", out="p.toml"))["data"] == {"source": "documents", "path": "parts"}
