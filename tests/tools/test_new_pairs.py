"""`new` knows two files of lines by their names, and a table of two texts, and writes what translates them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from tests.builtin import numbers
from trainwright.core.errors import DataError, UserError
from trainwright.runs.recipe import read
from trainwright.tools.new import Proposal, new

SHORT = {"budget": "2 steps", "workers": 0, "model.width": 16, "model.depth": 1, "model.heads": 2, "model.hidden": 32}
SHORT |= {"task.beams": 1}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(folder: Path, stem: str, records: Sequence[Any], packed: str = "") -> None:
    folder.mkdir(exist_ok=True)
    for field, language in (("source", "en"), ("target", "de")):
        text = "".join(f"{record[field]}\n" for record in records)
        file = folder / f"{stem}.{language}{packed}"
        file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())


def trained(made: Proposal) -> tw.Run:
    run = tw.train(made.recipe, SHORT, out=Path("run"), quiet=True)
    assert run.state == "finished"
    return run


def test_a_folder_of_two_languages_is_recognized_with_its_parts(place: Path) -> None:
    data = place / "captions"
    lines(data, "train", numbers(60), ".gz")
    lines(data, "val", numbers(10, 1), ".gz")
    lines(data, "test_2016", numbers(9, 2), ".gz")
    lines(data, "test_2017", numbers(8, 3), ".gz")
    made = new("captions")
    recipe = read(made.recipe).config
    assert recipe.task["name"] == "translation"
    assert {k: recipe.data[k] for k in ("path", "valid", "test")} == {
        "path": str(data / "train.de.gz"),
        "valid": str(data / "val.de.gz"),
        "test": str(data / "test_2016.de.gz"),
    }
    assert list(recipe.data["languages"]) == ["de", "en"]
    told = " | ".join(made.unsure)
    assert "de is translated to en; the other way: trainwright new captions/train.en.gz" in told
    assert "test_2016 is the test part; test_2017 are left out" in told
    run = trained(made)
    assert {"test/bleu", "test/chrf", "valid/nats"} <= set(run.metrics)
    assert {"copy", "memory"} == set(run.baselines)


def test_a_file_is_the_source_and_the_other_language_lies_beside_it(place: Path) -> None:
    lines(place, "talks", numbers(40))
    recipe = read(new("talks.en").recipe).config
    assert recipe.data["source"] == "parallel"
    assert list(recipe.data["languages"]) == ["en", "de"]
    assert recipe.data["valid"] == 0.2
    assert recipe.budget == "60 epochs"


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_table_of_two_texts_is_translated(place: Path, kind: str) -> None:
    rows = [(f"{r['source']} no. {i}", f"{r['target']} nr. {i}") for i, r in enumerate(numbers(60))]
    file = place / f"pairs.{kind}"
    if kind == "jsonl":
        file.write_text("".join(json.dumps(dict(zip(("english", "german"), row, strict=True))) + "\n" for row in rows))
    else:
        mark = "\t" if kind == "tsv" else ","
        file.write_text("".join(f'"{a}"{mark}"{b}"\n' for a, b in [("english", "german"), *rows]))
    made = new(file)
    task = read(made.recipe).config.task
    assert (task["name"], task["source"], task["target"]) == ("translation", "english", "german")
    turned = read(new(file, out="turned.toml", task="translation", target="english").recipe).config.task
    assert (turned["source"], turned["target"]) == ("german", "english")
    if kind == "csv":
        trained(made)


def test_what_is_no_pair_stays_what_it_is(place: Path) -> None:
    lines(place / "odd", "train", numbers(30))
    (place / "odd/train.de").write_text("one line\n")
    with pytest.raises(DataError, match=r"train.de has 1 lines, and train.en 30"):
        new("odd")
    (place / "one.de").write_text("a line alone\n" * 2000)
    with pytest.raises(UserError, match="holds nothing that `new` understands"):
        new("one.de")
    lines(place / "two", "news", numbers(30))
    lines(place / "two", "talks", numbers(30))
    with pytest.raises(UserError, match=r"none is called train: news, talks.*new two/news.de"):
        new("two")
    (place / "t.csv").write_text("length,label\n" + "".join(f"{i % 7},{'ab'[i % 2]}\n" for i in range(60)))
    with pytest.raises(DataError, match="needs two columns of texts, and there are 0"):
        new("t.csv", task="translation")
