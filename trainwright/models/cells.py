"""First weights of recurrent cells."""

from __future__ import annotations

from typing import TypeAlias

from torch import nn

Cell: TypeAlias = nn.RNN | nn.LSTM | nn.GRU


def begin(cell: Cell) -> None:
    """Xavier's weights for inputs, orthogonal ones for the state, biases 0; an LSTM's forget gates begin open.

    Source: Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning", for the orthogonal ones;
    Jozefowicz et al. 2015, "An empirical exploration of recurrent network architectures", for the gates.
    """
    for name, weight in cell.named_parameters():
        if "bias" in name:
            nn.init.zeros_(weight)
            if isinstance(cell, nn.LSTM) and "_ih_" in name:
                keep = slice(cell.hidden_size, 2 * cell.hidden_size)  # torch's order: write, keep, candidate, show
                nn.init.ones_(weight.detach()[keep])
            continue
        for gate in weight.detach().split(cell.hidden_size):
            nn.init.xavier_uniform_(gate) if "_ih_" in name else nn.init.orthogonal_(gate)
