"""Recurrent cells: their first weights, and a layer in both directions.

Letters in shapes: N sequences, U steps, F features, H units.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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


def both_ways(cell: nn.LSTM | nn.GRU, x: Tensor, lengths: Tensor) -> Tensor:
    """(N, U, F), of which (N,) steps are real -> (N, U, 2 H), 0 behind the real ones; of one layer in both directions.

    On a CPU torch 2.13 learns from packed sequences in time that grows with the square of their length: the gradient of
    each step is written into zeros of the whole. Each direction by itself, over padding too, grows evenly.

    Args:
        cell: one layer, ``batch_first``, bidirectional.
        x: padded behind.
        lengths: all above 0.
    """
    if x.device.type != "cpu" or hasattr(cell.weight_ih_l0, "full_tensor"):  # shards are gathered by the cell's call
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        told, _ = cell(packed)
        return pad_packed_sequence(told, batch_first=True, total_length=x.shape[1])[0]
    steps = torch.arange(x.shape[1])
    turned = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)[..., None]  # its own inverse
    ahead = _one_way(cell, x, "")
    behind = _one_way(cell, x.gather(1, turned.expand_as(x)), "_reverse")
    both = torch.cat([ahead, behind.gather(1, turned.expand_as(behind))], 2)
    return both * (steps < lengths[:, None])[..., None]


def _one_way(cell: nn.LSTM | nn.GRU, x: Tensor, direction: str) -> Tensor:
    """(N, U, F) -> (N, U, H)."""
    weights = [getattr(cell, f"{name}_l0{direction}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    start = x.new_zeros(1, len(x), cell.hidden_size)
    if isinstance(cell, nn.LSTM):
        told: Tensor = torch.lstm(x, (start, start), weights, True, 1, 0.0, cell.training, False, True)[0]
    else:
        told = torch.gru(x, start, weights, True, 1, 0.0, cell.training, False, True)[0]
    return told
