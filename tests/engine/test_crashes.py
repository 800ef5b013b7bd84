"""Whatever kills a save, and at whichever call, the checkpoint before it or the new one is there, bit for bit."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.faults import Disk, Faults, Killed
from trainwright.core.errors import CheckpointError
from trainwright.engine import checkpoint, disk
from trainwright.engine.packing import pack
from trainwright.engine.saver import Missed, Saved, Saver

SIZES = (1, 1_000, 5_000)  # numbers; the last takes several writes of a piece
PIECE = 8_192  # bytes


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_PIECE", PIECE)


def state(step: int, size: int = 10) -> dict[str, Any]:
    x = torch.full((size,), float(step))
    return {"model": {"w": x}, "optimizer": {"m": x * 2}, "counters": {"step": step}}


def save_second(folder: Path, size: int = 10) -> None:
    checkpoint.save(state(2, size), folder, 2)
    checkpoint.prune(folder, [2])


def save_again(folder: Path, size: int = 10) -> None:
    checkpoint.save(state(2, size), folder, 1)  # the same step, as an attempt that began earlier would


def naive(folder: Path, size: int = 10) -> None:
    """How not to do it: the old one goes before the new one is there. The control of the tests below."""
    disk_state = state(2, size)
    shutil.rmtree(folder / "step-00000001")
    checkpoint.save(disk_state, folder, 2)


def begun(folder: Path, size: int) -> Path:
    checkpoint.save(state(1, size), folder, 1)
    return folder


def sound(folder: Path, size: int) -> int:
    """The state that is read, 1 or 2, after a look at every number of it."""
    found = checkpoint.newest(folder)
    assert found is not None, "no checkpoint is left"
    step = int(found[1]["counters"]["step"])
    assert torch.equal(found[1]["model"]["w"], torch.full((size,), float(step)))
    assert torch.equal(found[1]["optimizer"]["m"], torch.full((size,), 2.0 * step))
    return step


def calls_of(act: Callable[[Path, int], None], folder: Path, size: int) -> int:
    begun(folder, size)
    with Faults().active() as faults:
        act(folder, size)
    return len(faults.calls)


def survived(act: Callable[[Path, int], None], place: Path, size: int, how: Any) -> list[int]:
    """What is read after a kill at each call; AssertionError where nothing sound is left."""
    total = calls_of(act, place / "dry", size)
    read = []
    for k in range(1, total + 1):
        folder = begun(place / str(k), size)
        with pytest.raises(Killed), Faults(k, how).active():
            act(folder, size)
        read.append(sound(folder, size))
        checkpoint.save(state(2, size), folder, 3)  # and the next attempt can go on
        checkpoint.prune(folder, [3])
        assert [p.name for p in folder.iterdir()] == ["step-00000003"]
        shutil.rmtree(folder)
    return read


@pytest.mark.parametrize("how", ["before", "after", "within"])
@pytest.mark.parametrize("act", [save_second, save_again], ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_a_kill_at_every_call_of_a_save_leaves_a_sound_checkpoint(
    size: int, act: Callable[[Path, int], None], how: str, tmp_path: Path
) -> None:
    read = survived(act, tmp_path, size, how)
    assert read[0] == 1
    assert read[-1] == 2
    assert read == sorted(read)  # once the new one is there, it stays


def test_the_control_a_careless_save_is_caught(tmp_path: Path) -> None:
    with pytest.raises((AssertionError, CheckpointError), match="no checkpoint"):
        survived(naive, tmp_path, 10, "before")


@pytest.mark.parametrize("act", [save_second, save_again], ids=lambda f: f.__name__)
def test_a_power_cut_at_any_moment_leaves_a_sound_checkpoint(act: Callable[[Path], None], tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", 10)
    shutil.copytree(folder, tmp_path / "before")
    with Disk(folder).recording() as disk:
        act(folder)
    seen = set()
    for i, kept in enumerate(disk.cuts(random.Random(0))):
        disk.left(kept, tmp_path / str(i), tmp_path / "before")
        seen.add(sound(tmp_path / str(i), 10))
        shutil.rmtree(tmp_path / str(i))
    assert seen == {1, 2}


def test_the_control_without_flushing_a_power_cut_loses_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(tmp_path / "run", 10)
    shutil.copytree(folder, tmp_path / "before")
    monkeypatch.setattr("os.fsync", lambda handle: None)
    with Disk(folder).recording() as disk:
        save_second(folder)
    disk.trace = [entry for entry in disk.trace if entry[0] != "fsync"]
    lost = 0
    for i, kept in enumerate(disk.cuts(random.Random(0))):
        disk.left(kept, tmp_path / str(i), tmp_path / "before")
        try:
            sound(tmp_path / str(i), 10)
        except (AssertionError, CheckpointError):
            lost += 1
    assert lost > 0


def first_of_a_run(folder: Path) -> None:
    disk.put(folder / "manifest.json", b"{}")
    checkpoint.save(state(1), folder / "checkpoints", 1)


@pytest.mark.parametrize("settles", [True, False], ids=["", "the control: the new folder is not settled"])
def test_once_the_first_save_returned_a_power_cut_takes_nothing_of_it(
    settles: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copytree(folder, tmp_path / "before")
    if not settles:
        own = disk.settle
        monkeypatch.setattr(disk, "settle", lambda place: None if place == folder else own(place))
    with Disk(folder).recording() as trace:
        first_of_a_run(folder)
    trace.left(sorted(trace.certain(len(trace.trace))), tmp_path / "after", tmp_path / "before")
    kept = (tmp_path / "after" / "manifest.json").is_file() and bool(checkpoint.steps(tmp_path / "after/checkpoints"))
    assert kept == settles
    if settles:
        assert sound(tmp_path / "after" / "checkpoints", 10) == 1


def code_of(act: Callable[[Path], None], folder: Path, expected: set[int]) -> int:
    """The number of the error that it ended with, 0 where it came through."""
    code = 0
    try:
        act(folder)
    except OSError as error:
        code = error.errno or -1
    assert code in expected
    return code


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_an_error_at_every_call_leaves_the_older_one_and_says_so(code: int, tmp_path: Path) -> None:
    for k in range(1, calls_of(save_second, tmp_path / "dry", 10) + 1):
        folder = begun(tmp_path / str(k), 10)
        with Faults(k, "fail", code).active():
            code_of(save_second, folder, expected={0, code})
        sound(folder, 10)


def test_a_full_disk_at_every_call_leaves_the_older_one(tmp_path: Path) -> None:
    for k in range(1, calls_of(save_second, tmp_path / "dry", 10) + 1):
        folder = begun(tmp_path / str(k), 10)
        with Faults(k, "full").active():
            if code_of(save_second, folder, expected={0, errno.ENOSPC}):
                assert [p.name for p in folder.iterdir()] == ["step-00000001"]
        sound(folder, 10)


def test_an_error_that_passes_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("trainwright.engine.disk.time.sleep", waits.append)
    own, left = os.fsync, [errno.EIO, errno.ESTALE, errno.EAGAIN]

    def flaky(handle: int) -> None:
        if left:
            raise OSError(left.pop(), "for a moment")
        own(handle)

    monkeypatch.setattr("os.fsync", flaky)
    saver = Saver(tmp_path, lambda steps: steps)
    saver.save(pack(state(1)), 1)
    saver.wait()
    [done] = saver.finished()
    assert isinstance(done, Saved)
    assert sound(tmp_path, 10) == 1


def test_an_error_that_stays_is_counted_and_the_next_save_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = Saver(tmp_path, lambda steps: steps)
    with Faults(1, "full").active():
        for step in (1, 2):
            saver.save(pack(state(step)), step)
            saver.wait()
    first, second = saver.finished()
    assert isinstance(first, Missed)
    assert isinstance(second, Missed)
    assert (first.in_a_row, second.in_a_row) == (1, 2)
    saver.save(pack(state(3)), 3)
    saver.wait()
    assert isinstance(saver.finished()[0], Saved)
    assert saver.missed == 0


def test_what_is_saved_is_the_state_of_that_moment(tmp_path: Path) -> None:
    saver = Saver(tmp_path, lambda steps: steps)
    content = state(1, 500_000)
    saver.save(pack(content), 1)
    content["model"]["w"].fill_(9)  # the training goes on at once
    content["optimizer"]["m"].fill_(9)
    saver.wait()
    assert sound(tmp_path, 500_000) == 1


def test_without_a_thread_it_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    saver = Saver(tmp_path, lambda steps: steps)
    saver.save(pack(state(1)), 1)
    assert saver.idle
    saver.wait()
    assert isinstance(saver.finished()[0], Saved)
    assert sound(tmp_path, 10) == 1


@pytest.mark.parametrize("seed", range(200))
def test_pruning_never_removes_the_newest_whatever_it_is_told(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    for step in range(1, dice.randint(1, 5)):
        (tmp_path / f"step-{step:08d}").mkdir()
    before = checkpoint.steps(tmp_path)
    keep = [s for s in range(1, 6) if dice.random() < 0.4]
    checkpoint.prune(tmp_path, keep)
    assert checkpoint.steps(tmp_path) == [s for s in before if s in keep or s == before[-1]]


def test_damaged_ones_are_set_aside_under_a_name_that_says_so(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(state(step), tmp_path, step)
    for step in (2, 3):
        (tmp_path / f"step-{step:08d}" / "model.safetensors").write_bytes(b"x")
    told = checkpoint.set_aside(tmp_path)
    assert len(told) == 2
    assert all("is damaged: model.safetensors is not what was written; it is now step-" in t for t in told)
    assert checkpoint.steps(tmp_path) == [1]
    assert len([p for p in tmp_path.iterdir() if ".damaged-" in p.name]) == 2


def test_where_none_is_sound_nothing_is_renamed(tmp_path: Path) -> None:
    checkpoint.save(state(1), tmp_path, 1)
    (tmp_path / "step-00000001" / "state.json").write_text("{}")
    assert checkpoint.set_aside(tmp_path) == []
    with pytest.raises(CheckpointError, match="no checkpoint of this run is sound"):
        checkpoint.newest(tmp_path)


def test_a_file_that_the_manifest_does_not_name_is_not_read(tmp_path: Path) -> None:
    path = checkpoint.save({"counters": {"step": 1}}, tmp_path, 1)
    other = checkpoint.save({"counters": {"x": torch.ones(2)}}, tmp_path, 2)
    shutil.copy(other / "counters.safetensors", path / "counters.safetensors")
    assert checkpoint.load(path) == {"counters": {"step": 1}}


def damaged(content: dict[str, bytes], dice: random.Random) -> dict[str, bytes]:
    """One flipped bit, one cut file, or two files in each other's place."""
    out = dict(content)
    name = dice.choice(sorted(content))
    match dice.choice(["flip", "flip", "flip", "cut", "swap"]):
        case "flip":
            data = bytearray(content[name])
            at = dice.randrange(len(data) * 8)
            data[at // 8] ^= 1 << (at % 8)
            out[name] = bytes(data)
        case "cut":
            out[name] = content[name][: dice.randrange(len(content[name]))]
        case "swap":
            other = dice.choice([n for n in sorted(content) if n != name])
            out[name], out[other] = content[other], content[name]
    return out


def test_every_corruption_is_found(tmp_path: Path) -> None:
    path = checkpoint.save(state(1, 300), tmp_path, 1)
    content = {p.name: p.read_bytes() for p in path.iterdir()}
    dice = random.Random(0)
    for _ in range(150):
        for name, data in damaged(content, dice).items():
            (path / name).write_bytes(data)
        same = {p.name: p.read_bytes() for p in path.iterdir()} == content
        if not same:
            with pytest.raises(CheckpointError):
                checkpoint.load(path)
    for name, data in content.items():
        (path / name).write_bytes(data)
    assert checkpoint.load(path)["counters"] == {"step": 1}
