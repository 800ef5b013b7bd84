"""Hostile and mutated files, a short version: nothing runs, all is answered in our words, and the checks can fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

import trainwright as tw
from benchmarks.fuzz import Found, cases
from benchmarks.hostile import control
from benchmarks.hostile_files import FILES, Hostile
from trainwright.core.errors import TrainwrightError
from trainwright.core.kinds import sources
from trainwright.runs.begin import _weights
from trainwright.runs.recipe import read

DOORS: dict[str, Callable[[Path], object]] = {
    "recipe": read,
    "table": lambda path: sources["table"](path=str(path), separator=","),
    "npz": lambda path: sources["npz"](path=str(path)),
    "idx": lambda path: sources["idx"](images=str(path)),
    "folder": lambda path: [sources["folder"](path=str(path))[i] for i in range(2)],
    "init_from": lambda path: _weights(str(path)),
}


def train(path: Path) -> object:
    return tw.train(path, {"budget": "1 step"}, out=path.parent / "run", quiet=True)


QUICK = [h for h in FILES if h.kind in ("file", "recipe") and "without end" not in h.name]  # bombs: data/test_unpacked


def test_there_are_many() -> None:
    assert len(FILES) > 50
    assert len({h.name for h in FILES}) == len(FILES)


@pytest.mark.parametrize("hostile", QUICK, ids=lambda h: h.name)
def test_a_hostile_file_runs_nothing_and_is_refused_in_words(hostile: Hostile, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    canary = tmp_path / "canary"
    file = hostile.make(tmp_path / "in", canary)
    for door, act in DOORS.items() if hostile.kind == "file" else [("train", train)]:
        with contextlib.suppress(TrainwrightError):
            act(file)
            assert door in ("table", "folder", *hostile.harmless), f"{door} took it"  # to which text is text
    assert not canary.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"in"}


def test_a_careless_reader_runs_them_and_every_measure_sees_it() -> None:
    found = control()
    assert found.ran == found.heard == found.holding >= 12
    assert found.large
    assert not found.blind


def fuzzed(name: str, number: int, place: Path) -> Found:
    found = Found(name)
    for _, found in cases(name, number, 1, place / "x", alone=False):  # noqa: B007 - the last one counts
        pass
    return found


@pytest.mark.parametrize(
    "name", ["recipe", "table text", "JSON lines", "images", "npz and idx", "safetensors", "archive of images"]
)
def test_mutated_files_raise_nothing_but_our_errors(name: str, tmp_path: Path) -> None:
    found = fuzzed(name, 150, tmp_path)
    assert (found.cases, found.faults) == (150, {})
    assert 0 < found.read < 150  # some mutations are harmless, and most are not


def test_a_planted_mistake_is_found(tmp_path: Path) -> None:
    assert fuzzed("planted", 150, tmp_path).faults
