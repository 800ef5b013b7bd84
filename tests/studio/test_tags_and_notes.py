"""A person's tags and note lie beside a run: its log is never touched, and nothing is written through a link."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.open_studio import opened
from tests.run_folders import training, write
from trainwright.runs.directory import NOTES
from trainwright.studio import notes
from trainwright.studio.files import Place, UnreadableError


def test_tags_and_a_note_are_kept_beside_the_log_and_told_in_the_list(tmp_path: Path) -> None:
    run = write(tmp_path / "run", training())
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    with opened(tmp_path) as visitor:
        key = visitor.keys()["run"]
        tick = visitor.ask("/api/runs").json["tick"]
        told = visitor.give(
            f"/api/runs/{key}/note", {"tags": [" good ", "", "good", 3, "for  the paper"], "note": "a\nb"}
        )
        assert told.json == {"tags": ["good", "for the paper"], "note": "a\nb"}
        (row,) = visitor.ask(f"/api/runs?since={tick}").json["runs"]
        assert (row["tags"], row["note"]) == (["good", "for the paper"], "a\nb")
        assert visitor.ask(f"/api/runs/{key}").json["note"] == "a\nb"
        assert visitor.give(f"/api/runs/{key}/note", {"note": "x" * 30_000}).json["note"] == "x" * 20_000
        assert visitor.ask(f"/api/runs/{key}").json["tags"] == []
    after = {p.name: p.read_bytes() for p in run.iterdir()}
    assert after.pop(NOTES)
    assert after == before


def test_a_note_is_neither_read_nor_written_through_a_link(tmp_path: Path) -> None:
    run, outside = write(tmp_path / "runs" / "run", training()), tmp_path / "outside.json"
    outside.write_text(json.dumps({"tags": ["secret"], "note": "secret"}))
    (run / NOTES).symlink_to(outside)
    with opened(tmp_path / "runs") as visitor:
        key = visitor.keys()["run"]
        assert visitor.ask(f"/api/runs/{key}").json["tags"] == []
        visitor.give(f"/api/runs/{key}/note", {"tags": ["mine"]})
        assert visitor.ask(f"/api/runs/{key}").json["tags"] == ["mine"]
    assert json.loads(outside.read_text())["tags"] == ["secret"]


def test_a_note_that_does_not_fit_on_the_disk_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write(tmp_path / "runs" / "run", training())
    place = Place(tmp_path / "runs", ("run",))
    notes.write(place, {"note": "old"})

    def full(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UnreadableError, match="cannot be written: No space left"):
        notes.write(place, {"note": "new"})
    monkeypatch.undo()
    assert notes.read(place)["note"] == "old"
    assert not list(run.glob(f".{NOTES}*"))


def test_a_note_that_is_none_is_no_note(tmp_path: Path) -> None:
    run = write(tmp_path / "run", training())
    with opened(tmp_path) as visitor:
        for content in ("{", "[]", '{"tags": 3, "note": []}', "[" * 100_000):
            (run / NOTES).write_text(content)
            assert visitor.ask(f"/api/runs/{visitor.keys()['run']}").json["tags"] == []
