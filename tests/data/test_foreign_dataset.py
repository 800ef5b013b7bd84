"""A dataset of the user's own: its items in batches of ours, the same whatever the workers, ranks and micro-batches."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from tests.data.test_foreign import Augmented, Streamed, contents, globals_now
from trainwright.core.errors import CheckpointError, DataError, UserError
from trainwright.data.foreign_dataset import DatasetLoader, dataset_batches, tensors_of


def test_a_dataset_in_memory_gives_its_tensors() -> None:
    x, y = torch.arange(10), torch.arange(10) * 2
    data = TensorDataset(x, y)
    assert tensors_of(data) == (x, y)
    half = tensors_of(Subset(Subset(data, [9, 3, 4, 1]), [1, 0]))
    assert half is not None
    assert [t.tolist() for t in half] == [[3, 9], [6, 18]]
    assert tensors_of(Augmented(3)) is None
    assert tensors_of(Subset(Augmented(3), [0])) is None


def test_a_dataset_resumes_exactly_whatever_the_workers() -> None:
    def loader(workers: int) -> DatasetLoader:
        return DatasetLoader(Augmented(23), batch_size=8, micro=3, seed=4, workers=workers)

    straight = loader(0)
    assert straight.exact
    wanted = [contents(next(straight)) for _ in range(8)]
    assert wanted[:3] != wanted[3:6]
    for workers, stop in ((0, 2), (1, 3), (3, 5)):
        first = loader(workers)
        before = globals_now()
        assert [contents(next(first)) for _ in range(stop)] == wanted[:stop]
        assert globals_now() == before, "the run's randomness is not touched"
        second = loader(3 - workers)
        second.load_state_dict(first.state_dict())
        assert [contents(next(second)) for _ in range(8 - stop)] == wanted[stop:]
        first.close()
        second.close()


@pytest.mark.parametrize("world", [2, 5])
def test_the_items_of_a_step_depend_on_neither_ranks_nor_micro_batches(world: int) -> None:
    whole = DatasetLoader(Augmented(19), batch_size=6)
    ranks = [DatasetLoader(Augmented(19), batch_size=6, micro=2, rank=r, world=world) for r in range(world)]
    for _ in range(6):
        (batch,) = next(whole)
        groups = [next(r) for r in ranks]
        assert len({len(g) for g in groups}) == 1
        real = [b for g in groups for b in g if b.size]
        assert torch.equal(torch.cat([b.inputs["x"] for b in real]), batch.inputs["x"])
        assert torch.equal(torch.cat([b.ids for b in real]), batch.ids)


def test_evaluation_of_a_dataset_is_the_same_each_time_and_in_order() -> None:
    def seen(world: int, workers: int) -> Tensor:
        ranks = [
            [*dataset_batches(Augmented(11), batch_size=3, rank=r, world=world, workers=workers)] for r in range(world)
        ]
        assert len({len(r) for r in ranks}) == 1
        return torch.cat([b.inputs["x"] for r in ranks for b in r if b.size])

    assert seen(1, 0)[:, 0].tolist() == [*range(11)]
    assert torch.equal(seen(1, 0), seen(2, 0))
    assert torch.equal(seen(1, 0), seen(1, 2))
    assert len([*dataset_batches(Augmented(2), batch_size=3, rank=4, world=5)]) == 1, "one rank with nothing left"


def test_a_dataset_without_items_by_number_is_refused() -> None:
    with pytest.raises(UserError, match="has no items by number; wrap it in a torch DataLoader"):
        DatasetLoader(Streamed(3), batch_size=2)
    with pytest.raises(DataError, match="is empty"):
        DatasetLoader(Augmented(0), batch_size=2)
    with pytest.raises(CheckpointError, match="now gives 2 steps"):
        DatasetLoader(Augmented(4), batch_size=2).load_state_dict({"epoch": 0, "index": 2})


def test_a_collate_of_the_users_is_used_and_must_keep_the_samples() -> None:
    def padded(items: list[Any]) -> tuple[Tensor, Tensor]:
        assert random.random() >= 0
        return torch.stack([x for x, _ in items]).double(), torch.stack([y for _, y in items])

    before = globals_now()
    (batch,) = next(DatasetLoader(Augmented(4), batch_size=4, collate=padded))
    assert batch.inputs["x"].dtype == torch.float64
    assert globals_now() == before
    with pytest.raises(UserError, match="4 items of the dataset became 1 samples"):
        next(DatasetLoader(Augmented(4), batch_size=4, collate=lambda items: (items[0][0].unsqueeze(0), None)[0]))
