"""The dropout of a person's own module, with masks that are drawn as those of our models are.

Torch 2.13 draws each number of a mask by itself, at 6 ns apiece on a CPU: of a network for tables that was a fifth of a
step. The masks are other ones than torch would draw, and as random: from the same generator, so that a run repeats and
goes on as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex

import torch.nn.functional as F
from torch import Tensor, nn

from trainwright.engine.stand_in import stand_in
from trainwright.models.dropout import mask

_SMALL = 4096  # numbers of which torch draws a mask in 25 µs
_FINEST = 0.01  # share; of a smaller one the steps of 1/65536 would be felt


class _Quick(nn.Dropout):
    """As `nn.Dropout`, also by its name."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape."""
        if not self.training or not _fits(input, self.p) or self.inplace:
            return F.dropout(input, self.p, self.training, self.inplace)
        return input * mask(input, self.p)

    def _get_name(self) -> str:
        return "Dropout"

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """A copy, and what is written to a file, is torch's own: nobody would put those back."""
        return nn.Dropout, (self.p, self.inplace), *super().__reduce_ex__(protocol)[2:]


def quick_dropout(model: nn.Module) -> Callable[[], None]:
    """Have every `nn.Dropout` draw so; returns what puts all back. Classes derived from it stay what they are."""
    return stand_in(model, nn.Dropout, _Quick)


def has_dropout(model: nn.Module) -> bool:
    """Whether there is one that would draw so."""
    return any(type(m) is nn.Dropout and not m.inplace and _FINEST <= m.p <= 1 - _FINEST for m in model.modules())


def _fits(x: Tensor, p: float) -> bool:
    return (
        _FINEST <= p <= 1 - _FINEST
        and type(x) is Tensor
        and x.device.type == "cpu"
        and x.is_floating_point()
        and x.numel() >= _SMALL
    )
