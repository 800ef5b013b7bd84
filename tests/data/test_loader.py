"""The loader: a step's samples depend on (seed, epoch) alone, and resuming is as if nothing had happened."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.counted import Noisy, contents, ids_of, loader_of, part_of, taken
from trainwright.core.errors import CheckpointError, DataError
from trainwright.core.rows import Windows
from trainwright.data.loader import Loader, _Ahead, batches, shares
from trainwright.data.part import Part


def threads() -> set[threading.Thread]:
    """Those that gather ahead; loaders that other tests left behind may end theirs at any time."""
    return {t for t in threading.enumerate() if t.name.startswith("ahead")}


@settings(max_examples=200, deadline=None)
@given(count=st.integers(0, 50), world=st.integers(1, 7), micro=st.integers(1, 12) | st.just("all"))
def test_shares_cover_all_samples_once_and_are_as_even_as_can_be(count: int, world: int, micro: Any) -> None:
    cuts = [shares(count, rank, world, micro) for rank in range(world)]
    assert len({len(c) for c in cuts}) == 1, "as many micro-batches on each rank"
    assert [i for c in cuts for a, b in c for i in range(a, b)] == [*range(count)]
    sizes = [sum(b - a for a, b in c) for c in cuts]
    assert max(sizes) - min(sizes) <= 1
    largest = max(sizes)
    wanted = 1 if micro == "all" or not count else -(-largest // micro)
    assert len(cuts[0]) == wanted
    for rank_cuts in cuts:
        each = [b - a for a, b in rank_cuts]
        assert max(each) - min(each) <= 1
        assert micro == "all" or max(each) <= micro


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 17) | st.just("all"),
    world=st.integers(1, 5),
    micro=st.integers(1, 9) | st.just("all"),
    companions=st.integers(0, 2),
)
def test_the_samples_of_a_step_depend_on_neither_ranks_nor_micro_batches(
    n: int, batch_size: Any, world: int, micro: Any, companions: int
) -> None:
    part = part_of(n, Noisy(companions))
    whole = loader_of(part, batch_size, seed=5)
    ranks = [loader_of(part, batch_size, micro, seed=5, rank=r, world=world) for r in range(world)]
    assert {r.steps_per_epoch for r in ranks} == {whole.steps_per_epoch}
    for _ in range(whole.steps_per_epoch + 1):
        (batch,) = next(whole)
        groups = [next(r) for r in ranks]
        assert len({len(g) for g in groups}) == 1
        pieces = [b for g in groups for b in g]
        real = [b for b in pieces if b.size]
        assert torch.equal(torch.cat([b.ids for b in real]), batch.ids)
        for name, values in batch.inputs.items():
            assert torch.equal(torch.cat([b.inputs[name] for b in real]), values), "augmentation and companions too"
        assert sum(float(b.weight) for b in pieces) == float(batch.weight)
        for filler in (b for b in pieces if not b.size):
            assert float(filler.weight) == 0
            assert 0 < len(filler.ids) == len(filler.inputs["x"])
    for loader in (whole, *ranks):
        loader.close()


def test_an_epoch_sees_each_sample_once_in_a_new_order_and_keeps_the_last_smaller_batch() -> None:
    loader = loader_of(part_of(25), 7)
    assert loader.steps_per_epoch == 4
    orders = []
    for epoch in range(3):
        sizes, seen = [], []
        for _ in range(4):
            assert loader.epoch == epoch
            group = next(loader)
            sizes.append(sum(b.size for b in group))
            seen += ids_of(group)
        assert sizes == [7, 7, 7, 4]
        assert sorted(seen) == [*range(25)]
        orders.append(seen)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] != [*range(25)]
    loader.close()


def test_without_shuffling_the_order_is_the_parts() -> None:
    loader = loader_of(part_of(9, ids=torch.tensor([8, 2, 5, 1])), 3, shuffle=False)
    assert [ids_of(next(loader)) for _ in range(4)] == [[8, 2, 5], [1], [8, 2, 5], [1]]
    loader.close()


def test_all_is_one_step_an_epoch() -> None:
    loader = loader_of(part_of(11), "all", 4)
    assert loader.steps_per_epoch == 1
    assert [b.size for b in next(loader)] == [4, 4, 3]
    assert loader.epoch == 1
    loader.close()


@settings(max_examples=20, deadline=None)
@given(stop=st.integers(0, 11), windowed=st.booleans(), rank=st.integers(0, 1))
def test_a_resumed_loader_goes_on_as_if_nothing_had_happened(stop: int, windowed: bool, rank: int) -> None:
    windows = Windows(1, 3, 2, partial=True, shift=True) if windowed else None
    part = part_of(27, Noisy(companions=1, windows=windows))
    straight = loader_of(part, 5, 2, rank=rank, world=2)
    wanted = taken(straight, 14)
    first = loader_of(part, 5, 2, rank=rank, world=2)
    taken(first, stop)
    state = first.state_dict()
    assert set(state) == {"epoch", "index"}
    first.close()
    second = loader_of(part, 5, 2, rank=rank, world=2)
    taken(second, 3)
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert taken(second, 14 - stop) == wanted[stop:]
    for loader in (straight, second):
        loader.close()


def test_reading_ahead_changes_neither_results_nor_the_position() -> None:
    part = part_of(20, Noisy(file=True))
    ahead, plain = loader_of(part), loader_of(part)
    plain._ahead._thread = None  # as for a store in memory
    for step in range(7):
        assert ahead.state_dict() == plain.state_dict() == {"epoch": step // 3, "index": step % 3}
        assert contents(next(ahead)) == contents(next(plain))
        time.sleep(0.001)
    ahead.close()


def test_without_a_thread_nothing_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of(20, Noisy(file=True))
    next(loader_of(part))  # begins the threads that unpack
    loader, plain = loader_of(part), loader_of(part)
    plain._ahead._thread = None

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    for _ in range(7):
        assert contents(next(loader)) == contents(next(plain))
    loader.close()


def test_a_position_that_the_data_does_not_have_is_refused() -> None:
    loader = loader_of(part_of(20))
    with pytest.raises(CheckpointError, match="step 3 of an epoch, but the data now gives 3 steps"):
        loader.load_state_dict({"epoch": 0, "index": 3})
    loader.close()


def test_an_exception_while_reading_ahead_surfaces_in_next_and_again() -> None:
    processor = Noisy(file=True)
    loader = loader_of(part_of(20, processor), shuffle=False)
    next(loader)

    def fail() -> None:
        raise OSError("disk gone")

    time.sleep(0.05)  # the next group is read
    processor.before = fail
    next(loader)
    position = loader.state_dict()
    for _ in range(2):
        with pytest.raises(DataError, match=r"record 14, x: .*disk gone"):
            next(loader)
        assert loader.state_dict() == position
    processor.before = lambda: None
    assert ids_of(next(loader)) == [*range(14, 20)]
    loader.close()


def test_closing_ends_the_thread() -> None:
    before = threads()
    loader = loader_of(part_of(20, Noisy(file=True)))
    next(loader)
    own = threads() - before
    assert len(own) == 1
    loader.close()
    assert not own & threads()


def test_what_lies_in_memory_is_gathered_where_it_is_needed() -> None:
    before = threads()
    loader = loader_of(part_of(20))
    plain = [contents(next(loader)) for _ in range(6)]
    assert not threads() - before
    loader.close()
    ahead = loader_of(part_of(20))
    ahead._ahead = _Ahead(ahead._gathered, patience=0.0)
    assert [contents(next(ahead)) for _ in range(6)] == plain
    assert len(threads() - before) == 1
    ahead.close()


def test_small_batches_that_are_picked_together_lie_as_one_alone_does_wherever_a_run_goes_on() -> None:
    def handed_out(loader: Loader, many: int) -> list[tuple[list[float], int]]:
        found = [next(loader)[0].inputs["x"] for _ in range(many)]
        return [(x.tolist(), x.data_ptr() % 64) for x in found]

    part = part_of(100)
    one = handed_out(loader_of(part, 16), 20)  # a batch of 16 numbers is a cache line, the last of an epoch has 4
    assert {place for _, place in one} == {0}
    loader = loader_of(part, 16)
    picked = [int(i) for x, _ in one[:7] for i in x]
    assert sorted(picked) == [*range(100)]
    for index, waiting in ((3, 2), (6, 0), (0, 5)):
        loader.load_state_dict({"epoch": 1, "index": index})
        assert handed_out(loader, 1) == one[7 + index : 8 + index]
        assert len(loader._near) == waiting
        assert handed_out(loader, 4) == one[8 + index : 12 + index]
    uneven = loader_of(part, 15)
    next(uneven)
    assert not uneven._near


def test_work_is_done_ahead_only_where_it_took_long_twice() -> None:
    asked: list[tuple[int, bool]] = []
    now = [0.0]

    def work(key: int, thread: bool) -> int:
        asked.append((key, thread))
        now[0] += (0.0, 3.0, 0.0, 3.0, 3.0, 3.0)[key]
        return key

    ahead = _Ahead(work, patience=2.0, clock=lambda: now[0])
    for key in range(6):
        assert ahead.take(key) == key
        ahead.begin(key + 1) if key < 5 else ahead.close()
    assert asked == [(0, False), (1, False), (2, False), (3, False), (4, False), (5, True)]


def test_time_spent_waiting_is_counted_and_reading_ahead_saves_it() -> None:
    processor = Noisy(file=True)
    part = part_of(16, processor)
    read = threading.Semaphore(0)

    def slowly() -> None:
        time.sleep(0.1)
        read.release()

    processor.before = slowly
    loader = loader_of(part, 8)
    next(loader)
    waited = loader.waited
    assert waited > 0.1
    for _ in range(16):  # a training so long that the next group is read as well
        read.acquire()
    next(loader)
    assert loader.waited - waited < waited / 2
    loader.close()


def test_companions_depend_on_the_sample_and_the_epoch_alone() -> None:
    part = part_of(200, Noisy(companions=2))

    def companions(seed: int, batch_size: int, epoch: int) -> dict[int, tuple[float, float]]:
        loader = loader_of(part, batch_size, seed=seed)
        loader.load_state_dict({"epoch": epoch, "index": 0})
        out: dict[int, tuple[float, float]] = {}
        for _ in range(loader.steps_per_epoch):
            for batch in next(loader):
                pairs = zip(batch.inputs["companion0"].tolist(), batch.inputs["companion1"].tolist(), strict=True)
                out |= dict(zip(batch.ids.tolist(), pairs, strict=True))
        loader.close()
        return out

    first = companions(1, 7, 0)
    assert first == companions(1, 64, 0)
    assert first != companions(1, 7, 1)
    assert first != companions(2, 7, 0)
    drawn = [c for pair in first.values() for c in pair]
    assert len(set(drawn)) > 100, "from the whole part"
    assert sum(a == b for a, b in first.values()) < 10


def test_companions_come_from_the_same_part() -> None:
    mine = torch.arange(0, 60, 3)
    loader = loader_of(part_of(60, Noisy(companions=1), mine), 20)
    (batch,) = next(loader)
    assert set(batch.inputs["companion0"].tolist()) <= set(mine.tolist())
    loader.close()


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 30),
    world=st.integers(1, 6),
    batch_size=st.integers(1, 13) | st.just("all"),
    windowed=st.booleans(),
)
def test_evaluation_sees_each_sample_once_in_order_and_ranks_equally_often(
    n: int, world: int, batch_size: Any, windowed: bool
) -> None:
    processor = Noisy(companions=1, windows=Windows(0, 3, 3, partial=True, shift=True) if windowed else None)
    part = part_of(n, processor)
    ranks = [[*batches(part, processor, batch_size=batch_size, rank=r, world=world)] for r in range(world)]
    assert len({len(r) for r in ranks}) == 1
    real = [b for r in ranks for b in r if b.size]
    assert torch.equal(torch.cat([b.ids for b in real]), part.positions())
    assert all("noise" not in b.inputs for b in real)
    assert all(float(b.weight) == 0 and len(b.ids) for r in ranks for b in r if not b.size)
    assert batch_size == "all" or all(b.size <= batch_size for b in real)


def test_an_evaluation_left_early_ends_its_thread() -> None:
    part = part_of(30, Noisy(file=True))
    before = threads()
    passing = batches(part, part.processor, batch_size=4)
    next(passing)
    own = threads() - before
    assert len(own) == 1
    passing.close()  # type: ignore[attr-defined]
    assert not own & threads()


@pytest.mark.gpu
def test_batches_are_on_the_device_and_the_same() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    part = part_of(100, Noisy(companions=1))
    device = torch.device("cuda")
    stores = [part, Part(part.store.on(device), part.ids, None, part.processor)]
    here = loader_of(part_of(100, Noisy(companions=1)), 32)
    wanted = taken(here, 6)
    here.close()
    for each in stores[1:]:
        loader = Loader(each, each.processor, batch_size=32, device=device)
        assert taken(loader, 6) == wanted
        loader.close()
    fresh = part_of(100, Noisy(companions=1))
    loader = Loader(fresh, fresh.processor, batch_size=32, device=device)
    group = next(loader)
    assert group[0].device.type == "cuda"
    assert [contents(group), *taken(loader, 5)] == wanted
    loader.close()
