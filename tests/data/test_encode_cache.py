"""What was encoded is kept by content: read again, never believed when damaged, whole whoever writes it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data.encoded import Listed, Numbers, everything
from trainwright.core.errors import UserError
from trainwright.core.rows import Column
from trainwright.core.task import JSON, Processor
from trainwright.data.encode import encode


@pytest.mark.parametrize("where", ["auto", "memory", "file"])
def test_a_second_run_does_not_encode(where: Any, tmp_path: Path) -> None:
    source = Listed([*range(900)])
    first = everything(encode(source, Numbers(), cache=tmp_path, where=where))
    again = Numbers()
    second = everything(
        encode(source, again, cache=tmp_path, where=where, on_progress=lambda *_: pytest.fail("encoded"))
    )
    assert first == second
    assert len(again.asked) < 10, "only the probes"


def test_the_cache_depends_on_all_that_decides_the_samples(tmp_path: Path) -> None:
    def folders() -> int:
        return len(list(tmp_path.iterdir()))

    class Stated(Numbers):
        state: JSON = 1

        def state_dict(self) -> dict[str, JSON]:
            return {"state": self.state}

    class Wider(Stated):
        def columns(self) -> Mapping[str, Column]:
            columns = dict(super().columns())
            return {**columns, "n": replace(columns["n"], dtype=torch.int32)}

    def run(records: list[Any], processor: Processor, key: str = "") -> None:
        encode(Listed(records), processor, cache=tmp_path, key=key)

    run([1, 2], Numbers())
    run([1, 2], Numbers())
    assert folders() == 1
    run([1, 3], Numbers())
    assert folders() == 2
    run([1, 2], Stated())
    assert folders() == 3
    Stated.state = {"learned": [1.5]}
    run([1, 2], Stated())
    assert folders() == 4
    run([1, 2], Wider())
    assert folders() == 5
    run([1, 2], Numbers(), key="other options")
    assert folders() == 6


def test_a_cache_that_no_longer_tells_the_truth_is_written_anew(tmp_path: Path) -> None:
    """The offset is an option that the key does not know."""
    source = Listed([*range(50)])
    encode(source, Numbers(), cache=tmp_path)
    assert everything(encode(source, Numbers(offset=5), cache=tmp_path))["n"] == [n + 5 for n in range(50)]
    assert len(list(tmp_path.iterdir())) == 1


def test_damage_of_any_byte_is_found_and_repaired(tmp_path: Path) -> None:
    source = Listed([*range(40)])
    good = everything(encode(source, Numbers(), cache=tmp_path))
    (folder,) = tmp_path.iterdir()
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        damages = [whole[: len(whole) // 2], whole + b"\0", bytes([whole[0] ^ 1]) + whole[1:], None]
        for damage in damages:
            file.unlink() if damage is None else file.write_bytes(damage)
            asked = Numbers()
            assert everything(encode(source, asked, cache=tmp_path)) == good
            assert len(asked.asked) == 40
            assert [p.name for p in tmp_path.iterdir()] == [folder.name]
            assert file.read_bytes() == whole


def test_an_index_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    source = Listed([*range(40)])
    good = everything(encode(source, Numbers(), cache=tmp_path))
    (index,) = tmp_path.glob("*/index.json")
    changed = index.read_text().replace('"rows": 40', '"rows": 39')
    assert changed != index.read_text()
    index.write_text(changed)
    assert everything(encode(source, Numbers(), cache=tmp_path)) == good


def test_a_half_written_cache_is_not_seen(tmp_path: Path) -> None:
    """As a run leaves it that is killed while it encodes: only the temporary folder, removed when it is old."""
    source = Listed([*range(40)])
    encode(source, Numbers(), cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    dead = multiprocessing.get_context("spawn").Process(target=int)
    dead.start()
    dead.join()
    left = tmp_path / f".{folder.name}-{os.uname().nodename}-{dead.pid}-0123abcd"
    folder.rename(left)
    (left / "index.json").unlink()
    fresh = Numbers()
    encode(source, fresh, cache=tmp_path)
    assert len(fresh.asked) == 40
    assert left.exists(), "its process may live on another host"
    for path in (*left.iterdir(), left):
        os.utime(path, (0, 0))
    shutil.rmtree(folder)
    encode(source, Numbers(), cache=tmp_path)
    assert not left.exists()


def test_unused_folders_go_after_a_month(tmp_path: Path) -> None:
    encode(Listed([1, 2]), Numbers(), cache=tmp_path)
    (old,) = tmp_path.iterdir()
    os.utime(old / "index.json", (0, 0))
    encode(Listed([3, 4]), Numbers(), cache=tmp_path)
    assert not old.exists()


def _write(cache: str, barrier: Any) -> None:
    barrier.wait()
    encode(Listed([*range(300)]), Numbers(), cache=Path(cache))


def test_concurrent_writers_leave_one_whole_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    writers = [context.Process(target=_write, args=(str(tmp_path), barrier)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "index.json").read_text())["content"]["records"] == 300
    asked = Numbers()
    assert everything(encode(Listed([*range(300)]), asked, cache=tmp_path))["n"] == [*range(300)]
    assert len(asked.asked) < 10


def test_a_cache_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        encode(Listed([1]), Numbers(), cache=tmp_path / "file")
