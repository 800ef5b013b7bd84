from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from trainwright.core.finding import Finding
from trainwright.core.rows import Column, Ragged, Rows
from trainwright.data import look
from trainwright.data.copies import Copies, Overlap, copies, finding

quick = settings(max_examples=80, deadline=None)


class Shelf:
    """A store of the plainest kind: one tensor, or one list of tensors or bytes, per column."""

    def __init__(self, **columns: tuple[Column, Any]) -> None:
        self._columns = columns

    @property
    def columns(self) -> Mapping[str, Column]:
        return {n: c for n, (c, _) in self._columns.items()}

    def gather(self, positions: Tensor) -> Rows:
        out: dict[str, Tensor | Ragged] = {}
        for name, (column, values) in self._columns.items():
            if column.kind == "ragged":
                picked = [values[i] for i in positions.tolist()]
                out[name] = Ragged(torch.cat(picked), torch.tensor([len(p) for p in picked]))
            else:
                assert column.kind == "dense", "bytes are not to be unpacked"
                out[name] = values[positions]
        return Rows(out, positions)

    def raw(self, name: str, record: int) -> NDArray[np.uint8]:
        value = self._columns[name][1][record]
        return np.frombuffer(value if isinstance(value, bytes) else value.numpy().tobytes(), np.uint8)


def dense(values: Tensor, target: bool = False) -> tuple[Column, Tensor]:
    return Column("dense", values.dtype, tuple(values.shape[1:]), target=target), values


def parts(*sizes: int) -> dict[str, Tensor]:
    names = ["train", "valid", "test"]
    return dict(zip(names, torch.arange(sum(sizes)).split(list(sizes)), strict=False))


def only(found: Copies) -> Overlap:
    (overlap,) = found.overlaps
    return overlap


@quick
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)), min_size=12, max_size=60), st.data()
)
def test_copies_are_those_that_a_search_pair_by_pair_finds(
    rows: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    n = len(rows)
    table = torch.tensor(rows)
    store = Shelf(
        a=dense(table[:, 0].to(torch.float32)), b=dense(table[:, 1:2].to(torch.int8)), y=dense(table[:, 2], target=True)
    )
    order = torch.tensor(data.draw(st.permutations(range(n))))
    split = {"train": order[: n // 2], "valid": order[n // 2 : n // 2 + 3], "test": order[n // 2 + 3 :]}
    found = {(o.part, o.of): o for o in copies(store, split).overlaps}
    for part, of in (("valid", "train"), ("test", "train"), ("test", "valid")):
        first = {rows[i][:2]: i for i in reversed(split[of].tolist())}
        pairs = [(i, first[rows[i][:2]]) for i in split[part].tolist() if rows[i][:2] in first]
        assert ((part, of) in found) == bool(pairs)
        if pairs:
            overlap = found[part, of]
            assert overlap.copies == len(pairs)
            assert overlap.agreeing == sum(rows[i][2] == rows[j][2] for i, j in pairs)
            assert overlap.examples == tuple(pairs[:10])
            assert overlap.share == len(pairs) / len(split[part])
    train = [rows[i][:2] for i in split["train"].tolist()]
    assert copies(store, split).repeated == len(train) - len(set(train))


@quick
@given(st.lists(st.lists(st.integers(0, 1), max_size=3), min_size=6, max_size=40))
def test_sequences_are_compared_with_their_lengths(texts: list[list[int]]) -> None:
    column = Column("ragged", torch.int64)
    store = Shelf(t=(column, [torch.tensor(t, dtype=torch.int64) for t in texts]))
    n = len(texts) // 2
    known = {tuple(t) for t in texts[:n]}
    expected = sum(tuple(t) in known for t in texts[n:])
    assert sum(o.copies for o in copies(store, parts(n, len(texts) - n)).overlaps) == expected


def test_bits_decide_not_values() -> None:
    values = torch.tensor([0.0, float("nan"), 1.0, -0.0, float("nan"), 1.0])
    overlap = only(copies(Shelf(x=dense(values)), parts(3, 3)))
    assert overlap.examples == ((4, 1), (5, 2))


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int16, torch.bfloat16, torch.float16, torch.float64, torch.complex64]
)
def test_every_type_of_number_is_compared(dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 1, 1], [1, 1, 0]]).to(dtype)
    assert only(copies(Shelf(x=dense(values)), parts(2, 2))).examples == ((3, 1),)


def test_a_change_of_one_bit_anywhere_is_no_copy() -> None:
    base = torch.randint(0, 256, (1, 61), dtype=torch.uint8)
    flipped = base.repeat(61 * 8, 1)
    for i in range(61 * 8):
        flipped[i, i // 8] ^= 1 << i % 8
    everything = torch.cat([base, flipped, base])
    overlap = only(copies(Shelf(x=dense(everything)), parts(1, 61 * 8 + 1)))
    assert overlap.examples == ((61 * 8 + 1, 0),)
    assert len(np.unique(look.look(Shelf(x=dense(everything))).hashes(np.arange(61 * 8 + 1)))) == 61 * 8 + 1


def test_two_columns_that_change_places_are_no_copy() -> None:
    a, b = torch.tensor([1, 2]), torch.tensor([2, 1])
    assert not copies(Shelf(a=dense(a), b=dense(b)), parts(1, 1)).overlaps


def test_a_collision_of_hashes_is_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_mixed", lambda x: x * 0)
    store = Shelf(x=dense(torch.arange(10)))
    assert not copies(store, parts(5, 5)).overlaps


def test_files_are_compared_without_unpacking() -> None:
    files = [b"cat", b"dog", b"cat", b"", b"dog!"]
    store = Shelf(
        image=(Column("bytes", torch.uint8, (3, 8, 8)), files), y=dense(torch.tensor([0, 1, 1, 0, 1]), target=True)
    )
    overlap = only(copies(store, parts(2, 3)))
    assert (overlap.copies, overlap.agreeing, overlap.examples) == (1, 0, ((2, 0),))


def test_windows_are_never_compared() -> None:
    store = Shelf(x=(Column("window", torch.int64), torch.zeros(10)))
    assert copies(store, parts(5, 5)) == Copies((), 0, 5)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randint(0, 3, (200, 3), generator=torch.Generator().manual_seed(0))
    store = Shelf(x=dense(values), y=dense(values[:, 0] % 2, target=True))
    whole = copies(store, parts(100, 40, 60))
    monkeypatch.setattr(look, "_CHUNK", 7 * 32)
    assert copies(store, parts(100, 40, 60)) == whole
    assert len(whole.overlaps) == 3


def test_parts_may_be_missing() -> None:
    store = Shelf(x=dense(torch.zeros(4)))
    assert not copies(store, {"train": torch.arange(4)}).overlaps
    assert only(copies(store, {"train": torch.arange(2), "test": torch.arange(2, 4)})).of == "train"


def test_seventy_thousand_images_are_compared_at_once() -> None:
    images = torch.randint(0, 256, (70_000, 28, 28), dtype=torch.uint8)
    images[69_990:] = images[:10]
    store = Shelf(image=dense(images), label=dense(torch.zeros(70_000, dtype=torch.int64), target=True))
    overlap = only(copies(store, parts(54_000, 6_000, 10_000)))
    assert overlap.examples == tuple((69_990 + i, i) for i in range(10))


def found(copied: int, agreeing: int, size: int = 1000, repeated: int = 0) -> Finding | None:
    overlap = Overlap("test", "train", size, copied, agreeing, ((7, 3),) if copied else ())
    return finding(Copies((overlap,) if copied else (), repeated, 5000))


def test_no_copies_are_no_finding() -> None:
    assert found(0, 0) is None


@pytest.mark.parametrize(
    ("copied", "agreeing", "severity"),
    [(100, 100, "note"), (101, 101, "warning"), (5000, 100, "note"), (5000, 4000, "warning")],
)
def test_known_answers_above_one_percent_are_a_warning(copied: int, agreeing: int, severity: str) -> None:
    told = found(copied, agreeing, size=10_000)
    assert told is not None
    assert told.rule == "copies_across_parts"
    assert told.severity == severity
    assert told.where == "test"
    assert f"{copied} of 10000 samples of test" in told.what
    assert told.evidence["test/train/agreeing"] == agreeing
    assert "7 = 3" in told.why
    assert told.fixes


@pytest.mark.parametrize(("size", "copied"), [(15, 1), (30, 2), (100, 5), (1000, 15)])
def test_in_a_small_part_copies_below_its_own_luck_are_a_note(size: int, copied: int) -> None:
    few, more = found(copied, copied, size), found(copied + 1, copied + 1, size)
    assert few is not None
    assert more is not None
    assert (few.severity, more.severity) == ("note", "warning")


def test_the_worst_part_is_named() -> None:
    small = Overlap("valid", "train", 100, 50, 1, ((1, 2),))
    large = Overlap("test", "train", 100, 20, 20, ((3, 4),))
    told = finding(Copies((small, large), 0, 10))
    assert told is not None
    assert told.where == "test"
    assert told.evidence["valid/train/copies"] == 50


def test_repeats_within_train_bring_further_advice() -> None:
    alone, repeated = found(5, 5), found(5, 5, repeated=9)
    assert alone is not None
    assert repeated is not None
    assert len(repeated.fixes) == len(alone.fixes) + 1
    assert repeated.evidence["train/repeated"] == 9
