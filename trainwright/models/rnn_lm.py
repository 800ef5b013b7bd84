"""The recurrent language model: a state that is carried from token to token.

Letters in shapes: N sequences, T tokens, V vocabulary, E numbers of an embedded token, H units, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, Literal, NamedTuple, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import TokenModel
from trainwright.models.dropout import Dropout

Size = Annotated[int, Field(ge=1)]
_CELLS: dict[str, Callable[..., nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class State(NamedTuple):
    """What was read: (L, N, H), and the cells of an LSTM."""

    hidden: Tensor
    cells: Tensor | None


@models.add("rnn_lm", speaks=TokenModel)
@final
class RecurrentLM(nn.Module):
    """Embedded tokens, recurrent layers, and the next token's logits; each window begins with an empty state.

    Args:
        vocab: different tokens; given by the data.
        cell: "lstm", "gru" or "rnn" (a plain tanh layer).
        width: numbers of an embedded token.
        units: of each layer.
        depth: layers.
        tied: whether the output layer's weights are those of the embedding; width and units must then be the same.
        dropout: share of the embedded tokens, and of what each layer says, silenced in training.

    Source: Mikolov et al. 2010, "Recurrent neural network based language model"; Hochreiter & Schmidhuber 1997 for the
    LSTM, Cho et al. 2014 for the GRU; Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent
    network architectures", for the open forget gate.
    """

    def __init__(
        self,
        *,
        vocab: Size,
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        width: Size = 128,
        units: Size = 256,
        depth: Size = 2,
        tied: bool = False,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        if tied and width != units:
            what = f"ties the output layer ({units} units) to an embedding of width {width}"
            raise UserError("model.tied", what, "write the same width and units")
        self.cell = cell
        self.embed = nn.Embedding(vocab, width)
        nn.init.normal_(self.embed.weight, std=1 / math.sqrt(width))
        self.layers = nn.ModuleList(_layer(cell, width if not i else units, units) for i in range(depth))
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(units, vocab, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        else:
            nn.init.normal_(self.head.weight, std=0.5 / math.sqrt(units))

    @property
    def context(self) -> int | None:
        """A state has no end."""
        return None

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) ids -> (N, T, V) logits of what follows each."""
        x = self.dropout(self.embed(tokens))
        for layer in self.layers:
            with _precise(x):
                x = self.dropout(layer(x)[0])
        return self.head(x)  # type: ignore[no-any-return]

    def start(self, *, tokens: Tensor, lengths: Tensor) -> State:
        """The state behind prompts (N, T), padded behind, with (N,) ``lengths``; T may be 0."""
        state = self._empty(len(tokens))
        for place in range(tokens.shape[1]):
            _, read = self._read(tokens[:, place], state)
            more = (place < lengths)[None, :, None]
            cells = None if read.cells is None or state.cells is None else torch.where(more, read.cells, state.cells)
            state = State(torch.where(more, read.hidden, state.hidden), cells)
        return state

    def step(self, token: Tensor, cache: State) -> tuple[Tensor, State]:
        """(N,) the newest tokens -> (N, V) logits of the next, and the state that knows them."""
        x, state = self._read(token, cache)
        return self.head(x), state

    def reorder(self, cache: State, rows: Tensor) -> State:
        """The states of the sequences ``rows`` (M,)."""
        return State(cache.hidden[:, rows], None if cache.cells is None else cache.cells[:, rows])

    def _read(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """(N,) tokens -> (N, H) what the last layer says, and the next state."""
        with _precise(token):
            return self._read_in_turn(token, state)

    def _read_in_turn(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        x = self.embed(token)[:, None]
        hidden, cells = [], []
        for i, layer in enumerate(self.layers):
            before = state.hidden[i : i + 1].contiguous()
            if state.cells is None:
                x, after = layer(x, before)
            else:
                x, (after, kept) = layer(x, (before, state.cells[i : i + 1].contiguous()))
                cells.append(kept)
            hidden.append(after)
        return x[:, 0], State(torch.cat(hidden), torch.cat(cells) if cells else None)

    def _empty(self, rows: int) -> State:
        empty = self.head.weight.new_zeros(len(self.layers), rows, self.head.in_features)
        return State(empty, empty if self.cell == "lstm" else None)


def _precise(x: Tensor) -> AbstractContextManager[Any]:
    """In float32 where torch has no recurrent layer of float16, which is on a CPU (torch 2.13)."""
    half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16
    return torch.autocast("cpu", enabled=False) if x.device.type == "cpu" and half else nullcontext()


def _layer(cell: str, inputs: int, units: int) -> nn.RNNBase:
    """Orthogonal between states, Xavier's from inputs; an LSTM begins with its forget gates open."""
    layer = _CELLS[cell](inputs, units, batch_first=True)
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            for gate in weight.detach().split(units):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            for gate in weight.detach().split(units):
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(weight)
    if cell == "lstm":
        with torch.no_grad():
            layer.bias_ih_l0[units : 2 * units] = 1.0  # type: ignore[operator]
    return layer
