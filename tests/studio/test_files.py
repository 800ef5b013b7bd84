"""Nothing outside of the run folders is read, whatever lies in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.run_folders import SECRET, training, write
from trainwright.runs.directory import CONFIG, EVENTS, MANIFEST, SEEDS
from trainwright.studio.files import CONFUSION, Place, UnreadableError, places


def place(folder: Path) -> Place:
    return Place(folder.parent, (folder.name,))


def test_runs_are_found_also_those_of_several_seeds_and_a_run_that_is_named_itself(tmp_path: Path) -> None:
    one = write(tmp_path / "one", training())
    for seed in ("seed-0", "seed-1"):
        write(tmp_path / "many" / seed, training())
    (tmp_path / "many" / SEEDS).write_text("{}")
    (tmp_path / "notes").mkdir()
    assert sorted(p.name for p in places(tmp_path)) == ["many/seed-0", "many/seed-1", "one"]
    assert [p.path for p in places(one)] == [one]
    assert [p.name for p in places(one)] == ["one"]
    assert list(places(tmp_path / "nowhere")) == []


def test_a_key_tells_nothing_of_the_place_and_is_the_same_tomorrow(tmp_path: Path) -> None:
    keys = {Place(tmp_path, (name,)).key for name in ("a", "b", "a/b", "../a")} | {Place(tmp_path, ("a", "b")).key}
    assert len(keys) == 5
    assert all(len(key) == 16 and set(key) <= set("0123456789abcdef") for key in keys)
    assert Place(tmp_path / "elsewhere", ("a",)).key == Place(tmp_path, ("a",)).key


@pytest.mark.parametrize("name", [CONFIG, MANIFEST, EVENTS, CONFUSION])
def test_a_link_in_a_run_is_not_followed(name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text('{"private": 1}')
    run = write(tmp_path / "runs" / "run", training())
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside)
    with pytest.raises(UnreadableError, match=name):
        read(place(run), name)


def test_a_run_folder_that_is_a_link_is_no_run(tmp_path: Path) -> None:
    write(tmp_path / "outside" / "run", training())
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "run").symlink_to(tmp_path / "outside" / "run")
    assert list(places(tmp_path / "runs")) == []
    with pytest.raises(UnreadableError):
        read(Place(tmp_path / "runs", ("run",)), MANIFEST)


def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    for name, make in {CONFIG: os.mkdir, MANIFEST: os.mkfifo}.items():
        (run / name).unlink()
        make(run / name)
        with pytest.raises(UnreadableError, match=name):
            read(place(run), name)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    with (run / CONFIG).open("ab") as file:
        file.truncate(1 << 31)
    with pytest.raises(UnreadableError, match="more than"):
        read(place(run), CONFIG)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\x00", '{"a": 1e999}'], ids=lambda t: t[:8])
def test_what_is_no_manifest_is_one_message(text: str, tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    (run / MANIFEST).write_text(text)
    if text == '{"a": 1e999}':
        assert place(run).manifest()["a"] == float("inf")
        return
    with pytest.raises(UnreadableError, match=r"manifest\.json"):
        place(run).manifest()


def test_secrets_of_a_recipe_are_hidden(tmp_path: Path) -> None:
    told = place(write(tmp_path / "run")).config()
    assert told["api_key"] == "[hidden]"
    assert SECRET not in str(told)
    assert told["seed"] == 0


@pytest.mark.parametrize("table", ["true,a,b\na,1\n", "true,a\na,x\n", "", "true,a,b\na,1,2\n"])
def test_what_is_no_confusion_matrix_is_one_message(table: str, tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    (run / CONFUSION).write_text(table)
    with pytest.raises(UnreadableError, match=CONFUSION):
        place(run).confusion()


def test_a_confusion_matrix_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    (run / CONFUSION).write_text('true,"a, b",c\n"a, b",3,1\nc,0,5\n')
    assert place(run).confusion() == (["a, b", "c"], [[3, 1], [0, 5]])


def read(where: Place, name: str) -> None:
    if name == EVENTS:
        with where.events():
            return
    {CONFIG: where.config, MANIFEST: where.manifest, CONFUSION: where.confusion}[name]()
