"""A temporal convolutional network over frames of music: each layer looks twice as far back as the one below.

Letters in shapes: N pieces, T frames, K keys, C channels.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from trainwright.core.decoding import Decoding
from trainwright.core.kinds import models
from trainwright.core.model import FrameWriter
from trainwright.models.causal import CausalBlock
from trainwright.models.chords import Manner, begun, chords_of
from trainwright.models.dropout import Dropout

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Seen(NamedTuple):
    """All that was read of N pieces."""

    frames: Tensor  # (N, T, K), padded behind
    lengths: Tensor  # (N,)


@models.add("frame_tcn", speaks=FrameWriter)
@final
class FrameTCN(nn.Module):
    """Causal convolutions over frames; tells the keys of the next frame, each by itself or one after the other.

    It sees 1 + 2 (window - 1) (2^levels - 1) frames.

    Args:
        keys: of a frame; given by the data.
        chords: "apart" tells each key by itself; "in_turn" tells the keys that sound from the highest down, each in the
            light of those above it.
        channels: of each layer.
        levels: blocks of two layers; the windows of block i reach over 2^i frames a step.
        window: frames that a convolution sees.
        hidden: units that keys are added to, where they are told in turn.
        silenced: share of the numbers of a frame that is read, silenced in training.
        dropout: share of what each layer and the hidden units say, silenced in training.

    Source: Bai, Kolter & Koltun 2018, "An empirical evaluation of generic convolutional and recurrent networks for
    sequence modeling".
    """

    def __init__(
        self,
        *,
        keys: Size,
        chords: Manner = "apart",
        channels: Size = 150,
        levels: Annotated[int, Field(ge=1, le=12)] = 4,
        window: Annotated[int, Field(ge=2)] = 3,
        hidden: Size = 256,
        silenced: Share = 0.0,
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        self.silenced = Dropout(silenced)
        blocks = [CausalBlock(channels if i else keys + 1, channels, window, 2**i, dropout) for i in range(levels)]
        self.blocks = nn.Sequential(*blocks)
        self.chords = chords_of(chords, channels, keys, hidden, 0.0 if chords == "apart" else dropout)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(N, T, K) frames -> (N, T) nats of each, told from those before it; padding lies behind."""
        return self.chords(self._past(self.silenced(begun(frames)[:, :-1])), frames)  # type: ignore[no-any-return]

    def start(self, *, frames: Tensor, lengths: Tensor) -> Seen:
        """What is known of pieces (N, T, K), padded behind, with (N,) ``lengths``; T may be 0."""
        return Seen(frames, lengths)

    def write(self, cache: Seen, how: Decoding, dice: Tensor) -> Tensor:
        """The next frame (N, K) of each piece, chosen by (N, K) numbers in [0, 1)."""
        rows = torch.arange(len(cache.lengths), device=cache.lengths.device)
        return self.chords.write(self._past(begun(cache.frames))[rows, cache.lengths], how, dice)

    def read(self, frame: Tensor, cache: Seen) -> Seen:
        """What is known with the newest frames (N, K)."""
        at = cache.lengths[:, None, None].expand(-1, 1, frame.shape[1])
        return Seen(pad(cache.frames, (0, 0, 0, 1)).scatter(1, at, frame[:, None]), cache.lengths + 1)

    def _past(self, x: Tensor) -> Tensor:
        """(N, T, K + 1) -> (N, T, C)."""
        return cast(Tensor, self.blocks(x.transpose(1, 2)).transpose(1, 2))
