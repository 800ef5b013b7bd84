"""A running average of the weights, which is often better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.engine.ranks import Single

_UPDATES = "$updates"  # beside the tensors; no weight can have such a name


class Average:
    """An exponential moving average of a module's weights and floating buffers, a part of the state.

    After n updates the average keeps ``min(decay, (1 + n) / (10 + n))`` of itself, so that a short training does not
    serve its first weights.

    Args:
        module: as the training step calls it.
        decay: share of the average that is kept at each step.
        ranks: of the runtime.

    Source: Polyak & Juditsky 1992; the warm-up is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, module: nn.Module, decay: float, ranks: Single | None = None) -> None:
        self.module, self.decay, self.ranks = module, decay, ranks or Single()
        self.updates = 0
        self._live = [x for x in _unique(self.ranks.bare(module)) if x.is_floating_point()]
        self._shadow = [x.detach().clone() for x in self._live]

    def restart(self) -> None:
        """Begin with the weights as they are now."""
        self.updates, self._shadow = 0, [x.detach().clone() for x in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights; called once after each step that was taken."""
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for shadow, live in zip(self._shadow, self._live, strict=True):
            shadow.lerp_(live.detach(), 1 - kept)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module holds the average, and afterwards its own weights again, bit for bit."""
        own = [x.detach().clone() for x in self._live]
        self._put(self._shadow)
        try:
            yield
        finally:
            self._put(own)

    def state_dict(self) -> dict[str, Any]:
        """Name -> whole tensor as the module would have it, integers as they are; every rank must call it."""
        averaged = {id(live): shadow for live, shadow in zip(self._live, self._shadow, strict=True)}
        state = self.ranks.bare(self.module).state_dict(keep_vars=True)
        whole = {name: self.ranks.kept(averaged.get(id(x), x).detach()) for name, x in state.items()}
        return {**whole, _UPDATES: self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`; KeyError for a weight or a buffer that the state lacks."""
        place = {id(live): shadow for live, shadow in zip(self._live, self._shadow, strict=True)}
        for name, live in self.ranks.bare(self.module).state_dict(keep_vars=True).items():
            value = state[name]  # counts of batches are asked for as well, though nothing is averaged in them
            if id(live) in place:
                place[id(live)].copy_(self.ranks.like(value, place[id(live)]))
        self.updates = int(state[_UPDATES])

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for live, value in zip(self._live, values, strict=True):
            live.detach().copy_(value)


def averaged_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a module can load, out of the state of an `Average`."""
    return {name: x for name, x in state.items() if name != _UPDATES}


def _unique(module: nn.Module) -> list[Tensor]:
    """Parameters and persistent buffers, tied ones once."""
    return list({id(x): x for x in module.state_dict(keep_vars=True).values() if isinstance(x, Tensor)}.values())
