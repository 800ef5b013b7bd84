"""How far the randomness of a user's loader is in our reach, and so whether it can go on exactly where it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

_DRAWING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def out_of_reach(loader: Iterable[Any]) -> str:
    """Why the loader may not give the same batches again; nothing where it does.

    A DataLoader of torch does when its samplers are torch's own and its workers begin anew each epoch: all it draws
    then comes from the global generators, or from `generators` of its own. (A generator that its dataset keeps for
    itself is out of reach.)
    """
    if isinstance(loader, list | tuple):
        return ""
    if not isinstance(loader, DataLoader):
        return f"a {type(loader).__name__} is not a DataLoader of torch: its order is its own"
    if isinstance(loader.dataset, IterableDataset):
        return "an IterableDataset has an order of its own"
    if loader.persistent_workers:
        return "persistent_workers keep randomness of their own from epoch to epoch"
    for sampler in (loader.sampler, loader.batch_sampler):
        if sampler is not None and type(sampler) not in (*_DRAWING, SequentialSampler, BatchSampler):
            return f"a {type(sampler).__name__} has an order of its own"
    inner = loader.batch_sampler.sampler if type(loader.batch_sampler) is BatchSampler else loader.sampler
    if type(inner) not in (*_DRAWING, SequentialSampler):
        return f"a {type(inner).__name__} has an order of its own"
    return ""


def generators(loader: Iterable[Any]) -> list[torch.Generator]:
    """Those that the loader and its samplers draw from instead of the global one, each once."""
    if not isinstance(loader, DataLoader):
        return []
    inner = loader.batch_sampler.sampler if type(loader.batch_sampler) is BatchSampler else None
    samplers = [s for s in (loader.sampler, inner) if isinstance(s, _DRAWING)]
    found = [loader.generator, *(s.generator for s in samplers)]
    return list({id(g): g for g in found if g is not None}.values())


def states(found: Sequence[torch.Generator]) -> list[Tensor]:
    """What they will draw."""
    return [g.get_state() for g in found]


@contextmanager
def kept(loader: Iterable[Any]) -> Iterator[None]:
    """After it, the loader's own generators are as they were before."""
    found = generators(loader)
    before = states(found)
    try:
        yield
    finally:
        for generator, state in zip(found, before, strict=True):
            generator.set_state(state)
