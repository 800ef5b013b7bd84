"""Rotary positions: queries and keys are turned by an angle that grows with the place, so that products tell distance.

Letters in shapes: N sequences, H heads, T tokens, D numbers of a head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Turns(NamedTuple):
    """Cosines, and sines that are negative in the first half, (T, D); or (N, 1, T, D) where sequences have places."""

    cos: Tensor
    sin: Tensor

    def at(self, places: slice | Tensor) -> Turns:
        """Those of some places (T, D): of a stretch of them, or of one for each sequence, (N,) -> (N, 1, 1, D)."""
        if isinstance(places, slice):
            return Turns(self.cos[places], self.sin[places])
        return Turns(self.cos[places][:, None, None], self.sin[places][:, None, None])


def turns_of(places: Tensor, size: int, base: float, dtype: torch.dtype) -> Turns:
    """For places (T,): pair i of D/2 turns by place · base^(-2i/D).

    Source: Su et al. 2021, "RoFormer: enhanced Transformer with rotary position embedding", eq. 15.
    """
    wide = torch.promote_types(dtype, torch.float32)  # the angle of a far place needs its digits
    steps = torch.arange(0, size, 2, device=places.device, dtype=wide) / size
    angles = places.to(wide)[..., None] * base**-steps
    cos, sin = angles.cos(), angles.sin()
    return Turns(torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1))


def turned(x: Tensor, turns: Turns) -> Tensor:
    """(N, H, T, D) -> the same; number i of a head is one pair with number i + D/2."""
    other = x.roll(x.shape[-1] // 2, -1)
    return torch.addcmul(x * turns.cos, other, turns.sin).to(x.dtype)
