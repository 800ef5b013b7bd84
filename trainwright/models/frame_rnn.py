"""A recurrent network over frames of music: a state that is carried from frame to frame.

Letters in shapes: N pieces, T frames, K keys, H units, L layers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from trainwright.core.decoding import Decoding
from trainwright.core.kinds import models
from trainwright.core.model import FrameWriter
from trainwright.models.cells import begin
from trainwright.models.chords import Manner, begun, chords_of
from trainwright.models.dropout import Dropout

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
_CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "simple": nn.RNN}


class Read(NamedTuple):
    """What was read of N pieces."""

    past: Tensor  # (N, H) what the last layer says
    state: Any  # (L, N, H), of an LSTM a pair of them


@models.add("frame_rnn", speaks=FrameWriter, default_for="music")
@final
class FrameRNN(nn.Module):
    """Reads a piece frame by frame, and tells the keys of the next one, each by itself or one after the other.

    Args:
        keys: of a frame; given by the data.
        chords: "apart" tells each key by itself; "in_turn" tells the keys that sound from the highest down, each in the
            light of those above it.
        cell: "gru", "lstm", or "simple": a tanh of the input and the state before.
        units: of each layer.
        layers: one above the other.
        hidden: units that keys are added to, where they are told in turn.
        silenced: share of the numbers of a frame that is read, silenced in training.
        dropout: share of what each layer and the hidden units say, silenced in training.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", for the GRU; Hochreiter &
    Schmidhuber 1997, "Long short-term memory"; Boulanger-Lewandowski, Bengio & Vincent 2012, "Modeling temporal
    dependencies in high-dimensional sequences", for music.
    """

    def __init__(
        self,
        *,
        keys: Size,
        chords: Manner = "in_turn",
        cell: Literal["gru", "lstm", "simple"] = "gru",
        units: Size = 256,
        layers: Size = 1,
        hidden: Size = 256,
        silenced: Share = 0.0,
        dropout: Share = 0.3,
    ) -> None:
        super().__init__()
        self.silenced = Dropout(silenced)
        between = dropout if layers > 1 else 0.0
        self.cells = _CELLS[cell](keys + 1, units, layers, batch_first=True, dropout=between)
        begin(self.cells)
        self.chords = chords_of(chords, units, keys, hidden, dropout)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(N, T, K) frames -> (N, T) nats of each, told from those before it; padding lies behind."""
        with _whole(frames):
            past, _ = self.cells(self.silenced(begun(frames)[:, :-1]))
        return self.chords(past, frames)  # type: ignore[no-any-return]

    def start(self, *, frames: Tensor, lengths: Tensor) -> Read:
        """What is known of pieces (N, T, K), padded behind, with (N,) ``lengths``; T may be 0."""
        packed = pack_padded_sequence(begun(frames), lengths.cpu() + 1, batch_first=True, enforce_sorted=False)
        with _whole(frames):
            _, state = self.cells(packed)
        return Read((state[0] if isinstance(state, tuple) else state)[-1], state)

    def write(self, cache: Read, how: Decoding, dice: Tensor) -> Tensor:
        """The next frame (N, K) of each piece, chosen by (N, K) numbers in [0, 1)."""
        return self.chords.write(cache.past, how, dice)

    def read(self, frame: Tensor, cache: Read) -> Read:
        """What is known with the newest frames (N, K)."""
        with _whole(frame):
            past, state = self.cells(nn.functional.pad(frame, (0, 1))[:, None], cache.state)
        return Read(past[:, 0], state)


def _whole(x: Tensor) -> torch.autocast:
    """torch's cells have no half precision on every device."""
    return torch.autocast(x.device.type, enabled=False)
