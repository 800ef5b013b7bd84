"""Steps of a rehearsal that hold no more memory than the training which they are for will need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainwright.core.task import Progress
from trainwright.data.loader import Loader
from trainwright.engine.saved import saved_for_backward
from trainwright.runs.assemble import Pieces

_MUCH = 2**27  # bytes that a backward pass needs of a forward pass
_FEW = 8  # samples by which that is foreseen


@contextmanager
def halved_where_much(pieces: Pieces, loader: Loader) -> Iterator[None]:
    """In the block, a loader's groups are of half as many samples at once, where a pass over them keeps much.

    The plan that is measured first, and may not be the one that is taken, else needs the most memory of all. Halves of
    a batch make the same step in nearly the same time.
    """
    before, samples = loader.micro, _at_once(pieces, loader)
    if samples > 1 and pieces.runtime.device.type == "cpu" and _of_a_sample(pieces) * samples > _MUCH:
        loader.limit(-(-samples // 2))
    try:
        yield
    finally:
        if loader.micro != before:
            loader.limit(before)


def _at_once(pieces: Pieces, loader: Loader) -> int:
    sizes = (loader.batch_size, loader.samples, loader.micro)
    return min(size for size in sizes if isinstance(size, int))


def _of_a_sample(pieces: Pieces) -> int:
    """Bytes that a forward pass keeps of each sample; 0 where that cannot be counted."""
    batch = pieces.runtime.take(pieces.some(_FEW))
    model = pieces.runtime.ranks.bare(pieces.state.model)
    try:
        with torch.enable_grad(), pieces.runtime.autocast(), saved_for_backward(model) as saved:
            loss = pieces.task.loss(model, batch, Progress())
            kept = saved()
            del loss
    except Exception:  # a module of somebody's own may not let tensors be looked at that it keeps
        return 0
    return kept // max(1, batch.size)
