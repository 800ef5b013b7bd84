"""Encoding: once, in order, with any number of workers; mistakes name their record; a cache is checked, not trusted."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError, UserError
from trainwright.core.rows import Column, Rows, Windows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data import encode as encoding
from trainwright.data.encode import encode, encode_records
from trainwright.data.source import Source
from trainwright.data.store import Store


class Listed(Source):
    """Records in a list."""

    def __init__(self, records: list[Any], name: str = "list") -> None:
        self.records, self.name = records, name

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        if isinstance(self.records[index], str) and self.records[index] == "unreadable":
            raise OSError("no such file")
        return {"n": self.records[index]}

    def fingerprint(self) -> str:
        return f"{self.name}{self.records}"

    def where(self, index: int) -> str:
        return f"list.csv, row {index + 1}"


class Numbers(Processor):
    """A number, its square as a target, as many ones as it says, and its digits as bytes."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.asked: list[int] = []

    def fit(self, records: Iterable[Record]) -> None: ...

    def columns(self) -> Mapping[str, Column]:
        return {
            "n": Column("dense", torch.int64),
            "square": Column("dense", torch.float32, (2,), target=True),
            "ones": Column("ragged", torch.uint8),
            "text": Column("bytes", torch.uint8, (1,)),
        }

    def encode(self, record: Record) -> Sample:
        n = record["n"]
        self.asked.append(n)
        if n == "slow":
            time.sleep(0.02)
            n = 0
        if n == "bug":
            raise ZeroDivisionError("oh dear")
        if n == "bad":
            raise DataError("price", "is not a number", "write 1.5")
        sample: dict[str, Tensor | bytes] = {
            "n": torch.tensor(n + self.offset),
            "ones": torch.ones(n % 7, dtype=torch.uint8),
            "text": str(n).encode(),
        }
        return sample if n < 0 else {**sample, "square": torch.tensor([n, n * n]).float()}

    def unpack(self, column: str, data: bytes) -> Tensor:
        return torch.tensor([len(data)], dtype=torch.uint8)

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        raise NotImplementedError

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, JSON]:
        return {}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None: ...


class One(Numbers):
    """One column, whatever the record gives for it."""

    def __init__(self, column: Column, windows: Windows | None = None) -> None:
        super().__init__()
        self.column, self.windows = column, windows

    def columns(self) -> Mapping[str, Column]:
        return {"x": self.column}

    def encode(self, record: Record) -> Sample:
        return {"x": record["n"]}


def everything(store: Store) -> dict[str, Any]:
    rows = store.gather(torch.arange(len(store)))
    ragged = rows.ragged("ones")
    dense = {name: rows.dense(name).tolist() for name in rows.columns if name != "ones"}
    return {**dense, "ones": (ragged.values.tolist(), ragged.lengths.tolist())}


@pytest.mark.parametrize("where", ["auto", "memory", "file"])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_samples_lie_in_record_order_whatever_the_workers_and_the_place(where: Any, workers: int) -> None:
    records = [(7 * i) % 301 for i in range(700)]
    store = encode(Listed(records), Numbers(), where=where, workers=workers)
    said = everything(store)
    assert said["n"] == records
    assert said["square"] == [[n, n * n] for n in records]
    assert said["ones"][1] == [n % 7 for n in records]
    assert said["text"] == [[len(str(n))] for n in records]
    store.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_progress_ends_with_all_records_and_never_goes_back(workers: int) -> None:
    seen: list[tuple[int, int]] = []
    encode(Listed([*range(1500)]), Numbers(), workers=workers, on_progress=lambda *at: seen.append(at))
    assert seen[-1] == (1500, 1500)
    assert seen == sorted(seen)
    assert len(seen) > 2


def test_quick_encoding_starts_no_process_and_slow_encoding_does(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    real = encoding._by_workers

    def by_workers(encoder: Any, start: int, step: int, workers: int, timeout: float) -> Any:
        started.append(workers)
        yield from real(encoder, start, step, workers, timeout)

    monkeypatch.setattr(encoding, "_by_workers", by_workers)
    monkeypatch.setattr(encoding, "_cores", lambda: 2)
    encode(Listed([*range(3000)]), Numbers())
    assert not started
    monkeypatch.setattr(encoding, "_WORTH_WORKERS", 0.5)
    monkeypatch.setattr(encoding, "_CHUNK_SECONDS", 0.1)
    encode(Listed(["slow"] * 60), Numbers())
    assert started == [2]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mistake_names_the_place_of_its_record(workers: int, tmp_path: Path) -> None:
    cases: list[tuple[Any, str]] = [
        ("bad", r"list.csv, row 601, price: is not a number; write 1.5"),
        ("bug", r"list.csv, row 601: cannot be encoded: ZeroDivisionError: oh dear"),
        ("unreadable", r"list.csv, row 601: cannot be read: OSError: no such file"),
    ]
    for bad, message in cases:
        records: list[Any] = [*range(900)]
        records[600] = bad
        with pytest.raises(DataError, match=message) as caught:
            encode(Listed(records), Numbers(), workers=workers, cache=tmp_path)
        assert caught.value.__cause__ is not None
        assert not list(tmp_path.iterdir()), "nothing half-written is left"


def test_a_target_missing_from_some_records_only_names_the_first() -> None:
    with pytest.raises(DataError, match=r"row 4: has no target 'square'"):
        encode(Listed([0, 1, 2, -1, 4]), Numbers())
    with pytest.raises(DataError, match=r"row 701: has a target 'square', which earlier records lack"):
        encode(Listed([-1] * 700 + [3] * 300), Numbers())
    assert "square" not in encode(Listed([-1] * 700), Numbers()).columns


@pytest.mark.parametrize(
    ("column", "good", "bad", "message"),
    [
        (Column("dense", torch.float32, (2,)), torch.zeros(2), torch.zeros(3), r"shape \(3,\) instead of \(2,\)"),
        (Column("dense", torch.uint8), torch.tensor(3), torch.tensor(300), "300, which torch.uint8 cannot hold"),
        (Column("dense", torch.int64), torch.tensor(3), torch.tensor(0.5), "0.5, which torch.int64 cannot hold"),
        (Column("dense", torch.int64), torch.tensor(3.0), torch.tensor(float("nan")), "nan, which torch.int64 cannot"),
        (Column("dense", torch.float16), torch.tensor(3.0), torch.tensor(1e9), "which torch.float16 cannot hold"),
        (Column("dense", torch.float32), torch.tensor(3.0), "three", "'x' is str, not a tensor"),
        (Column("ragged", torch.int64, (2,)), torch.zeros(4, 2).long(), torch.zeros(4, 3).long(), r"shape \(4, 3\)"),
        (Column("ragged", torch.int64), torch.tensor([1]), torch.tensor([1, 0.5]), "0.5, which torch.int64"),
        (Column("ragged", torch.int64), torch.tensor([1]), torch.tensor(1), r"shape \(\) instead"),
        (Column("bytes", torch.uint8), b"1", "1", "'x' is str, not bytes"),
    ],
)
def test_a_sample_that_does_not_fit_its_column_is_named(column: Column, good: Any, bad: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"row 4: .*{message}"):
        encode(Listed([good, good, good, bad, good]), One(column))


def test_numbers_keep_their_value_when_their_type_changes() -> None:
    big = 2**24 + 1  # not a float32
    values = [torch.tensor([]), torch.tensor([big, 2]), torch.tensor([3.0])]
    store = encode(Listed(values), One(Column("ragged", torch.int64)))
    assert store.gather(torch.arange(3)).ragged("x").values.tolist() == [big, 2, 3]
    mixed: list[Any] = [np.float64(1.5), 2, torch.tensor(3), np.array(float("nan"))]
    dense = encode(Listed(mixed), One(Column("dense", torch.float32))).gather(torch.arange(4)).dense("x")
    assert dense[:3].tolist() == [1.5, 2, 3]
    assert bool(dense[3].isnan())
    frozen = np.ones(3)
    frozen.flags.writeable = False
    assert encode(Listed([frozen, frozen]), One(Column("dense", torch.float64, (3,)))).nbytes == 48


def test_unannounced_and_missing_columns_are_named() -> None:
    class Odd(Numbers):
        def encode(self, record: Record) -> Sample:
            sample = dict(super().encode(record))
            if record["n"] == 2:
                del sample["n"]
            return {**sample, "extra": sample["ones"]} if record["n"] == 3 else sample

    with pytest.raises(DataError, match=r"row 3: encoded without the column 'n'"):
        encode(Listed([1, 1, 2]), Odd())
    with pytest.raises(DataError, match=r"row 2: encoded to a column 'extra' that the processor does not announce"):
        encode(Listed([1, 3, 1]), Odd())


def test_columns_of_one_stream_need_as_many_rows() -> None:
    class Two(One):
        def columns(self) -> Mapping[str, Column]:
            return {"x": self.column, "y": self.column}

        def encode(self, record: Record) -> Sample:
            return {"x": torch.zeros(3), "y": torch.zeros(record["n"])}

    with pytest.raises(DataError, match=r"row 2: has 3 rows of 'x' but 4 of 'y'"):
        encode(Listed([3, 4]), Two(Column("window", torch.float32), Windows(1, 2, 2)))


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(DataError, match="holds no record"):
        encode(Listed([]), Numbers())


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


def test_a_process_that_dies_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.getpid()

    class Dying(Numbers):
        def encode(self, record: Record) -> Sample:
            if os.getpid() != here:
                os._exit(9)
            return super().encode(record)

    said = r"workers: .* ended with exit code 9 at list.csv, row 65 to list.csv, row 300, 4 times in a row.*workers = 0"
    with pytest.raises(UserError, match=said):
        encode(Listed([*range(300)]), Dying(), workers=1)


def test_encoding_does_not_touch_the_runs_randomness() -> None:
    before = torch.get_rng_state()
    encode(Listed([*range(300)]), Numbers(), workers=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_served_records_are_encoded_as_stored_ones_are() -> None:
    rows = encode_records([{"n": 12}, {"n": 3}], Numbers())
    stored = encode(Listed([12, 3]), Numbers()).gather(torch.arange(2))
    assert rows.ids.tolist() == [0, 1]
    for name in ("n", "square", "text"):
        assert torch.equal(rows.dense(name), stored.dense(name))
    assert rows.ragged("ones").lengths.tolist() == [5, 3]
    unlabelled = encode_records([{"n": -1}], Numbers())
    assert "square" not in unlabelled.columns
    with pytest.raises(DataError, match="record 1, price"):
        encode_records([{"n": 1}, {"n": "bad"}], Numbers())
    with pytest.raises(DataError, match="give at least one"):
        encode_records([], Numbers())


def test_a_served_stream_is_all_context_with_room_for_what_follows() -> None:
    processor = One(Column("window", torch.int64, padding=-1), Windows(lead=2, length=3, stride=3))
    rows = encode_records([{"n": torch.tensor([5, 6])}, {"n": torch.tensor([7, 8, 9])}], processor)
    assert rows.dense("x").tolist() == [[5, 6, -1, -1, -1, -1], [7, 8, 9, -1, -1, -1]]
    assert rows.lengths["x"].tolist() == [2, 3]
    with pytest.raises(DataError, match=r"record 0: has 1 rows of 'x', too few to continue; give at least 2"):
        encode_records([{"n": torch.tensor([5])}], processor)


def test_sixty_thousand_small_records_take_a_few_seconds() -> None:
    class Images(One):
        def encode(self, record: Record) -> Sample:
            return {"x": torch.from_numpy(record["n"])}

    image = np.zeros((28, 28), np.uint8)
    began = time.perf_counter()
    encode(Listed([image] * 20_000), Images(Column("dense", torch.uint8, (28, 28))), workers=0)
    assert time.perf_counter() - began < 3
