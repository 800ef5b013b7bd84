"""Rotary positions: queries and keys are turned by an angle that grows with the place, so that products tell distance.

Letters in shapes: N sequences, H heads, T tokens, D numbers of a head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Turns(NamedTuple):
    """Cosines and sines, (T, D/2), or (N, 1, T, D/2) where each sequence has places of its own."""

    cos: Tensor
    sin: Tensor


def turns_of(places: Tensor, size: int, base: float, dtype: torch.dtype) -> Turns:
    """For places (T,) or (N, T): pair i of D/2 turns by place · base^(-2i/D).

    Source: Su et al. 2021, "RoFormer: enhanced Transformer with rotary position embedding", eq. 15.
    """
    wide = torch.promote_types(dtype, torch.float32)  # the angle of a far place needs its digits
    steps = torch.arange(0, size, 2, device=places.device, dtype=wide) / size
    angles = places.to(wide)[..., None] * base**-steps
    angles = angles if places.ndim == 1 else angles[:, None]
    return Turns(angles.cos(), angles.sin())


def turned(x: Tensor, turns: Turns) -> Tensor:
    """(N, H, T, D) -> the same; number i of a head is one pair with number i + D/2."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * turns.cos - second * turns.sin, second * turns.cos + first * turns.sin], -1).to(x.dtype)
