"""A model and its loss on one batch, as the doctor asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.task import Progress
from trainwright.runs.assemble import Pieces


@dataclass(frozen=True, slots=True)
class OneBatch:
    """The model and the loss on one batch, as the task runs them."""

    pieces: Pieces
    model: nn.Module
    batch: Batch
    said: list[Tensor] = field(default_factory=list)

    def lose(self) -> Tensor:
        """The mean loss."""
        return self._mean(self.model, self.batch)

    def say(self, inputs: Mapping[str, Tensor]) -> object:
        """What the model, called as a whole, gives; nothing where the task calls it in parts."""
        found: list[Any] = []
        hook = self.model.register_forward_hook(lambda _m, _i, made: found.append(made))
        try:
            self._mean(self.model, replace(self.batch, inputs=dict(inputs)))
        finally:
            hook.remove()
        return found[-1] if len(found) == 1 else None

    def loss(self, output: Tensor) -> Tensor:
        """The mean loss, had the model said this."""
        return self._mean(_Said(output), self.batch)

    def _mean(self, model: nn.Module, batch: Batch) -> Tensor:
        with self.pieces.runtime.autocast():
            found = self.pieces.task.loss(model, batch, Progress())
        weight = float(batch.weight)
        return found.sum / weight if weight else found.sum


class _Said(nn.Module):
    """Says what it was told to."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """The same, whatever it is given."""
        return self.output
