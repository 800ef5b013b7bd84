"""The store: what is gathered is what was encoded, for every kind of column and every place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Rows, Windows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.encode import encode
from trainwright.data.gather import raw, take, take_ragged
from trainwright.data.source import Source
from trainwright.data.store import Store

CPU = torch.device("cpu")
PLACES = ("memory", "file")


class Samples(Source):
    """Records that are samples already."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Record:
        return self.samples[index]

    def fingerprint(self) -> str:
        return str(len(self.samples))


class Plain(Processor):
    """Keeps samples as they are; bytes are lists of numbers, of which each tensor keeps three."""

    def __init__(self, columns: Mapping[str, Column], windows: Windows | None = None) -> None:
        self._columns, self.windows = columns, windows

    def fit(self, records: Iterable[Record]) -> None: ...

    def columns(self) -> Mapping[str, Column]:
        return self._columns

    def encode(self, record: Record) -> Sample:
        return record

    def unpack(self, column: str, data: bytes) -> Tensor:
        return torch.frombuffer(bytearray(data[:3]), dtype=torch.uint8)

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        raise NotImplementedError

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, JSON]:
        return {}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None: ...


def stored(
    samples: Sequence[Sample], columns: Mapping[str, Column], where: str = "memory", windows: Windows | None = None
) -> Store:
    return encode(Samples(samples), Plain(columns, windows), workers=0, where=where)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (4, 5)])
def test_dense_rows_come_back_as_they_were_encoded(where: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    values = (torch.rand(20, *shape) * 2).to(dtype)
    store = stored([{"x": v} for v in values], {"x": Column("dense", dtype, shape)}, where)
    positions = torch.tensor([3, 19, 3, 0])
    rows = store.gather(positions)
    assert rows.dense("x").dtype == dtype
    assert torch.equal(rows.dense("x"), values[positions])
    assert torch.equal(rows.ids, positions)
    assert len(store) == 20 == store.rows
    store.close()


@pytest.mark.parametrize("where", PLACES)
@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=12),
    width=st.sampled_from([(), (3,), (0,), (2, 2)]),
    data=st.data(),
)
def test_ragged_rows_come_back_whatever_their_lengths(
    where: str, lengths: list[int], width: tuple[int, ...], data: st.DataObject
) -> None:
    values = [torch.rand(n, *width) for n in lengths]
    store = stored([{"x": v} for v in values], {"x": Column("ragged", torch.float32, width)}, where)
    picked = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=9))
    ragged = store.gather(torch.tensor(picked, dtype=torch.int64)).ragged("x")
    assert ragged.lengths.tolist() == [lengths[i] for i in picked]
    assert torch.equal(ragged.values, torch.cat([torch.empty(0, *width), *(values[i] for i in picked)]))
    store.close()


def test_long_ragged_rows_come_back_as_short_ones_do() -> None:
    values = [torch.rand(n, 2) for n in (3000, 0, 1, 5000)]
    store = stored([{"x": v} for v in values], {"x": Column("ragged", torch.float32, (2,))})
    ragged = store.gather(torch.tensor([3, 1, 0, 0])).ragged("x")
    assert torch.equal(ragged.values, torch.cat([values[3], values[0], values[0]]))
    assert ragged.lengths.tolist() == [5000, 0, 3000, 3000]


@pytest.mark.parametrize("where", PLACES)
@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(lambda n: sum(n) > 3),
    lead=st.integers(0, 3),
    length=st.integers(1, 6),
    data=st.data(),
)
def test_windows_cross_records_and_are_filled_behind_their_stop(
    where: str, lengths: list[int], lead: int, length: int, data: st.DataObject
) -> None:
    stream = torch.arange(sum(lengths)).unsqueeze(1) + 1.0
    columns = {"x": Column("window", torch.float32, (1,), padding=-7), "hour": Column("dense", torch.int64)}
    hours = torch.arange(len(stream))
    samples = [{"x": x, "hour": h} for x, h in zip(stream.split(lengths), hours.split(lengths), strict=True)]
    store = stored(samples, columns, where, Windows(lead, length, stride=1))
    first = data.draw(st.lists(st.integers(lead, len(stream) - 1), min_size=1, max_size=6))
    stops = [data.draw(st.integers(t + 1, len(stream))) for t in first]
    rows = store.gather(torch.tensor(first), stops=torch.tensor(stops))
    for k, (t, stop) in enumerate(zip(first, stops, strict=True)):
        there = stream[t - lead : min(t + length, stop)]
        assert rows.lengths["x"][k] == len(there)
        assert torch.equal(rows.dense("x")[k, : len(there)], there)
        assert bool((rows.dense("x")[k, len(there) :] == -7).all())
    assert rows.dense("x").shape == (len(first), lead + length, 1)
    assert rows.dense("hour").tolist() == first
    assert store.row_offsets is not None
    assert store.row_offsets.diff().tolist() == lengths
    store.close()


def test_a_window_before_the_streams_start_is_our_own_mistake() -> None:
    store = stored([{"x": torch.zeros(9)}], {"x": Column("window", torch.float32)}, windows=Windows(2, 3, 3))
    with pytest.raises(AssertionError):
        store.gather(torch.tensor([1]))


@pytest.mark.parametrize("where", PLACES)
def test_bytes_are_unpacked_in_threads_in_the_order_asked_for(where: str) -> None:
    threads: set[int] = set()

    class Slow(Plain):
        def unpack(self, column: str, data: bytes) -> Tensor:
            threads.add(threading.get_ident())
            time.sleep(0.01 * data[0])
            return super().unpack(column, data)

    samples: list[Sample] = [{"file": bytes([i, 2 * i, 3 * i] + [0] * i)} for i in range(5)]
    store = encode(Samples(samples), Slow({"file": Column("bytes", torch.uint8, (3,))}), where=where)  # type: ignore[arg-type]
    rows = store.gather(torch.tensor([4, 0, 3]))
    assert rows.dense("file").tolist() == [[4, 8, 12], [0, 0, 0], [3, 6, 9]]
    assert threading.get_ident() not in threads
    store.close()


def test_bytes_that_cannot_be_unpacked_name_their_record() -> None:
    class Broken(Plain):
        def unpack(self, column: str, data: bytes) -> Tensor:
            if data[0] == 2:
                raise OSError("truncated file")
            return super().unpack(column, data)

    samples: list[Sample] = [{"file": bytes([i, 0, 0])} for i in range(4)]
    store = encode(Samples(samples), Broken({"file": Column("bytes", torch.uint8, (3,))}))
    with pytest.raises(DataError, match=r"record 2, file: cannot be unpacked: truncated file"):
        store.gather(torch.arange(4))
    wrong = encode(Samples(samples), Plain({"file": Column("bytes", torch.uint8, (5,))}))
    with pytest.raises(DataError, match=r"record 1, file: .*\(3,\).*instead of.*\(5,\)"):
        wrong.gather(torch.tensor([1]))


def test_a_target_that_no_record_has_is_no_column() -> None:
    columns = {"x": Column("dense", torch.float32), "y": Column("dense", torch.int64, target=True)}
    store = stored([{"x": torch.tensor(1.0)}] * 3, columns)
    assert list(store.columns) == ["x"]
    assert list(store.gather(torch.tensor([0])).columns) == ["x"]


def test_a_store_on_a_device_gathers_what_one_in_memory_does() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "meta")
    if device.type == "meta":
        pytest.skip("no accelerator")
    windowed = stored(
        [{"x": torch.rand(30, 2)}], {"x": Column("window", torch.float32, (2,), padding=5)}, windows=Windows(2, 4, 4)
    )
    here = windowed.gather(torch.tensor([2, 28, 11]))
    there = windowed.on(device).gather(torch.tensor([2, 28, 11])).to(CPU)
    assert torch.equal(here.dense("x"), there.dense("x"))
    assert torch.equal(here.lengths["x"], there.lengths["x"])
    columns = {"r": Column("ragged", torch.int64), "d": Column("dense", torch.uint8, (3,))}
    mixed = stored([{"r": torch.arange(n), "d": torch.full((3,), n, dtype=torch.uint8)} for n in (4, 0, 2)], columns)
    here = mixed.gather(torch.tensor([2, 1, 0, 0]))
    there = mixed.on(device).gather(torch.tensor([2, 1, 0, 0]))
    assert there.ids.device.type == "cuda"
    assert torch.equal(here.ragged("r").values, there.ragged("r").values.cpu())
    assert torch.equal(here.dense("d"), there.dense("d").cpu())


def test_the_devices_index_arithmetic_agrees_with_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the code for devices on the CPU."""
    from trainwright.data import gather

    class Elsewhere(Tensor):
        is_cpu = False

    values = torch.rand(40, 3)
    far = values.as_subclass(Elsewhere)
    offsets = torch.tensor([0, 5, 5, 12, 40]).numpy()
    records = torch.tensor([3, 1, 0, 2]).numpy()
    a, b = take_ragged(values, offsets, records), take_ragged(far, offsets, records)
    assert torch.equal(a.values, b.values.as_subclass(Tensor))
    assert torch.equal(a.lengths, b.lengths)
    first, stops = torch.tensor([3, 37, 20]).numpy(), torch.tensor([40, 40, 22]).numpy()
    for lead, length in ((0, 4), (3, 5)):
        x, n = gather.take_windows(values, first, stops, Windows(lead, length, 1), -1.0)
        u, m = gather.take_windows(far, first, stops, Windows(lead, length, 1), -1.0)
        assert torch.equal(x, u.as_subclass(Tensor))
        assert torch.equal(n, m)
    assert torch.equal(gather.take(values, records), gather.take(far, records).as_subclass(Tensor))


def test_closing_removes_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = stored([{"x": torch.ones(4)}] * 10, {"x": Column("dense", torch.float32, (4,))}, "file")
    assert len(list(tmp_path.iterdir())) == 1
    assert store.nbytes == 160
    store.close()
    assert not list(tmp_path.iterdir())


def test_a_forgotten_store_removes_its_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = stored([{"x": torch.ones(4)}] * 10, {"x": Column("dense", torch.float32, (4,))}, "file")
    rows = store.gather(torch.tensor([9]))
    del store
    assert not list(tmp_path.iterdir())
    assert rows.dense("x").sum() == 4


def test_gathering_256_small_images_takes_well_under_a_millisecond() -> None:
    from trainwright.data.store import Kept

    values = torch.zeros(60_000, 28, 28, dtype=torch.uint8)
    store = Store({"x": Kept(Column("dense", torch.uint8, (28, 28)), values)}, 60_000)
    positions = torch.randperm(60_000)[:256]
    seconds = []
    for _ in range(50):
        began = time.thread_time()
        store.gather(positions)
        seconds.append(time.thread_time() - began)
    assert min(seconds) < 1e-3


def test_a_column_that_numpy_made_of_a_row_is_read_where_it_lies() -> None:
    """The numbers of its rows lie 0 apart, which torch refuses to view as bytes."""
    column = np.arange(5, dtype=np.float32)[:, None]
    there = torch.from_numpy(column)
    assert there.stride() == (1, 0)
    assert raw(there).tobytes() == column.tobytes()
    assert np.shares_memory(raw(there), column)
    assert take(there, np.array([3, 1])).tolist() == [[3.0], [1.0]]
