"""The recurrent translator: one network reads the source both ways, another writes and looks back at it.

Letters in shapes: N pairs, S source and T target tokens, V target vocabulary, L layers, U units.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import TokenModel
from trainwright.models.cells import begin
from trainwright.models.dropout import Dropout
from trainwright.models.pooling import real_of

Size = Annotated[int, Field(ge=1)]


class State(NamedTuple):
    """What the decoder remembers."""

    memory: Tensor  # (N, S, U) the source as it was read
    hidden: Tensor  # (N, S) bool, which of it is padding
    thought: Tensor  # (N, L, U)


@models.add("gru_attention", speaks=TokenModel)
@final
class GRUAttention(nn.Module):
    """GRUs in both directions over the source, GRUs over the target, and attention from each target to the source.

    Args:
        vocab: different target tokens; given by the data.
        source_vocab: different source tokens; given by the data.
        shared: whether both languages have one vocabulary, and so one embedding; given by the task.
        width: numbers that a token is told by.
        units: of each layer; an even number, half of them for each direction of the encoder.
        layers: of encoder and decoder each.
        tied: whether the output layer's weights are those of the target's embedding.
        dropout: share of the embedded tokens, of what goes from layer to layer and of what goes to the outputs that is
            silenced in training.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; Luong, Pham & Manning 2015,
    "Effective approaches to attention-based neural machine translation": the general score, without input feeding, so
    that all of a target is read at once in training.
    """

    def __init__(
        self,
        *,
        vocab: Size,
        source_vocab: Size,
        shared: bool,
        width: Size = 256,
        units: Size = 512,
        layers: Size = 1,
        tied: bool = True,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3,
    ) -> None:
        super().__init__()
        if units % 2:
            raise UserError("model.units", f"{units} is odd", "each direction of the encoder has half of them")
        if shared and vocab != source_vocab:
            what = f"is shared, but there are {source_vocab:,} source and {vocab:,} target tokens"
            raise UserError("model.vocab", what, "give both the same number, or shared = false")
        between = dropout if layers > 1 else 0.0
        self.layers = layers
        self.read, self.write = _table(source_vocab, width), _table(vocab, width)
        self.encoder = nn.GRU(width, units // 2, layers, batch_first=True, bidirectional=True, dropout=between)
        self.decoder = nn.GRU(width, units, layers, batch_first=True, dropout=between)
        self.bridge, self.query = nn.Linear(units, units), nn.Linear(units, units, bias=False)
        self.told, self.head = nn.Linear(2 * units, width), nn.Linear(width, vocab, bias=False)
        self.dropout = Dropout(dropout)
        begin(self.encoder)
        begin(self.decoder)
        if shared:
            self.read.weight = self.write.weight
        if tied:
            self.head.weight = self.write.weight

    @property
    def context(self) -> int | None:
        """A state has no end."""
        return None

    def forward(self, source: Tensor, lengths: Tensor, written: Tensor) -> Tensor:
        """(N, S) source tokens, of which (N,) are real, and (N, T) before each target -> (N, T, V) logits."""
        return self._said(written, self.start(source=source, lengths=lengths))[0]

    def start(self, *, source: Tensor, lengths: Tensor) -> State:
        """What is remembered of (N, S) source tokens, of which (N,) are real, before anything is written."""
        embedded = self.dropout(self.read(source))
        with torch.autocast(source.device.type, enabled=False):  # torch's cells have no half precision on every device
            packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
            found, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(found, batch_first=True, total_length=source.shape[1])
        both = last.view(self.layers, 2, len(source), -1).permute(2, 0, 1, 3).flatten(2)
        return State(memory, ~real_of(source, lengths), torch.tanh(self.bridge(both)).to(memory.dtype))

    def step(self, token: Tensor, cache: State) -> tuple[Tensor, State]:
        """(N,) the newest target tokens -> (N, V) logits of the next, and the state that knows them."""
        logits, state = self._said(token[:, None], cache)
        return logits[:, 0], state

    def reorder(self, cache: State, rows: Tensor) -> State:
        """The states of the sequences ``rows`` (M,)."""
        return State(*(part[rows] for part in cache))

    def _said(self, written: Tensor, state: State) -> tuple[Tensor, State]:
        """(N, T) tokens -> (N, T, V) logits of what follows each, and the state behind them."""
        embedded = self.dropout(self.write(written))
        before = state.thought.transpose(0, 1).contiguous()
        with torch.autocast(written.device.type, enabled=False):
            thoughts, after = self.decoder(embedded.to(before.dtype), before)
        scores = self.query(thoughts) @ state.memory.transpose(1, 2)  # (N, T, S)
        seen = scores.masked_fill(state.hidden[:, None], -torch.inf).softmax(2) @ state.memory
        told = torch.tanh(self.told(torch.cat([thoughts, seen.to(thoughts.dtype)], 2)))
        return self.head(self.dropout(told)), state._replace(thought=after.transpose(0, 1))


def _table(vocab: int, width: int) -> nn.Embedding:
    table = nn.Embedding(vocab, width)
    nn.init.normal_(table.weight, std=1 / math.sqrt(width))
    return table
