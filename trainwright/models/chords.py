"""What follows a frame of music: which of its keys sound, each by itself, or one after the other from the highest down.

Letters in shapes: N pieces, T frames, R frames of all pieces, K keys, V keys that sound at once, W width of what is
known of the past, U hidden units.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, pad

from trainwright.core.decoding import Decoding, choose
from trainwright.models.activations import dense
from trainwright.models.dropout import Dropout

Manner: TypeAlias = Literal["apart", "in_turn"]
_NOTHING = -100  # a place behind the end of a chord
_SILENT = -3.0  # where the bias of a key begins: most keys are silent


def chords_of(manner: Manner, width: int, keys: int, units: int, dropout: float) -> Apart | InTurn:
    """The last part of a model of frames."""
    return Apart(width, keys, dropout) if manner == "apart" else InTurn(width, keys, units, dropout)


@final
class Apart(nn.Module):
    """The keys of a frame are independent of each other once the frames before it are known."""

    def __init__(self, width: int, keys: int, dropout: float) -> None:
        super().__init__()
        self.dropout, self.keys = Dropout(dropout), dense(width, keys, None)
        nn.init.constant_(self.keys.bias, _SILENT)

    def forward(self, past: Tensor, frames: Tensor) -> Tensor:
        """(N, T, W) what is known of the past, and (N, T, K) frames -> (N, T) nats of each."""
        logits = _precise(self.keys(self.dropout(past)))
        return binary_cross_entropy_with_logits(logits, frames.to(logits.dtype), reduction="none").sum(2)

    def write(self, past: Tensor, how: Decoding, dice: Tensor) -> Tensor:
        """(N, W), and (N, K) numbers in [0, 1) -> (N, K) the next frame."""
        logits = self.keys(past)
        if how.temperature == 0:
            return cast(Tensor, logits > 0).to(past.dtype)
        chance: Tensor = (logits.double() / how.temperature).sigmoid()
        return (dice.double() < chance).to(past.dtype)


@final
class InTurn(nn.Module):
    """Key by key from the highest that sounds down to the lowest, then "no more": each is told from those above it.

    The hidden units begin with what the past says, and every key that sounds adds its own weights to them. What it says
    of a frame is the probability of its set of keys, as a set has one order from the top down.

    Source: Larochelle & Murray 2011, "The neural autoregressive distribution estimator", for units that keys are added
    to; Boulanger-Lewandowski, Bengio & Vincent 2012, "Modeling temporal dependencies in high-dimensional sequences",
    for such a part behind a recurrent network.
    """

    def __init__(self, width: int, keys: int, units: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.begin, self.next = dense(width, units, "relu"), dense(units, keys + 1, None)
        self.adds = nn.Embedding(keys + 1, units)  # the last is of "no more", behind which nothing comes
        nn.init.normal_(self.adds.weight, std=1 / math.sqrt(units))

    def forward(self, past: Tensor, frames: Tensor) -> Tensor:
        """(N, T, W) what is known of the past, and (N, T, K) frames -> (N, T) nats of each."""
        keys = frames.shape[2]
        chords = from_above(frames.flatten(0, 1))  # (R, V + 1)
        known = self.begin(self.dropout(past)).flatten(0, 1)[:, None]
        above = pad(self.adds(chords[:, :-1]).cumsum(1), (0, 0, 1, 0))
        logits = self.next(self.dropout(torch.relu(known + above)))  # (R, V + 1, K + 1)
        logits = _precise(_below(logits, pad(chords[:, :-1], (1, 0), value=keys)))
        truth = chords.masked_fill((chords == keys).cumsum(1) > 1, _NOTHING)
        nats = cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none", ignore_index=_NOTHING)
        return nats.view(len(chords), -1).sum(1).view(frames.shape[:2])

    def write(self, past: Tensor, how: Decoding, dice: Tensor) -> Tensor:
        """(N, W), and (N, K) numbers in [0, 1) -> (N, K) the next frame."""
        units, keys = self.begin(past), dice.shape[1]
        frame: Tensor = units.new_zeros(len(past), keys + 1)
        last = torch.full((len(past), 1), keys, device=past.device)
        over = torch.zeros_like(last, dtype=torch.bool)
        for place in range(keys):
            logits = _below(self.next(torch.relu(units)), last)
            last = choose(logits, how, dice[:, place])[:, None].masked_fill(over, keys)
            frame.scatter_(1, last, 1.0)
            over = last == keys
            if bool(over.all()):  # the wait
                break
            units = units + self.adds(last[:, 0])
        return frame[:, :keys].to(past.dtype)


def from_above(frames: Tensor) -> Tensor:
    """(R, K) which keys sound -> (R, V + 1) the numbers of those that do, the highest first, and K behind them."""
    keys, sounding = frames.shape[1], frames > 0
    most = int(sounding.sum(1).max()) if len(frames) else 0  # the wait
    at = torch.where(sounding, torch.arange(keys, device=frames.device), -1)
    chords = at.topk(most, dim=1).values
    return pad(torch.where(chords < 0, keys, chords), (0, 1), value=keys)


def begun(frames: Tensor) -> Tensor:
    """(N, T, K) -> (N, T + 1, K + 1): before all others a frame of nothing but a mark, from which the first is told."""
    mark = frames.new_zeros(1, frames.shape[1] + 1, frames.shape[2] + 1)
    mark[0, 0, -1] = 1
    return pad(frames, (0, 1, 1, 0)) + mark


def _below(logits: Tensor, last: Tensor) -> Tensor:
    """(…, K + 1) logits without the keys that do not lie below the last ones (…); "no more" may always follow."""
    at = torch.arange(logits.shape[-1], device=logits.device)
    return logits.masked_fill((at >= last.view(*logits.shape[:-1], 1)) & (at < logits.shape[-1] - 1), -torch.inf)


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
