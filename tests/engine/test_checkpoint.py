"""A checkpoint is whole or it is not there, and a damaged one is never used."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from trainwright.core.errors import CheckpointError
from trainwright.engine import checkpoint
from trainwright.engine.packing import pack

TENSOR = torch.arange(6.0).view(2, 3)
STATE: dict[str, Any] = {
    "model": {"w": TENSOR, "tied": TENSOR, "column": TENSOR.t(), "empty": torch.zeros(0)},
    "optimizer": {"state": {"w": {"step": torch.tensor(3.0)}}, "groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]},
    "counters": {"step": 5, "nan": math.nan, "inf": -math.inf, "none": None, 7: "seven", "$": "money"},
}


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return a == b or (a != a and b != b)


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    path = checkpoint.save(STATE, tmp_path, 5)
    assert path.name == "step-00000005"
    assert equal(checkpoint.load(path), STATE)
    assert equal(checkpoint.load_part(path, "model"), STATE["model"])


def test_what_rests_is_written_as_it_lies_without_a_copy(tmp_path: Path) -> None:
    resting = pack(STATE, copy=False)
    assert resting.tensors["model"]["w"].data_ptr() == TENSOR.data_ptr()
    assert resting.nbytes == pack(STATE).nbytes == 2 * TENSOR.nbytes + 4
    assert equal(checkpoint.load(checkpoint.write(resting, tmp_path, 5)), STATE)


def test_tied_tensors_are_stored_once(tmp_path: Path) -> None:
    big = torch.zeros(10_000)
    path = checkpoint.save({"model": {"a": big, "b": big}}, tmp_path, 1)
    assert (path / "model.safetensors").stat().st_size < 50_000


def test_what_was_saved_does_not_follow_the_tensor(tmp_path: Path) -> None:
    x = torch.ones(3)
    path = checkpoint.save({"model": {"x": x}}, tmp_path, 1)
    x.zero_()
    assert float(checkpoint.load(path)["model"]["x"].sum()) == 3


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_flipped_bit_anywhere_is_found(name: str, tmp_path: Path) -> None:
    path = checkpoint.save(STATE, tmp_path, 5)
    content = (path / name).read_bytes()
    for at in range(0, len(content), max(1, len(content) // 25)):
        damaged = bytearray(content)
        damaged[at] ^= 1
        (path / name).write_bytes(damaged)
        if name == "manifest.json" and json_equal(bytes(damaged), content):
            continue
        with pytest.raises(CheckpointError):
            checkpoint.load(path)
    (path / name).write_bytes(content)
    assert equal(checkpoint.load(path), STATE)


def json_equal(a: bytes, b: bytes) -> bool:
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_a_cut_or_missing_file_is_found(name: str, tmp_path: Path) -> None:
    path = checkpoint.save(STATE, tmp_path, 5)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-1])
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    (path / name).unlink()
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


def test_the_newest_sound_one_is_taken_and_the_damaged_one_named(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save({"counters": {"step": step}}, tmp_path, step)
    (tmp_path / "step-00000003" / "state.json").write_text("{}")
    found = checkpoint.newest(tmp_path)
    assert found is not None
    path, state, troubles = found
    assert path.name == "step-00000002"
    assert state["counters"]["step"] == 2
    assert len(troubles) == 1
    assert "step-00000003" in troubles[0]


def test_when_none_is_sound_that_is_an_error_and_none_at_all_is_none(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    checkpoint.save({"counters": {}}, tmp_path, 1)
    (tmp_path / "step-00000001" / "manifest.json").write_text("nonsense")
    with pytest.raises(CheckpointError, match="sound"):
        checkpoint.newest(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = checkpoint.save(STATE, tmp_path, 5)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoint.load(path)


def test_a_failed_save_leaves_the_older_one_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(STATE, tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "pieces", full)
    for step in (1, 2):
        with pytest.raises(OSError, match="No space"):
            checkpoint.save(STATE, tmp_path, step)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert equal(checkpoint.load(tmp_path / "step-00000001"), STATE)


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    checkpoint.save({"counters": {"step": 1}}, tmp_path, 1)
    checkpoint.save({"counters": {"step": 2}}, tmp_path, 1)
    assert checkpoint.load(tmp_path / "step-00000001")["counters"]["step"] == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_pruning_keeps_what_it_is_told_and_clears_what_was_left(tmp_path: Path) -> None:
    for step in range(1, 6):
        checkpoint.save({"counters": {"step": step}}, tmp_path, step)
    (tmp_path / ".writing-00000009-1").mkdir()
    checkpoint.prune(tmp_path, [2, 5])
    assert checkpoint.steps(tmp_path) == [2, 5]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_step_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    checkpoint.save({"counters": {}}, tmp_path, 4)
    with pytest.raises(CheckpointError, match="there are: 4"):
        checkpoint.at(tmp_path, 5)


def test_what_cannot_be_kept_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"deep\.1.*set"):
        checkpoint.save({"part": {"deep": [1, {2}]}}, tmp_path, 1)
    assert list(tmp_path.iterdir()) == []
