"""Every mistake is one message that says where, what, and what to write instead: exit code 2, nothing written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainwright.cli import main

GOOD = "a,b,y\n" + "".join(f"{i},{i * i % 7},{'p' if i % 3 else 'q'}\n" for i in range(60))
TABLE: dict[str, Any] = {"task": {"name": "tabular_classification", "target": "y"}, "budget": "2 steps"}
PICTURES: dict[str, Any] = {"task": "image_classification", "budget": "2 steps"}


def table(text: str | bytes, **data: Any) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        file = folder / "t.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return {**TABLE, "data": {"source": "table", "path": str(file), **data}}

    return make


def changed(**changes: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {**table(GOOD)(folder), **changes}


def pictures(*names: str, spoil: str = "") -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        root = folder / "photos"
        root.mkdir()
        for i, name in enumerate(names):
            (root / name).parent.mkdir(exist_ok=True)
            if name.endswith("/"):
                (root / name).mkdir(exist_ok=True)
            elif name == spoil:
                (root / name).write_bytes(b"\x89PNG\r\n\x1a\n but no picture")
            else:
                pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name)
        return {**PICTURES, "data": {"source": "folder", "path": str(root)}}

    return make


MANY = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(12)]
CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an unknown option of the recipe": (changed(epochs=3), "epochs"),
    "an unknown option of the optimizer": (changed(optimizer={"name": "adamw", "lrr": 1.0}), "did you mean 'lr'"),
    "an unknown option of the data": (table(GOOD, shuffel=True), "data.shuffel: unknown option"),
    "an unknown task": (changed(task="tabular_clasification"), "did you mean 'tabular_classification'"),
    "an unknown model": (changed(model="mpl"), "did you mean 'mlp'"),
    "a model that does not fit the task": (changed(model="cnn"), "cnn"),
    "an unknown source": (changed(data={"source": "tabel"}), "did you mean 'table'"),
    "an unknown schedule": (changed(schedule="cosin"), "did you mean 'cosine'"),
    "no task": (lambda f: {"data": "x"}, "task: required"),
    "no data": (lambda f: {"task": "tabular_classification"}, "data: required"),
    "no source": (changed(data={}), "names no source"),
    "text for a number": (changed(optimizer={"name": "adamw", "lr": "1e-3"}), "0.001 without quotes"),
    "a number for text": (changed(name=3), "name: 3 is not valid"),
    "a rate below zero": (changed(optimizer={"name": "adamw", "lr": -1.0}), "optimizer.lr: -1.0 is out of range"),
    "a dropout of one": (changed(model={"name": "mlp", "dropout": 1.0}), "model.dropout"),
    "a batch size of zero": (changed(batch_size=0), "batch_size: 0 is out of range"),
    "a budget without a unit": (changed(budget="ten"), "write '10 epochs'"),
    "a budget of nothing": (changed(budget="0 epochs"), "above 0"),
    "an unknown device": (changed(device="gpu"), "device"),
    "a device that is not there": (changed(device="cuda:7"), "not on this machine"),
    "an unknown precision": (changed(precision="float8"), "precision"),
    "an option that follows from the data": (changed(model={"name": "mlp", "outputs": 3}), "leave it out"),
    "a plugin that is not there": (changed(plugins=["mine.py"]), "'mine.py' is not a file"),
    "a missing file": (lambda f: {**TABLE, "data": {"source": "table", "path": str(f / "no.csv")}}, "no.csv"),
    "an empty file": (table(""), "t.csv"),
    "a header without rows": (table("a,b,y\n"), "t.csv"),
    "a ragged row": (table(GOOD + "1,2\n"), "62"),
    "a column twice": (table("a,a,y\n1,2,p\n"), "a"),
    "a file that is not text": (table(b"a,b,y\n\xff\xfe\x00,1,p\n"), "t.csv"),
    "an absent target": (table(GOOD.replace(",y\n", ",z\n", 1)), "task.target"),
    "a target with holes": (table(GOOD + "1,2,\n"), "'y' is missing"),
    "an empty target": (table("a,b,y\n" + "1,2,\n" * 30), "y"),
    "one class only": (table(GOOD.replace("q", "p")), "needs at least two classes"),
    "only constant columns": (table("a,y\n" + "1,p\n1,q\n" * 20), "no column is of use"),
    "words where numbers are asked for": (
        lambda f: {
            **table(GOOD.replace("\n4,", "\nfour,"))(f),
            "task": {"name": "tabular_classification", "target": "y", "numeric": ["a"]},
        },
        "'a'",
    ),
    "a column to ignore that is not there": (
        changed(task={"name": "tabular_classification", "target": "y", "ignore": ["c"]}),
        "no column is named 'c'",
    ),
    "an infinite target": (
        lambda f: {**table(GOOD.replace(",p", ",1.5").replace(",q", ",inf"))(f), "task": "tabular_regression"},
        "inf",
    ),
    "a budget beyond all numbers": (changed(budget="1e999 epochs"), "more than any run"),
    "a model larger than memory": (changed(model={"name": "mlp", "width": 20_000_000}), "memory"),
    "a part that would be empty": (table(GOOD, test=0.001), "would be empty"),
    "parts larger than the data": (table(GOOD, valid=40, test=40), "data"),
    "a share above one": (table(GOOD, test=1.5), "test"),
    "a group that is not there": (table(GOOD, group="who"), "who"),
    "overlapping ranges": (table(GOOD, ranges={"train": [0, 40], "test": [30, 60]}), "ranges"),
    "a test file that is not there": (table(GOOD, test="no.csv"), "no.csv"),
    "an unknown manner of splitting": (table(GOOD, split="randomly"), "split"),
    "an unknown embedded set": (lambda f: {**PICTURES, "data": {"source": "embedded", "set": "digit"}}, "digits"),
    "an empty folder": (pictures(), "photos"),
    "a folder of one class": (pictures(*[f"cat/{i}.png" for i in range(5)]), "one class"),
    "a folder without classes": (pictures("1.png", "2.png"), "photos"),
    "a folder that is not there": (lambda f: {**PICTURES, "data": {"source": "folder", "path": str(f / "x")}}, "x"),
    "a damaged picture": (pictures(*MANY, spoil="dog/7.png"), "7.png"),
}


def call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_message(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, told = CASES[name]
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(make(tmp_path)))
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    code, out, err = call(["train", str(recipe)], capsys)
    assert code == 2, err
    assert told in err
    assert "Traceback" not in out + err
    assert err.count("error:") == 1
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.name != "runs") == before
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bad.toml", "task = {"),
        ("bad.yaml", "task: [1, 2\n"),
        ("bad.json", "{'task': 1}"),
        ("list.json", "[1, 2]"),
        ("number.yaml", "3"),
        ("empty.yaml", ""),
        ("bomb.yaml", "a: &a [x, x]\nb: &b [*a, *a]\ntask: *b\n"),
        ("twice.toml", "seed = 1\nseed = 2\n"),
        ("twice.yaml", "seed: 1\nseed: 2\n"),
    ],
)
def test_a_broken_recipe_names_its_file_or_key(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    code, out, err = call(["train", str(tmp_path / name)], capsys)
    assert code == 2, err
    assert err.startswith("error: ")
    assert "Traceback" not in out + err


def test_yaml_reads_1e_3_as_a_number(tmp_path: Path) -> None:
    from trainwright.runs.recipe import read

    file = tmp_path / "r.yaml"
    file.write_text(
        "task: tabular_classification\ndata: {source: embedded, set: iris}\noptimizer: {name: sgd, lr: 1e-3}\n"
    )
    assert read(file).optimizer["lr"] == 0.001


def test_a_folder_that_holds_something_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work")
    code, _, err = call(["train", "iris", "--out", str(taken)], capsys)
    assert code == 2
    assert "nothing was overwritten" in err
    assert [p.name for p in taken.iterdir()] == ["thesis.txt"]
    assert (taken / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_way_of_the_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        code, _, err = call(["train", "iris", "--out", str(out)], capsys)
        assert code == 73
        assert "in the way" in err
    assert (tmp_path / "file").read_text() == "x"


def test_a_run_that_is_not_there_lists_those_that_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["resume"], ["evaluate"], ["predict"]):
        rest = ["x.csv"] if command == ["predict"] else []
        code, _, err = call([*command, str(tmp_path / "nowhere"), *rest], capsys)
        assert code == 2
        assert "nowhere" in err


def test_errors_are_one_json_object_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(["train", "iriss", "--json"], capsys)
    assert code == 2
    assert "iris" in json.loads(out)["error"]["message"]


def test_a_zip_cut_short_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        for name in MANY:
            archive.writestr(name, b"x" * 100)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole.read_bytes()[:-30])
    recipe = tmp_path / "r.json"
    recipe.write_text(json.dumps({**PICTURES, "data": {"source": "folder", "path": str(cut)}}))
    code, _, err = call(["train", str(recipe)], capsys)
    assert code == 2
    assert "cut.zip" in err
