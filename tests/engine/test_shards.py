"""Ranks write a checkpoint together: any number reads it bit for bit, and one that is not whole is never taken."""

from __future__ import annotations

import errno
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.faults import Faults, Killed
from trainwright.core.errors import CheckpointError
from trainwright.engine import checkpoint, disk, shards
from trainwright.engine.packing import pack, restored
from trainwright.engine.ranks.share import Share, cut, joined
from trainwright.engine.saver import Missed, Saved, Saver
from trainwright.engine.shards import Company
from trainwright.runs.sameness import same

WORLD = 3


def state(step: int) -> dict[str, Any]:
    """Rows that no number of ranks divides, fewer of them than ranks are, none, tied ones, and what is not shared."""
    tied = torch.arange(14.0).view(7, 2) + step
    model = {"w": tied, "head": tied, "one": torch.full((1, 3), float(step)), "none": torch.zeros(0, 2)}
    return {
        "model": {**model, "count": torch.tensor(step)},
        "optimizer": {"w": {"m": tied * 2, "step": torch.tensor(float(step))}},
        "counters": {"step": step},
    }


def share_of(value: Any, rank: int, world: int) -> Any:
    """The same, as one of several ranks has it; rows of a tied tensor are in one place there too."""
    kept: dict[int, Share] = {}

    def shared(x: Any) -> Any:
        if isinstance(x, Tensor) and x.ndim:
            return kept.setdefault(id(x), cut([x], rank, world))
        return {k: shared(v) for k, v in x.items()} if isinstance(x, dict) else x

    return shared(value)


def written(folder: Path, step: int, world: int = WORLD, content: dict[str, Any] | None = None) -> Path:
    """By one rank after the other, the first one last, since it waits for all."""
    for rank in reversed(range(world)):
        mine = share_of(content or state(step), rank, world)
        path = checkpoint.save(mine, folder, step, company=Company(rank, world, f"crew-{step}"))
    return path


@pytest.mark.parametrize("world", [2, 3, 4, 9])
def test_what_some_ranks_wrote_any_number_reads_bit_for_bit(world: int, tmp_path: Path) -> None:
    path = written(tmp_path, 5, world)
    assert len(list(path.glob("model.shard-*"))) == world
    assert same(checkpoint.load(path), state(5))
    assert same(checkpoint.load_part(path, "model"), state(5)["model"])
    for readers in (1, 2, 3, 5, 8):
        mine = [checkpoint.load(path, join=partial(cut, rank=r, world=readers)) for r in range(readers)]
        for name in ("w", "head", "one", "none"):
            found = [one["model"][name] for one in mine]
            assert all(share.shape == tuple(state(5)["model"][name].shape) for share in found)
            assert same(joined([share.rows for share in found]), state(5)["model"][name])
        assert all(same(one["model"]["count"], torch.tensor(5)) for one in mine)


def test_ranks_cut_as_torch_does() -> None:
    for rows in range(12):
        whole = torch.arange(2.0 * rows).view(rows, 2)
        for world in range(1, 6):
            expected = [len(c) for c in torch.chunk(whole, world)] if rows else []
            found = [len(cut([whole], rank, world).rows) for rank in range(world)]
            assert found == expected + [0] * (world - len(expected))


def test_the_same_files_as_ever_hold_what_is_not_shared(tmp_path: Path) -> None:
    names = {p.name for p in written(tmp_path, 5, 2).iterdir()}
    rows = {f"{part}.shard-{n}-of-2.safetensors" for part in ("model", "optimizer") for n in (1, 2)}
    assert names == rows | {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}
    alone = {p.name for p in checkpoint.save(state(6), tmp_path, 6).iterdir()}
    assert alone == {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}


def test_a_tied_tensor_is_written_once(tmp_path: Path) -> None:
    path = written(tmp_path, 5)
    tree = json.loads((path / "state.json").read_text())
    assert tree["model"]["head"]["name"] == tree["model"]["w"]["name"] == "w"
    loaded = checkpoint.load(path)["model"]
    assert loaded["head"].data_ptr() == loaded["w"].data_ptr()


def test_a_snapshot_is_taken_back_as_it_was_and_its_memory_is_used_again() -> None:
    first = pack(share_of(state(1), 1, WORLD))
    kept = restored(first)["model"]["w"]
    assert same(kept.rows, cut([state(1)["model"]["w"]], 1, WORLD).rows)
    second = pack(share_of(state(2), 1, WORLD), first)
    assert restored(second)["model"]["w"].rows.data_ptr() == kept.rows.data_ptr()
    assert same(kept.rows, cut([state(2)["model"]["w"]], 1, WORLD).rows)


def sound(folder: Path) -> int:
    """The step that is read, after a look at every number of it."""
    found = checkpoint.newest(folder)
    assert found is not None
    step = int(found[1]["counters"]["step"])
    assert same(found[1], state(step))
    return step


@pytest.mark.parametrize("how", ["before", "after", "within"])
def test_a_kill_at_every_call_of_every_rank_leaves_a_sound_checkpoint(how: Any, tmp_path: Path) -> None:
    written(tmp_path / "dry", 1)
    with Faults().active() as counted:
        written(tmp_path / "dry", 2)
    read = []
    for k in range(1, len(counted.calls) + 1):
        folder = tmp_path / str(k)
        shutil.copytree(tmp_path / "dry" / "step-00000001", folder / "step-00000001")
        with pytest.raises(Killed), Faults(k, how).active():
            written(folder, 2)
        read.append(sound(folder))
        written(folder, 3)
        checkpoint.prune(folder, [3])
        assert [p.name for p in folder.iterdir()] == ["step-00000003"]
        shutil.rmtree(folder)
    assert read == sorted(read)
    assert set(read) == {1, 2}
    assert read.count(1) > len(counted.calls) // 2  # most of them fell between shards


@pytest.mark.parametrize("harm", ["missing", "torn", "another rank's", "of another step"])
def test_a_checkpoint_whose_shard_is_lost_or_torn_is_refused_and_the_one_before_taken(
    harm: str, tmp_path: Path
) -> None:
    before, path = written(tmp_path, 1), written(tmp_path, 2)
    shard = path / "model.shard-2-of-3.safetensors"
    match harm:
        case "missing":
            shard.unlink()
        case "torn":
            shard.write_bytes(shard.read_bytes()[:-3])
        case "another rank's":
            shutil.copy(path / "model.shard-1-of-3.safetensors", shard)
        case _:
            shutil.copy(before / shard.name, shard)
    what = "is missing" if harm == "missing" else "is not what was written"
    with pytest.raises(CheckpointError, match=rf"is damaged: {shard.name} {what}"):
        checkpoint.load(path)
    assert sound(tmp_path) == 1
    [told] = checkpoint.set_aside(tmp_path)
    assert shard.name in told
    assert checkpoint.steps(tmp_path) == [1]


def sealed_without(path: Path, name: str) -> None:
    """As if the ranks had never written it."""
    (path / name).unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["seal"], manifest["files"][name]
    (path / "manifest.json").write_text(json.dumps({**manifest, "seal": checkpoint._seal(manifest)}))


def test_rows_that_the_manifest_does_not_promise_are_missed_all_the_same(tmp_path: Path) -> None:
    sealed_without(written(tmp_path, 1), "model.shard-2-of-3.safetensors")
    sealed_without(written(tmp_path, 2), "optimizer.shard-3-of-3.safetensors")
    with pytest.raises(CheckpointError, match="it has 2 of 3 shards of 'model'"):
        checkpoint.load(tmp_path / "step-00000001")
    with pytest.raises(CheckpointError, match="it has 2 of 3 shards of 'optimizer'"):
        checkpoint.load(tmp_path / "step-00000002")
    for part in ("model", "optimizer"):
        for n in (1, 3) if part == "model" else ():
            sealed_without(tmp_path / "step-00000001", f"{part}.shard-{n}-of-3.safetensors")
    with pytest.raises(CheckpointError, match="holds no state"):
        checkpoint.load(tmp_path / "step-00000001")


def crew(folder: Path, world: int = WORLD) -> list[Saver]:
    return [Saver(folder, lambda steps: steps[-1:], company=Company(rank, world, "crew")) for rank in range(world)]


def saved(savers: list[Saver], step: int) -> list[list[Saved | Missed]]:
    """By all of them beside each other, and what each tells."""
    for saver in savers:
        rank, world = saver.company.rank, saver.company.world
        saver.save(pack(share_of(state(step), rank, world)), step)
    for saver in savers:
        saver.wait()
    return [saver.finished() for saver in savers]


def test_savers_write_beside_each_other_and_the_first_one_removes_what_nobody_keeps(tmp_path: Path) -> None:
    savers = crew(tmp_path)
    for step in (1, 2, 3):
        assert all(isinstance(done, Saved) for [done] in saved(savers, step))
        assert sound(tmp_path) == step
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("rank", range(WORLD))
def test_a_rank_whose_disk_is_full_makes_all_miss_the_checkpoint_and_the_next_one_is_there(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    savers, own = crew(tmp_path), disk.write
    saved(savers, 1)
    full = f"model.shard-{rank + 1}-of-3.safetensors"

    def write(path: Path, pieces: Any) -> tuple[int, str]:
        if path.name == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return own(path, pieces)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", write)
        told = saved(savers, 2)
    [first] = told[0]
    assert isinstance(first, Missed)
    assert first.error.errno == errno.ENOSPC
    assert rank == 0 or f"(process {rank + 1} of 3)" in str(first.error)
    assert isinstance(told[rank][0], Missed)
    assert sound(tmp_path) == 1
    assert all(isinstance(done, Saved) for [done] in saved(savers, 3))
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("rank", range(WORLD))
def test_an_error_that_passes_is_tried_again_by_the_rank_that_met_it(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_PAUSES", (0.0, 0.0, 0.0))
    savers, own, left = crew(tmp_path), disk.write, [errno.EIO, errno.ESTALE]
    flaky = "manifest.json" if rank == 0 else f"optimizer.shard-{rank + 1}-of-3.safetensors"

    def write(path: Path, pieces: Any) -> tuple[int, str]:
        done = own(path, pieces)
        if path.name == flaky and left:
            raise OSError(left.pop(), "for a moment")  # behind the whole file
        return done

    monkeypatch.setattr(disk, "write", write)
    assert all(isinstance(done, Saved) for [done] in saved(savers, 1))
    assert (sound(tmp_path), left) == (1, [])


def test_an_error_behind_the_last_note_is_tried_again_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(shards, "_SILENCE", 5.0)
    savers, own, left = crew(tmp_path), os.rename, [errno.EIO, errno.ESTALE]

    def rename(old: Any, new: Any) -> None:
        if Path(new).name.startswith("step-") and left:
            raise OSError(left.pop(), "for a moment")
        own(old, new)

    monkeypatch.setattr(os, "rename", rename)
    assert all(isinstance(done, Saved) for [done] in saved(savers, 1))
    assert (sound(tmp_path), left) == (1, [])
    assert not [p for p in (tmp_path / "step-00000001").iterdir() if p.name.startswith(".")]


def test_memory_that_runs_out_in_a_writer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = disk.write

    def write(path: Path, content: Any) -> tuple[int, str]:
        if ".shard-2-" in path.name:
            raise MemoryError
        return own(path, content)

    monkeypatch.setattr(disk, "write", write)
    monkeypatch.setattr(shards, "_SILENCE", 5.0)
    first, second, _ = (done for [done] in saved(crew(tmp_path), 1))
    assert isinstance(first, Missed)
    assert isinstance(second, Missed)
    assert "MemoryError" in str(first.error)


@pytest.mark.parametrize("count", ["3", "99999999999"])
def test_a_name_that_tells_of_more_shards_is_refused(count: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has 2 of \d+ shards"):
        shards.of_part("model", [f"model.shard-{n}-of-{count}.safetensors" for n in (1, 2)], tmp_path)


def test_who_never_writes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_SILENCE", 0.0)
    first = crew(tmp_path)[0]
    first.save(pack(share_of(state(1), 0, WORLD)), 1)
    first.wait()
    [missed] = first.finished()
    assert isinstance(missed, Missed)
    assert "another process did not write its share" in str(missed.error)
    assert list(tmp_path.iterdir()) == []
