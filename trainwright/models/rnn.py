"""A recurrent network for texts: piece by piece, in one direction or both.

Letters in shapes: N texts, T pieces, W width, U units of all directions.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from trainwright.core.kinds import models
from trainwright.models.activations import dense
from trainwright.models.cells import begin
from trainwright.models.dropout import Dropout
from trainwright.models.pooling import Pieces, Spelling, pooled, real_of

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
_CELLS = {"simple": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@models.add("rnn")
@final
class RNN(nn.Module):
    """Reads texts in their order, and decides by the states it went through. Padding is not read.

    Args:
        vocab: different pieces; given by the data.
        padding: the number that fills batches; given by the data.
        outputs: numbers that come out; given by the data.
        letters: groups of letters that are told apart, 0 for none; given by the data.
        cell: "gru", "lstm", or "simple": a tanh of the input and the state before.
        width: numbers that tell a piece.
        units: of a layer, in each direction.
        layers: one above the other.
        both: whether texts are read backwards too.
        pool: what the outputs see of the states: their "mean", their "max", both, or the "last" of each direction.
        embedding_dropout: share of the numbers of the pieces silenced in training.
        spelling: numbers that tell the letters of a text, where there are any.
        dropout: share of what goes to the next layer and to the outputs silenced in training.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; Cho et al. 2014, "Learning phrase representations
    using RNN encoder-decoder", for the GRU; Schuster & Paliwal 1997 for both directions; Conneau et al. 2017 for the
    largest state.
    """

    def __init__(
        self,
        *,
        vocab: Size,
        padding: Annotated[int, Field(ge=0)],
        outputs: Size,
        letters: Annotated[int, Field(ge=0)],
        cell: Literal["gru", "lstm", "simple"] = "gru",
        width: Size = 128,
        units: Size = 64,
        layers: Size = 1,
        both: bool = True,
        pool: Literal["mean", "max", "mean_max", "last"] = "mean_max",
        embedding_dropout: Share = 0.3,
        spelling: Size = 32,
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        self.pieces = Pieces(vocab, width, padding, embedding_dropout)
        self.pool = pool
        between = dropout if layers > 1 else 0.0
        self.cells = _CELLS[cell](width, units, layers, batch_first=True, bidirectional=both, dropout=between)
        begin(self.cells)
        self.spelling = Spelling(letters, spelling)
        self.dropout = Dropout(dropout)
        states = units * (2 if both else 1)
        self.head = dense(states * (2 if pool == "mean_max" else 1) + self.spelling.width, outputs, None)

    def forward(self, tokens: Tensor, lengths: Tensor, letters: Tensor | None = None) -> Tensor:
        """(N, T) pieces, of which (N,) are real, and (N, G) groups of letters -> (N, outputs)."""
        packed = pack_padded_sequence(self.pieces(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        with torch.autocast(tokens.device.type, enabled=False):  # torch's cells have no half precision on every device
            found, last = self.cells(packed)
        if self.pool == "last":
            hidden = last[0] if isinstance(last, tuple) else last  # (layers · directions, N, U)
            directions = 2 if self.cells.bidirectional else 1
            told = hidden[-directions:].transpose(0, 1).flatten(1)
        else:
            states, _ = pad_packed_sequence(found, batch_first=True, total_length=tokens.shape[1])
            told = pooled(states, real_of(tokens, lengths), self.pool)
        return self.head(self.dropout(self.spelling.beside(told, letters)))  # type: ignore[no-any-return]
