"""What a causal stack remembers of the tokens it has read: keys and values, written into room that is made ahead.

Letters in shapes: N sequences, G heads of keys and values, S tokens, R room, D numbers of a head.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainwright.models.rotary import Turns

_ROOM = 64  # tokens that there is room for at first


@dataclass(slots=True)
class Past:
    """Keys and values of N sequences, which may differ in length.

    It is changed in place by the step that is given it. Behind the end of a shorter sequence lies what the mask hides
    until it is overwritten.
    """

    lengths: Tensor  # (N,) tokens read
    longest: int
    keys: list[Tensor] = field(default_factory=list)  # (N, G, R, D) of each layer
    values: list[Tensor] = field(default_factory=list)
    memories: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # keys and values of a memory, by layer
    memory_mask: Tensor | None = None
    table: Turns | None = None  # of all places that there is room for, where positions are rotary
    owners: Tensor = field(init=False)  # (N,) which of the first sequences each goes on
    even: bool = field(init=False)  # whether all have read as many tokens
    mask: Tensor | None = field(init=False, default=None)  # (N, 1, 1, S) of the next step; None where all is real

    def __post_init__(self) -> None:
        self.owners = torch.arange(len(self.lengths), device=self.lengths.device)
        self.even = bool((self.lengths == self.longest).all())  # the wait
        self._prepare()

    @property
    def places(self) -> Tensor:
        """Of the next tokens: (1,) where they are the same, else (N, 1)."""
        return self.lengths[:1] if self.even else self.lengths[:, None]

    @property
    def room(self) -> int:
        """Tokens that there is room for."""
        return max(_ROOM, 2 * self.longest)

    def turns(self) -> Turns | None:
        """Of the next tokens."""
        if self.table is None:
            return None
        return self.table.at(slice(self.longest, self.longest + 1) if self.even else self.lengths)

    def put_prompt(self, layer: int, key: Tensor, value: Tensor) -> None:
        """What a layer made of prompts, (N, G, S, D) twice."""
        assert layer == len(self.keys)
        self.keys.append(_widened(key, 2 * self.longest))
        self.values.append(_widened(value, 2 * self.longest))

    def with_newest(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """(N, G, 1, D) of the newest tokens -> (N, G, S, D) of all."""
        if layer == len(self.keys):  # nothing was read before
            self.keys.append(_widened(key[:, :, :0], _ROOM))
            self.values.append(_widened(value[:, :, :0], _ROOM))
        if self.longest == self.keys[layer].shape[2]:
            self.keys[layer] = _widened(self.keys[layer], 2 * self.longest)
            self.values[layer] = _widened(self.values[layer], 2 * self.longest)
        for kept, newest in ((self.keys[layer], key), (self.values[layer], value)):
            if self.even:
                kept[:, :, self.longest] = newest[:, :, 0]
            else:
                kept[torch.arange(len(kept), device=kept.device), :, self.lengths] = newest[:, :, 0]
        end = self.longest + 1
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def advance(self) -> None:
        """Every layer has written the newest tokens."""
        self.lengths, self.longest = self.lengths + 1, self.longest + 1
        self._prepare()

    def picked(self, rows: Tensor) -> Past:
        """The sequences ``rows`` (M,) of it, each as a copy."""
        out = Past(self.lengths[rows], self.longest)
        out.keys, out.values = ([_picked(t, rows, self.longest) for t in kept] for kept in (self.keys, self.values))
        out.table = self.table
        out.owners = self.owners[rows]
        if torch.equal(out.owners, self.owners):  # beams of one input have the same memory; the wait
            out.memories, out.memory_mask = self.memories, self.memory_mask
            return out
        out.memories = [(k[rows], v[rows]) for k, v in self.memories]
        out.memory_mask = None if self.memory_mask is None else self.memory_mask[rows]
        return out

    def _prepare(self) -> None:
        if not self.even:
            at = torch.arange(self.longest + 1, device=self.lengths.device)
            self.mask = (at <= self.lengths[:, None])[:, None, None]


def _widened(kept: Tensor, room: int) -> Tensor:
    """The same with room for more tokens."""
    out = kept.new_zeros(*kept.shape[:2], max(room, _ROOM), kept.shape[3])
    out[:, :, : kept.shape[2]] = kept
    return out


def _picked(kept: Tensor, rows: Tensor, longest: int) -> Tensor:
    """Some rows, with a little room: a search picks anew at each step, and what is not read need not be copied."""
    out = kept.new_empty(len(rows), kept.shape[1], longest + 8, kept.shape[3])
    out[:, :, :longest], out[:, :, longest:] = kept[:, :, :longest][rows], 0.0
    return out
