"""A network for speech: convolutions shorten the time, recurrent layers read it in both directions.

Letters in shapes: N recordings, U frames, F bands, W width.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.kinds import models
from trainwright.core.model import FrameModel
from trainwright.models.activations import dense
from trainwright.models.cells import begin, both_ways
from trainwright.models.dropout import Dropout
from trainwright.models.hearing import Shortened, shorter

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
_CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


@models.add("conv_rnn", speaks=FrameModel, default_for="speech_recognition")
@final
class ConvRNN(nn.Module):
    """Two convolutions, then recurrent layers in both directions with a layer norm before each.

    Args:
        bands: of a frame; given by the data.
        outputs: pieces and the blank; given by the data.
        shorten: frames that become one; given by the data.
        channels: of the convolutions.
        cell: "gru" or "lstm".
        units: of a recurrent layer, in each direction.
        layers: recurrent ones.
        dropout: share of what goes to each layer silenced in training.

    Source: Amodei et al. 2016, "Deep Speech 2: end-to-end speech recognition in English and Mandarin".
    """

    def __init__(
        self,
        *,
        bands: Size,
        outputs: Size,
        shorten: Literal[1, 2, 4],
        channels: Size = 32,
        cell: Literal["gru", "lstm"] = "gru",
        units: Size = 160,
        layers: Size = 3,
        dropout: Share = 0.2,
    ) -> None:
        super().__init__()
        self.times = shorten
        self.shortened = Shortened(bands, 2 * units, channels, shorten, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(2 * units) for _ in range(layers + 1))
        self.cells = nn.ModuleList()
        for _ in range(layers):
            made = _CELLS[cell](2 * units, units, batch_first=True, bidirectional=True)
            begin(made)
            self.cells.append(made)
        self.dropout = Dropout(dropout)
        self.head = dense(2 * units, outputs, None)

    def lengths(self, lengths: Tensor) -> Tensor:
        """(N,) frames -> (N,) frames that come out."""
        return shorter(lengths, self.times)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, U, F) features and (N,) real frames -> logits (N, U / shorten, outputs) and (N,) how many are real."""
        x, lengths = self.shortened(frames, lengths)
        for norm, cells in zip(self.norms, self.cells, strict=False):
            whole = norm(x).to(next(cells.parameters()).dtype)
            with torch.autocast(x.device.type, enabled=False):  # torch's cells have no half precision on every device
                read = both_ways(cells, whole, lengths)  # type: ignore[arg-type]
            x = x + self.dropout(read)
        return self.head(self.norms[-1](x)), lengths
