"""Recipes for texts in tables and folders, for series, and for codes."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

import trainwright as tw
from tests.tools.made_data import SHORT, csv, houses, recipe
from trainwright.core.errors import DataError
from trainwright.runs.recipe import read
from trainwright.tools.new import new


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def reviews(at: Path, head: str = "review,mood\n", rows: int = 60, extra: str = "") -> Path:
    told = ("warm", "good"), ("dull", "bad")
    lines = [f"a {told[i % 2][0]} film number {i} of the year{extra},{told[i % 2][1]}" for i in range(rows)]
    at.write_text(head + "\n".join(lines) + "\n")
    return at


def test_a_labelled_table_of_texts_is_learned_from_its_texts(tmp_path: Path) -> None:
    found = tw.new(reviews(tmp_path / "films.csv"), out=tmp_path / "recipe.toml")
    recipe = read(tmp_path / "recipe.toml")
    assert recipe.config.task["name"] == "text_classification"
    assert (recipe.task["text"], recipe.task["target"]) == ("review", "mood")
    assert "different words of 'review'" in dict(found.facts)["inputs"]
    run = tw.train(tmp_path / "recipe.toml", {"budget": "1 step"}, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"


def test_tabs_without_header_and_with_loose_quotes_are_read_as_text(tmp_path: Path) -> None:
    lines = [f'the "{"warm" if i % 2 else "dull"} film" of year {i}\t{i % 2}' for i in range(60)]
    (tmp_path / "films.tsv").write_text("\n".join(lines))
    tw.new(tmp_path / "films.tsv", out=tmp_path / "recipe.toml")
    recipe = read(tmp_path / "recipe.toml")
    assert recipe.config.task["name"] == "text_classification"
    assert recipe.source["quote"] == ""
    assert not recipe.source["header"]


def test_texts_beside_numbers_stay_a_table_and_the_doubt_is_told(tmp_path: Path) -> None:
    path = reviews(tmp_path / "films.csv", head="review,stars,mood\n")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line.replace(" year,", f" year,{i % 5},") for i, line in enumerate(lines)))
    found = tw.new(path, out=tmp_path / "recipe.toml")
    assert read(tmp_path / "recipe.toml").config.task["name"] == "tabular_classification"
    assert any("--task text_classification" in said for said in found.unsure)
    tw.new(path, out=tmp_path / "text.toml", task="text_classification")
    assert read(tmp_path / "text.toml").task["text"] == "review"


def test_short_texts_are_read_where_there_is_nothing_else(tmp_path: Path) -> None:
    rows = [{"t": f"{i} {'warm' if i % 2 else 'dull'} film", "label": i % 2} for i in range(60)]
    tw.new(csv(tmp_path / "t.csv", rows), out=tmp_path / "recipe.toml")
    assert read(tmp_path / "recipe.toml").task["text"] == "t"


def test_a_folder_of_texts_per_class_is_recognized(tmp_path: Path) -> None:
    for i in range(40):
        file = tmp_path / "films" / ("pos" if i % 2 else "neg") / f"{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"a {'warm' if i % 2 else 'dull'} film {i}")
    tw.new(tmp_path / "films", out=tmp_path / "recipe.toml")
    recipe = read(tmp_path / "recipe.toml")
    assert (recipe.config.task["name"], recipe.config.data["source"]) == ("text_classification", "texts")
    assert recipe.config.budget == "60 epochs"
    run = tw.train(tmp_path / "recipe.toml", {"budget": "1 step"}, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"


def visits(at: Path, head: str = "day,art,science", extra: str = "", skip: int = -1) -> Path:
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=i) for i in range(200) if i != skip]
    at.write_text(head + "\n" + "\n".join(f"{d},{d.day},{d.weekday()}{extra}" for d in days) + "\n")
    return at


def test_even_times_beside_numbers_alone_are_series_that_train(tmp_path: Path) -> None:
    made = new(visits(tmp_path / "v.csv", skip=50), out=tmp_path / "r.toml")
    written = recipe(made)
    assert written["task"] == {"name": "forecasting", "context": 28, "horizon": 7, "loss": "quantile"}
    assert written["data"] == {"source": "series", "path": "v.csv", "gaps": "mark", "valid": 0.2, "test": 0.2}
    assert any("--target science" in text for text in made.unsure)
    assert any("whole times: 1" in text for text in made.unsure)
    run = tw.train(made.recipe, {"budget": "3 steps"}, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"


def test_a_table_that_holds_more_or_of_which_a_column_is_asked_for_is_no_series(tmp_path: Path) -> None:
    path = visits(tmp_path / "v.csv")
    assert recipe(new(path, out=tmp_path / "a.toml", target="art"))["task"]["target"] == "art"
    head, *lines = path.read_text().splitlines()
    told = [f"{line},{'wet' if i % 3 else 'dry'}" for i, line in enumerate(lines)]
    path.write_text("\n".join([f"{head},weather", *told]))
    assert recipe(new(path, out=tmp_path / "b.toml"))["task"]["name"] != "forecasting"


def test_what_keeps_a_table_from_being_series_is_told_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text("year,born\n" + "\n".join(f"{1900 + i},{i * 7 % 30}" for i in range(90)) + "\n")
    with pytest.raises(DataError, match="of a series along time: --task forecasting"):
        new(tmp_path / "y.csv", out=tmp_path / "a.toml")
    asked = new(tmp_path / "y.csv", out=tmp_path / "b.toml", task="forecasting")
    assert recipe(asked)["task"]["name"] == "forecasting"
    with pytest.raises(DataError, match="holds text"):
        new(visits(tmp_path / "v.csv", "day,art,science,kind", ",x"), out=tmp_path / "c.toml", task="forecasting")


def test_records_can_be_put_into_codes_where_that_is_asked_for(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", houses())
    made = new(tmp_path / "t.csv", out=tmp_path / "a.toml", task="autoencoding", target="town")
    assert recipe(made)["task"] == {"name": "autoencoding", "codes": 1, "label": "town"}
    assert any("task.anomaly" in text for text in made.unsure)
    run = tw.train(made.recipe, SHORT, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"
    with pytest.raises(DataError, match="did you mean 'town'"):
        new(tmp_path / "t.csv", out=tmp_path / "b.toml", task="autoencoding", target="twon")
