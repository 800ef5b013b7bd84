"""How much memory a forward pass keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[Callable[[], int]]:
    """Gives what counts the bytes that passes within the block have kept; the model's own weights are left out.

    What several operations keep is counted once, as long as the results of the passes are held. They are there to be
    counted alone: nobody may go backward through them.
    """
    weights = {p.untyped_storage().data_ptr() for p in model.parameters() if p.layout == torch.strided}
    found: dict[int, int] = {}

    def note(kept: Tensor) -> Tensor:
        if kept.layout == torch.strided and (at := kept.untyped_storage()).data_ptr() not in weights:
            found[at.data_ptr()] = at.nbytes()
        return kept.detach()  # an output that its own operation keeps would never be freed

    with torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
        yield lambda: sum(found.values())
