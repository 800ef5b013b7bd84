"""Encoding: once, in order, with any number of workers; mistakes name their record; a cache is checked, not trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.encoded import Listed, Numbers, One, everything
from trainwright.core.errors import DataError, UserError
from trainwright.core.rows import Column, Windows
from trainwright.core.task import Record, Sample
from trainwright.data import encode as encoding
from trainwright.data.encode import encode, encode_records


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
    began = time.thread_time()  # of this process: what others do at the time is no part of it
    encode(Listed([image] * 20_000), Images(Column("dense", torch.uint8, (28, 28))), workers=0)
    assert time.thread_time() - began < 3
