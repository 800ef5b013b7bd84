"""Parts: which samples are in them, and how a stream is cut into windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Encoded, Rows, Windows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.encode import encode
from trainwright.data.part import Part
from trainwright.data.source import Source


class Stretches(Source):
    """Records of so many rows each."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Record:
        start = sum(self.lengths[:index])
        return {"rows": torch.arange(start, start + self.lengths[index])}

    def fingerprint(self) -> str:
        return str(self.lengths)


class Stream(Processor):
    """Row numbers as one stream, or each record's first row number."""

    def __init__(self, windows: Windows | None) -> None:
        self.windows = windows

    def fit(self, records: Iterable[Record]) -> None: ...

    def columns(self) -> Mapping[str, Column]:
        return {"x": Column("dense" if self.windows is None else "window", torch.int64, padding=-1)}

    def encode(self, record: Record) -> Sample:
        return {"x": record["rows"][0] if self.windows is None else record["rows"]}

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        raise NotImplementedError

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, JSON]:
        return {}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None: ...


def part_of(lengths: Sequence[int], ids: Sequence[int], windows: Windows | None) -> Part:
    processor = Stream(windows)
    store = encode(Stretches(lengths), processor, workers=0)
    return Part(store, torch.tensor(ids, dtype=torch.int64), windows, processor, name="train")


def targets(rows: Rows, windows: Windows) -> list[int]:
    """Every target row of some windows, as often as it is there."""
    x = rows.dense("x")[:, windows.lead :]
    return x[x >= 0].tolist()


def everything(part: Part) -> Rows:
    return part.rows(0, len(part))


def test_without_windows_samples_are_records_in_the_order_given() -> None:
    part = part_of([1] * 6, [4, 1, 3], None)
    assert len(part) == 3
    assert part.positions(seed=1, epoch=7).tolist() == [4, 1, 3]
    assert part.rows(1, 3).dense("x").tolist() == [1, 3]
    assert part.records(part.positions()).tolist() == [4, 1, 3]
    encoded: Encoded = part
    assert len(encoded.rows(0, 2)) == 2


record_lengths = st.lists(st.integers(0, 6), min_size=3, max_size=12)


@settings(max_examples=150, deadline=None)
@given(lengths=record_lengths, lead=st.integers(0, 4), length=st.integers(1, 7), data=st.data())
def test_every_target_row_is_counted_exactly_once_when_windows_touch(
    lengths: list[int], lead: int, length: int, data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(lengths) - 1))
    end = data.draw(st.integers(begin + 1, len(lengths)))
    first, last = sum(lengths[:begin]), sum(lengths[:end])
    windows = Windows(lead, length, stride=length, partial=True)
    wanted = [*range(max(first, lead), last)]
    if not wanted:
        with pytest.raises(DataError, match=r"train: 0 rows are too few"):
            part_of(lengths, range(begin, end), windows)
        return
    rows = everything(part_of(lengths, range(begin, end), windows))
    assert sorted(targets(rows, windows)) == wanted
    assert bool((rows.dense("x") < last).all()), "no row of a later part"
    context = rows.dense("x")[:, :lead]
    assert torch.equal(context, rows.ids[:, None] - lead + torch.arange(lead)), "context is the rows just before"


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 40), lead=st.integers(0, 3), length=st.integers(1, 9), stride=st.integers(1, 12), data=st.data()
)
def test_windows_begin_a_stride_apart_and_only_the_last_may_be_short(
    rows: int, lead: int, length: int, stride: int, data: st.DataObject
) -> None:
    partial, shift = data.draw(st.booleans()), data.draw(st.booleans())
    windows = Windows(lead, length, stride, partial=partial, shift=shift)
    room = rows - lead
    if room < (1 if partial else length):
        with pytest.raises(DataError, match="too few for one window"):
            part_of([rows], [0], windows)
        return
    part = part_of([rows], [0], windows)
    found = everything(part)
    assert found.ids.tolist() == [lead + k * stride for k in range(len(part))]
    whole = found.lengths["x"] == lead + length
    assert bool(whole.all() if not partial else whole[:-1].all())
    ends = (found.ids + length).tolist()
    if partial:
        assert all(end < rows for end in ends[:-1]), "one window reaches the end, not several"
        assert ends[-1] >= rows or int(found.ids[-1]) + stride >= rows
    else:
        assert ends[-1] + stride > rows, "no room for one more"
    epochs = [part.positions(seed=3, epoch=e) for e in range(30)]
    assert len({len(p) for p in epochs}) == 1, "as many windows each epoch"
    for positions in epochs:
        assert bool((positions.diff() == stride).all())
        assert lead <= int(positions[0]) < lead + stride
        got = part.gather(positions)
        assert bool((got.lengths["x"] > lead).all())
        assert partial or bool((got.lengths["x"] == lead + length).all())
    if not shift:
        assert all(torch.equal(p, part.positions()) for p in epochs)


def test_shifted_windows_differ_each_epoch_and_reach_every_row_equally_often() -> None:
    windows = Windows(lead=1, length=5, stride=5, shift=True)
    part = part_of([103], [0], windows)
    starts = Counter(int(part.positions(seed=0, epoch=e)[0]) for e in range(1000))
    assert set(starts) == {1, 2, 3, 4, 5}
    assert min(starts.values()) > 140
    assert torch.equal(part.positions(seed=9, epoch=4), part.positions(seed=9, epoch=4))
    assert int(part.positions()[0]) == 1, "evaluation does not shift"
    assert len(part.positions(0, 0)) >= len(part) - 1


def test_a_part_of_several_stretches_has_no_window_across_a_gap() -> None:
    """As the training part of a fold: what lies between belongs to another part."""
    windows = Windows(lead=2, length=4, stride=4, partial=True)
    part = part_of([10, 10, 10, 10], [0, 1, 3], windows)
    rows = everything(part)
    assert sorted(targets(rows, windows)) == [*range(2, 20), *range(30, 40)]
    ends = rows.ids + rows.lengths["x"] - windows.lead
    assert not bool(((rows.ids < 20) & (ends > 20)).any())
    assert part.records(torch.tensor([2, 19, 30])).tolist() == [0, 1, 3]


def test_an_empty_record_between_two_stretches_parts_them_still() -> None:
    windows = Windows(lead=1, length=4, stride=4, partial=True)
    rows = everything(part_of([10, 0, 10], [0, 2], windows))
    assert sorted(targets(rows, windows)) == [*range(1, 20)]
    assert rows.ids.tolist() == [1, 5, 9, 10, 14, 18]
    assert rows.lengths["x"].tolist() == [5, 5, 2, 5, 5, 3]


def test_context_may_come_from_the_part_before_and_not_from_the_one_behind() -> None:
    windows = Windows(lead=3, length=4, stride=4, partial=True)
    rows = everything(part_of([10, 6, 10], [1], windows))
    assert rows.dense("x").tolist() == [[7, 8, 9, 10, 11, 12, 13], [11, 12, 13, 14, 15, -1, -1]]


def test_a_part_without_samples_is_refused_with_what_it_needs() -> None:
    with pytest.raises(DataError, match="train: this part is empty"):
        part_of([1, 1], [], None)
    with pytest.raises(DataError, match=r"train: 3 rows are too few for one window of 4 rows; give it at least 4 rows"):
        part_of([10, 3], [1], Windows(lead=2, length=4, stride=4))
    with pytest.raises(DataError, match=r"after the first 8 rows of the stream"):
        part_of([10, 3], [0], Windows(lead=8, length=4, stride=4))


def test_the_records_of_a_stream_must_stay_in_order() -> None:
    with pytest.raises(DataError, match=r"must stay in order; split it by ranges"):
        part_of([5, 5, 5], [2, 0, 1], Windows(1, 2, 2))


@pytest.mark.parametrize("windows", [None, Windows(lead=1, length=2, stride=1, partial=True)])
def test_chosen_samples_are_those_of_their_numbers_in_the_order_asked(windows: Windows | None) -> None:
    part = part_of([3, 1, 2, 4], [0, 2, 3], windows)
    numbers = [len(part) - 1, 0, 1]
    got = part.chosen(torch.tensor(numbers))
    singles = [part.rows(i, i + 1) for i in numbers]
    assert got.ids.tolist() == [int(one.ids) for one in singles]
    name = next(iter(got.columns))
    assert torch.equal(got.dense(name), torch.cat([one.dense(name) for one in singles]))


def test_rows_are_on_the_cpu_and_as_many_as_asked_for() -> None:
    part = part_of([50], [0], Windows(1, 4, 4))
    rows = part.rows(2, 5)
    assert len(rows) == 3
    assert isinstance(rows.dense("x"), Tensor)
    assert rows.ids.device.type == "cpu"
