"""The log outlives a full disk: nothing is lost, nothing twice, in order."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trainwright.core.errors import StorageError
from trainwright.core.events import StepDone
from trainwright.runs.directory import EVENTS, read_view
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
