"""Data of the user's own making: what its batches mean, and how far it resumes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from trainwright.core.batch import Batch
from trainwright.core.errors import CheckpointError, DataError, UserError
from trainwright.data import foreign
from trainwright.data.foreign import ForeignLoader, loader_batches
from trainwright.data.foreign_batch import understood
from trainwright.data.foreign_dataset import DatasetLoader


class Augmented(Dataset[Any]):
    """Numbers with noise from all three global generators."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = torch.tensor([torch.rand(()).item(), random.random(), np.random.rand()])
        return torch.cat([torch.tensor([float(index)]), noise]), torch.tensor(index % 3)


class Streamed(IterableDataset[Any]):
    """Numbers that come one after the other, without a length."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.arange(self.n).float()


def globals_now() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]


def contents(group: list[Batch]) -> list[tuple[Any, ...]]:
    return [(b.size, float(b.weight), b.ids.tolist(), [x.tolist() for x in b.inputs.values()]) for b in group]


def pairs(n: int = 20, **options: Any) -> DataLoader[Any]:
    x = torch.arange(n).float()
    return DataLoader(TensorDataset(x.unsqueeze(1), x.long() % 2), batch_size=6, **options)


X, Y = torch.zeros(4, 3), torch.zeros(4)


@pytest.mark.parametrize(
    ("batch", "inputs", "targets"),
    [
        ((X, Y), ["x"], ["y"]),
        ([X, Y], ["x"], ["y"]),
        (((X, X), Y), ["x0", "x1"], ["y"]),
        ((X, (Y, Y)), ["x"], ["y0", "y1"]),
        (({"ids": X, "mask": X}, Y), ["ids", "mask"], ["y"]),
        ((X, {"boxes": Y, "kinds": Y}), ["x"], ["boxes", "kinds"]),
        ({"input_ids": X, "mask": X, "labels": Y}, ["input_ids", "mask"], ["y"]),
        ({"image": X, "target": Y}, ["image"], ["y"]),
        (X, ["x"], []),
        ([X], ["x"], []),
        ((np.zeros((4, 2)), Y), ["x"], ["y"]),
    ],
)
def test_a_batch_is_understood_as_a_person_would(batch: Any, inputs: list[str], targets: list[str]) -> None:
    x, y, n = understood(batch, None)
    assert (list(x), list(y), n) == (inputs, targets, 4)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((X, Y, Y), "it has 3 parts"),
        ({"a": X, "b": X}, r"which of its keys \(a, b\) is the target"),
        ({"label": Y, "target": Y, "a": X}, "is the target is not clear"),
        ((X, ["a", "b", "c", "d"]), "its part 'y0' is str, not a tensor"),
        (((X, (X, X)), Y), r"its part 'x1' is tuple of Tensor"),
        ((X, torch.zeros(5)), r"x \(4, 3\), y \(5,\)"),
        ((torch.tensor(1.0), Y), r"dim 0"),
        ((torch.zeros(0, 3), torch.zeros(0)), r"dim 0"),
        ("text", "its part 'x' is str"),
        (None, "its part 'x' is NoneType"),
        ({"labels": Y}, "dim 0"),
    ],
)
def test_what_cannot_be_understood_asks_for_unpack(batch: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        understood(batch, None)
    assert "unpack=" in str(caught.value)


def test_unpack_says_what_a_batch_means() -> None:
    x, y, n = understood((X, Y, Y), lambda batch: ((batch[0], batch[2]), batch[1]))
    assert (list(x), list(y), n) == (["x0", "x1"], ["y"], 4)
    assert understood((X, Y, Y), lambda batch: (batch[0], None))[1] == {}
    with pytest.raises(UserError, match=r"unpack: it returned Tensor; return \(inputs, targets\)"):
        understood((X, Y), lambda batch: batch[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_becomes_groups_of_one_batch(workers: int) -> None:
    loader = ForeignLoader(pairs(num_workers=workers))
    assert loader.steps_per_epoch == 4
    assert loader.exact
    seen, sizes = [], []
    for step in range(4):
        assert (loader.epoch, loader.index) == (0, step)
        (batch,) = next(loader)
        seen += batch.inputs["x"][:, 0].tolist()
        assert batch.ids.tolist() == batch.inputs["x"][:, 0].long().tolist(), "running numbers"
        assert list(batch.targets) == ["y"]
        assert float(batch.weight) == batch.size
        sizes.append(batch.size)
    assert seen == [*range(20)]
    assert sizes == [6, 6, 6, 2]
    assert loader.state_dict() == {"epoch": 1, "index": 0, "generators": []}
    assert next(loader)[0].ids[0] == 0
    loader.close()


def test_the_weight_is_the_criterions() -> None:
    def positive(targets: Mapping[str, Tensor]) -> Tensor:
        return targets["y"].sum().float()

    for batch in loader_batches(pairs(), weigh=positive):
        assert float(batch.weight) == float(batch.targets["y"].sum())


@pytest.mark.parametrize("micro", [1, 2, "all"])
@pytest.mark.parametrize("world", [1, 2, 5, 8])
def test_ranks_and_micro_batches_share_each_batch(world: int, micro: Any) -> None:
    whole = ForeignLoader(pairs(shuffle=True), seed=3)
    ranks = [ForeignLoader(pairs(shuffle=True), micro=micro, rank=r, world=world, seed=3) for r in range(world)]
    for _ in range(8):
        (batch,) = next(whole)
        groups = [next(r) for r in ranks]
        assert len({len(g) for g in groups}) == 1
        pieces = [b for g in groups for b in g]
        real = [b for b in pieces if b.size]
        assert torch.equal(torch.cat([b.inputs["x"] for b in real]), batch.inputs["x"])
        assert torch.equal(torch.cat([b.ids for b in real]), batch.ids)
        assert sum(float(b.weight) for b in pieces) == batch.size
        assert all(len(b.ids) for b in pieces)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_foreign_loader_leaves_the_runs_randomness_alone_and_has_its_own(workers: int) -> None:
    def run(stir: int) -> list[Any]:
        torch.manual_seed(stir)
        source = DataLoader(Augmented(20), batch_size=6, shuffle=True, num_workers=workers)
        loader = ForeignLoader(source, seed=1)
        before = globals_now()
        out = [contents(next(loader)) for _ in range(8)]
        assert globals_now() == before
        loader.close()
        return out

    first = run(0)
    assert first == run(1)
    assert first[:4] != first[4:]


def own(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


LOADERS: dict[str, Callable[[], DataLoader[Any]]] = {
    "in order": pairs,
    "shuffled by the globals": lambda: pairs(shuffle=True),
    "shuffled by a generator": lambda: pairs(shuffle=True, generator=own(5)),
    "drawn by a sampler": lambda: pairs(sampler=WeightedRandomSampler([1.0, 2.0] * 10, 20, generator=own(5))),
    "batched by a sampler": lambda: DataLoader(
        TensorDataset(torch.arange(20.0)),
        batch_sampler=BatchSampler(SubsetRandomSampler(range(20), generator=own(5)), 6, drop_last=False),
    ),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_foreign_loader_resumes_where_it_was(kind: str) -> None:
    make = LOADERS[kind]
    straight = ForeignLoader(make(), seed=1)
    assert straight.exact
    wanted = [contents(next(straight)) for _ in range(10)]
    assert kind == "in order" or wanted[:4] != wanted[4:8]
    for stop in range(9):
        first = ForeignLoader(make(), seed=1)
        for _ in range(stop):
            next(first)
        second = ForeignLoader(make(), seed=1)
        second.load_state_dict(first.state_dict())
        assert [contents(next(second)) for _ in range(10 - stop)] == wanted[stop:]


class Odd(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(1, 20, 2))

    def __len__(self) -> int:
        return 10


@pytest.mark.parametrize(
    ("loader", "why"),
    [
        (DataLoader(Streamed(10), batch_size=4), "an IterableDataset has"),
        (pairs(num_workers=1, persistent_workers=True), "persistent_workers keep"),
        (pairs(sampler=Odd()), "a Odd has an order of its own"),
        (DataLoader(Augmented(20), batch_sampler=BatchSampler(Odd(), 5, False)), "a Odd has an order of its own"),
    ],
)
def test_a_loader_whose_order_is_out_of_reach_says_why(loader: DataLoader[Any], why: str) -> None:
    found = ForeignLoader(loader)
    assert not found.exact
    assert found.why.startswith(why)


def test_evaluating_by_a_generator_of_its_own_is_the_same_each_time_and_moves_nothing() -> None:
    loader = pairs(shuffle=True, generator=own(5))
    first, again = ([contents([b]) for b in loader_batches(loader)] for _ in range(2))
    assert first == again
    assert isinstance(loader.generator, torch.Generator)
    assert torch.equal(loader.generator.get_state(), own(5).get_state())


def test_a_loader_that_got_other_generators_is_refused() -> None:
    state = ForeignLoader(LOADERS["shuffled by a generator"]()).state_dict()
    with pytest.raises(CheckpointError, match="had 1 generators of its own, now it has 0"):
        ForeignLoader(pairs()).load_state_dict(state)


def test_a_resumed_loader_that_became_shorter_is_refused() -> None:
    loader = ForeignLoader(pairs(6))
    loader.load_state_dict({"epoch": 0, "index": 3, "generators": []})
    with pytest.raises(CheckpointError, match="after batch 3 of an epoch, but the DataLoader now ends after 1"):
        next(loader)


def test_a_loader_without_a_length_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = ForeignLoader(DataLoader(Streamed(10), batch_size=4))
    assert loader.steps_per_epoch == 3
    assert [len(next(loader)[0].ids) for _ in range(4)] == [4, 4, 2, 4]
    assert loader.epoch == 1
    monkeypatch.setattr(foreign, "_PATIENCE", 0.0)
    with pytest.raises(UserError, match=r"has no length.*give its dataset a __len__"):
        _ = ForeignLoader(DataLoader(Streamed(10), batch_size=4)).steps_per_epoch


def test_an_epoch_ends_where_the_loader_does_whatever_it_promised() -> None:
    class Boastful(Streamed):
        def __len__(self) -> int:
            return 100

    loader = ForeignLoader(DataLoader(Boastful(10), batch_size=5))
    assert loader.steps_per_epoch == 20
    next(loader), next(loader)
    assert (loader.epoch, loader.index) == (1, 0)


def test_a_list_of_batches_will_do_and_a_generator_will_not() -> None:
    assert ForeignLoader([(X, Y), (X, Y)]).steps_per_epoch == 2
    with pytest.raises(UserError, match="can be gone through only once"):
        ForeignLoader(iter([(X, Y)]))
    with pytest.raises(DataError, match="gave no batch"):
        next(ForeignLoader([]))


def test_a_loader_already_cut_for_ranks_is_refused() -> None:
    data = TensorDataset(X)
    cut: DataLoader[Any] = DataLoader(data, sampler=DistributedSampler(data, num_replicas=2, rank=0))
    with pytest.raises(UserError, match="already cut for ranks"):
        ForeignLoader(cut, rank=0, world=2)


def test_a_mistake_in_the_users_data_surfaces_each_time() -> None:
    class Faulty(Augmented):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            if index == 7:
                raise OSError("no such image")
            return super().__getitem__(index)

    for make in (
        lambda: ForeignLoader(DataLoader(Faulty(20), batch_size=5)),
        lambda: DatasetLoader(Faulty(20), batch_size=5, shuffle=False),
    ):
        loader: Any = make()
        for _ in range(2):
            with pytest.raises(OSError, match="no such image"):
                list(islice(loader, 3))


@pytest.mark.parametrize("world", [1, 3])
def test_evaluation_of_a_dataloader_sees_each_sample_once(world: int) -> None:
    ranks = [[*loader_batches(pairs(), rank=r, world=world)] for r in range(world)]
    assert {len(r) for r in ranks} == {4}
    seen = [b.ids.tolist() for r in ranks for b in r if b.size]
    assert sorted(i for ids in seen for i in ids) == [*range(20)]
