"""The log outlives a full disk: nothing is lost, nothing twice, in order."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import pytest

from trainwright.core.errors import StorageError
from trainwright.core.events import EvalDone, Event, RunStarted, StepDone
from trainwright.runs.directory import EVENTS, METRICS, read_view
from trainwright.runs.recorder import Recorder


def step(n: int) -> StepDone:
    return StepDone(n, 0, n, (float(n),), (1.0,), 0.1, 0.1, 0.0)


def test_lines_that_a_full_disk_refused_are_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.write
    room = [10_000]

    def narrow(handle: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = own(handle, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr("os.write", narrow)
    recorder = Recorder(tmp_path)
    recorder(step(1))
    room[0] = 40  # a line in part
    recorder(step(2))
    recorder(step(3))
    assert sorted(read_view(tmp_path).losses) == [1]
    room[0] = 10_000
    recorder(step(4))
    recorder.close()
    assert read_view(tmp_path).losses == {n: float(n) for n in (1, 2, 3, 4)}
    assert (tmp_path / EVENTS).read_text().count("\n") == 4


def test_what_never_could_be_written_is_an_error_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path)

    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", full)
    recorder(step(1))
    with pytest.raises(StorageError, match=r"events\.jsonl: its last lines could not be written: No space left"):
        recorder.close()


def judged(n: int, part: str = "valid", **metrics: float) -> EvalDone:
    return EvalDone(n, n // 2, part, metrics or {"loss": 1.0 / n}, 0.1, False)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / METRICS).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_of_metrics_is_that_of_the_history_after_every_event(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    events: list[Event] = [RunStarted(1, 0, 9, 2, "2026-11-24T00:00:00+00:00", "")]
    events += [step(1), step(2), judged(2), step(3), step(4), judged(4), judged(4, "test", loss=7.0), step(5)]
    events += [judged(5, loss=0.5, accuracy=0.25), step(6), judged(6, loss=float("nan"))]
    events += [RunStarted(2, 4, 9, 2, "2026-11-24T00:00:00+00:00", ""), step(5), judged(5), step(6), judged(6)]
    for event in events:
        recorder(event)
        if isinstance(event, EvalDone):
            said = [{k: str(v) for k, v in row.items()} for row in recorder.view.history()]
            assert [{k: v for k, v in row.items() if v} for row in table(tmp_path)] == said
    recorder.close()
    assert [row["step"] for row in table(tmp_path)] == ["2", "4", "5", "6"]


def test_a_row_that_a_full_disk_refused_is_in_the_table_after_the_next(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder(judged(1))
    recorder(judged(2))
    (tmp_path / METRICS).unlink()
    recorder(judged(3))
    recorder(judged(4))
    recorder.close()
    assert [row["step"] for row in table(tmp_path)] == ["1", "2", "3", "4"]


def test_the_table_is_not_written_anew_for_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    own = Path.replace
    monkeypatch.setattr(Path, "replace", lambda a, b: (moved.append(a.name), own(a, b))[1])
    recorder = Recorder(tmp_path)
    for n in range(1, 50):
        recorder(step(n))
        recorder(judged(n))
    recorder.close()
    assert len(table(tmp_path)) == 49
    assert len(moved) == 1
