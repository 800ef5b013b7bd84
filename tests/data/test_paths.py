from __future__ import annotations

from pathlib import Path

import pytest

from trainwright.core.errors import DataError
from trainwright.data.paths import DATA, find


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, beside a folder of data sets that $TRAINWRIGHT_DATA names."""
    for name in ("work", "sets/adult"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sets/adult/train.csv").write_text("x")
    (tmp_path / "work/mine.csv").write_text("x")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(DATA, str(tmp_path / "sets"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("mine.csv", "work/mine.csv"),
        ("adult/train.csv", "sets/adult/train.csv"),
        ("~/work", "work"),
        ("adult", "sets/adult"),
    ],
)
def test_a_path_is_found_in_the_working_directory_the_home_and_the_data(here: Path, path: str, place: str) -> None:
    assert find(path, "data.path") == here / place


def test_an_absolute_path_is_taken_as_it_is(here: Path) -> None:
    assert find(str(here / "sets"), "data.path") == here / "sets"


def test_the_working_directory_goes_before_the_data(here: Path) -> None:
    (here / "work/adult").mkdir()
    assert find("adult", "data.path") == here / "work/adult"


def test_every_place_that_was_looked_at_is_named(here: Path) -> None:
    with pytest.raises(DataError) as caught:
        find("adult/nothing.bin", "data.path")
    message = str(caught.value)
    assert message.startswith("data.path: nothing is at ")
    assert str(here / "work/adult/nothing.bin") in message
    assert str(here / "sets/adult/nothing.bin") in message


def test_a_mistyped_name_gets_its_neighbour(here: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean 'train\.csv'\?"):
        find("adult/trian.csv", "data.path")


def test_a_mistyped_folder_gets_its_neighbour(here: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'adult'"):
        find("adlut/train.csv", "data.path")


def test_a_large_folder_is_not_listed_whole(here: Path) -> None:
    for i in range(500):
        (here / f"work/{i:03d}").write_text("")
    with pytest.raises(DataError) as caught:
        find("zzzzz", "data.path")
    assert "more)" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_without_the_variable_the_message_names_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA)
    with pytest.raises(DataError, match=r"\$TRAINWRIGHT_DATA, which is not set"):
        find("zzz", "data.path")


@pytest.mark.parametrize("path", ["", "  ", "a" * 300, "~nobody_at_all/x", "a\0b"])
def test_what_is_no_path_gives_one_message(here: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"^data\.path: "):
        find(path, "data.path")
