"""Batches of one length: little padding, each sample once, and resuming as if nothing had happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.counted import Noisy, ids_of, loader_of, part_of, taken
from trainwright.core.batch import Batch, Draw
from trainwright.core.rows import Column, Rows
from trainwright.core.task import Record, Sample


class Long(Noisy):
    """Record n has n % 17 + 1 rows of n; batches are of about one length."""

    bucketed = "x"

    def columns(self) -> Mapping[str, Column]:
        return {"x": Column("ragged", torch.float32)}

    def encode(self, record: Record) -> Sample:
        return {"x": torch.full((record["n"] % 17 + 1,), float(record["n"]))}

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        x = rows.ragged("x")
        return Batch({"x": x.padded(), "lengths": x.lengths}, {}, torch.tensor(float(len(rows))), rows.ids, len(rows))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 900), batch_size=st.integers(1, 17) | st.just("all"), seed=st.integers(0, 3))
def test_batches_of_one_length_still_see_each_sample_once(n: int, batch_size: Any, seed: int) -> None:
    loader = loader_of(part_of(n, Long()), batch_size, seed=seed)
    groups = [ids_of(next(loader)) for _ in range(loader.steps_per_epoch)]
    assert sorted(i for group in groups for i in group) == [*range(n)]
    assert {len(group) for group in groups[:-1]} <= {loader.batch_size}
    loader.close()


def test_batches_of_one_length_have_little_padding_and_come_in_a_new_order() -> None:
    part = part_of(1000, Long())
    bucketed = loader_of(part, 8)
    orders = [[ids_of(next(bucketed)) for _ in range(bucketed.steps_per_epoch)] for _ in range(2)]
    for order in orders:
        spans = [max(i % 17 for i in group) - min(i % 17 for i in group) for group in order]
        assert sum(spans) / len(spans) < 1
        lengths = torch.tensor([group[0] % 17 for group in order]).double()
        steps = torch.arange(len(order)).double()
        assert abs(float(torch.corrcoef(torch.stack([lengths, steps]))[0, 1])) < 0.3, "not from short to long"
    assert orders[0] != orders[1]
    bucketed.close()


@settings(max_examples=10, deadline=None)
@given(stop=st.integers(0, 11), rank=st.integers(0, 1))
def test_batches_of_one_length_go_on_as_if_nothing_had_happened(stop: int, rank: int) -> None:
    part = part_of(27, Long())
    straight = loader_of(part, 5, 2, rank=rank, world=2)
    wanted = taken(straight, 14)
    first, second = (loader_of(part, 5, 2, rank=rank, world=2) for _ in range(2))
    taken(first, stop)
    second.load_state_dict(first.state_dict())
    assert taken(second, 14 - stop) == wanted[stop:]
    for loader in (straight, first, second):
        loader.close()


def test_batches_of_one_length_depend_on_neither_ranks_nor_micro_batches() -> None:
    part = part_of(40, Long())
    whole = loader_of(part, 9, seed=5)
    ranks = [loader_of(part, 9, 2, seed=5, rank=r, world=3) for r in range(3)]
    for _ in range(2 * whole.steps_per_epoch):
        assert ids_of(next(whole)) == [i for r in ranks for i in ids_of(next(r))]
    for loader in (whole, *ranks):
        loader.close()


def test_without_shuffling_lengths_do_not_matter() -> None:
    loader = loader_of(part_of(40, Long()), 9, shuffle=False)
    assert ids_of(next(loader)) == [*range(9)]
    loader.close()
