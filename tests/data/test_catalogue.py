"""The catalogue: sets by name, found, checked, downloaded once, and trained on like data of one's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from tests.data.served import Server, serving
from trainwright.cli import main
from trainwright.core import schema
from trainwright.core.errors import DataError, DownloadError, UserError
from trainwright.core.kinds import sets, sources
from trainwright.data import catalogue
from trainwright.data.published import PublicSet
from trainwright.runs.recipe import read

ROWS = "area,rent,district\n" + "".join(f"{30 + i},{300 + 9 * i},{'north' if i % 2 else 'south'}\n" for i in range(80))
RECORDS = {
    "mnist": (70000, {"train": 60000, "test": 10000}),
    "fashion_mnist": (70000, {"train": 60000, "test": 10000}),
    "cifar10_subset": (12000, {"train": 10000, "test": 2000}),
    "clothing_subset": (851, {"train": 569, "valid": 125, "test": 157}),
    "adult": (48842, {"train": 32561, "test": 16281}),
    "california_housing": (20640, {}),
    "titanic": (891, {}),
    "wine_quality_red": (1599, {}),
    "wine_quality_white": (4898, {}),
    "telco_churn": (7043, {}),
    "sst2": (9613, {"train": 6920, "valid": 872, "test": 1821}),
    "rotten_tomatoes": (10662, {}),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as found:
        yield found


@pytest.fixture
def flats(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PublicSet:
    """A set of one table, published on this machine."""
    monkeypatch.delenv("TRAINWRIGHT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = server.file("flats.csv", ROWS.encode(), "whole")
    public = PublicSet("table", (file,), {"path": file.name}, target="rent", split={"valid": 20, "test": 10})
    monkeypatch.setitem(sets._entries, "flats", lambda: public)
    return public


def test_every_set_says_what_it_is_and_can_be_read() -> None:
    assert set(sets.names()) >= RECORDS.keys()
    assert not set(sets.names()) & set(sources.names())
    for name in sets.names():
        public = catalogue.known(name)
        doc = sets[name].__doc__ or ""
        assert "Licence: " in doc
        assert "Source: " in doc
        assert schema.check(sources[public.source], catalogue.reading(public, Path("x")), "data")
        assert public.files
        for file in public.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert all(a.startswith(("https://", "http://")) for a in file.addresses)


@pytest.mark.data
@pytest.mark.parametrize("name", RECORDS)
def test_a_set_has_the_records_that_its_words_promise(name: str, real_data: Path) -> None:
    public = catalogue.known(name)
    if not (real_data / (public.folder or name)).is_dir():
        pytest.skip(f"TRAINWRIGHT_DATA has no {name}")
    source = catalogue.opened(name)
    records, parts = RECORDS[name]
    assert len(source) == records
    assert {part: len(ids) for part, ids in source.parts().items()} == parts
    assert f"{parts.get('train', records):,}" in (sets[name].__doc__ or "") or f"{records:,}" in (
        sets[name].__doc__ or ""
    )
    assert public.target is None or public.target in source.fields()


@pytest.mark.data
def test_adult_as_it_is_published_becomes_the_table_that_is_read(real_data: Path) -> None:
    for file, end, head in zip(catalogue.known("adult").files, ("", "."), ("", "|1x3 Cross validator\n"), strict=True):
        place = real_data / "adult" / file.name
        if not place.is_file():
            pytest.skip("TRAINWRIGHT_DATA has no adult")
        _, *rows = place.read_text().splitlines()
        published = (head + "".join(row.replace(",", ", ") + end + "\n" for row in rows) + "\n").encode()
        assert file.original is not None
        assert (len(published), hashlib.sha256(published).hexdigest()) == (file.original.size, file.original.sha256)
        assert file.original.turned(published) == place.read_bytes()


def test_a_set_is_downloaded_once_into_the_cache(flats: PublicSet, server: Server, tmp_path: Path) -> None:
    told: list[str] = []
    assert catalogue.look("flats").folder is None
    first = catalogue.opened("flats", lambda what, done, total: told.append(what))
    again = catalogue.opened("flats")
    place = tmp_path / "cache" / "trainwright" / "data" / "flats" / "flats.csv"
    assert place.read_text() == ROWS
    assert catalogue.look("flats").folder == place.parent
    assert len(server.asked) == 1
    assert first[3] == again[3] == {"area": 33, "rent": 327, "district": "north"}
    assert set(told) == {"downloading flats.csv (kB)"}


def test_the_folder_of_data_comes_before_the_cache(
    flats: PublicSet, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "flats").mkdir(parents=True)
    (tmp_path / "data" / "flats" / "flats.csv").write_text(ROWS)
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path / "data"))
    assert len(catalogue.opened("flats")) == 80
    assert not server.asked
    assert not (tmp_path / "cache").exists()


def test_another_file_of_that_name_is_neither_used_nor_passed_over(
    flats: PublicSet, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "data" / "flats" / "flats.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text(ROWS.replace("300", "301"))
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match="is not the published file") as caught:
        catalogue.opened("flats")
    assert caught.value.where == str(mine)
    assert 'source = "table"' in caught.value.instead
    assert not server.asked


def test_a_set_that_nobody_publishes_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path))
    with pytest.raises(DataError, match="published nowhere by itself") as caught:
        catalogue.opened("clothing_subset")
    assert str(tmp_path / "clothing_subset") in caught.value.instead
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("data", ["flats", {"source": "flats"}, {"source": "catalogue", "set": "flats"}])
def test_a_name_is_a_set_with_its_target_and_split(flats: PublicSet, data: Any) -> None:
    recipe = read({"task": "tabular_regression", "data": data})
    written = recipe.written()
    assert written["data"] == {"source": "catalogue", "set": "flats", "valid": 20, "test": 10, "split": "auto"}
    assert written["task"]["target"] == "rent"
    assert read(written).written() == written


def test_a_recipe_that_says_otherwise_is_followed(flats: PublicSet) -> None:
    task = {"name": "tabular_classification", "target": "district"}
    recipe = read({"task": task, "data": {"source": "flats", "test": 0.2}})
    assert recipe.task["target"] == "district"
    assert (recipe.split["valid"], recipe.split["test"]) == (20, 0.2)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("mnst", "did you mean 'mnist'"),
        ({"source": "catalogue", "set": "titanik"}, "did you mean 'titanic'"),
        ({"source": "catalogue"}, "data.set: required"),
        ({"source": "catalogue", "set": 3}, "data.set: 3 is not valid"),
        ({"source": "mnist", "set": "mnist"}, "leave it out"),
        ({"source": "mnist", "path": "x"}, "data.path: unknown option"),
    ],
)
def test_a_mistaken_name_is_told_before_anything_is_read(data: Any, told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        read({"task": "image_classification", "data": data})


def test_a_run_on_a_public_set_trains_scores_and_predicts(flats: PublicSet, server: Server, tmp_path: Path) -> None:
    recipe = {"task": "tabular_regression", "data": "flats", "model": {"name": "mlp", "width": 8}, "budget": "2 epochs"}
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.manifest["data"]["samples"] == {"train": 50, "valid": 20, "test": 10}
    other = tmp_path / "other.csv"
    other.write_text(ROWS)
    assert main(["evaluate", str(run.path)]) == 0
    assert main(["evaluate", str(run.path), "--data", str(other)]) == 0
    assert main(["predict", str(run.path), str(other)]) == 0
    assert len(server.asked) == 1


def test_without_a_network_a_run_ends_with_one_message(
    flats: PublicSet,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = server.file("flats.csv", ROWS.encode(), "404")
    monkeypatch.setitem(sets._entries, "flats", lambda: PublicSet("table", (gone,), {"path": gone.name}))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text('task = "tabular_regression"\ndata = "flats"\n')
    assert main(["train", "r.toml"]) == DownloadError.exit_code == 69
    said = capsys.readouterr()
    assert said.err.count("error:") == 1
    assert "404" in said.err
    assert "Traceback" not in said.out + said.err
    assert not (tmp_path / "runs").exists()
