"""A recurrent network that reads all series together and tells the whole horizon at once.

Letters in shapes: N windows, T steps of context, L steps to forecast, V series, Q numbers told for each step,
K numbers known ahead, P numbers beside the series that are known of the past.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.kinds import models
from trainwright.models.activations import dense
from trainwright.models.cells import begin
from trainwright.models.dropout import Dropout
from trainwright.models.effects import effect_of, joined, parted

Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
_CELLS = {"simple": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@models.add("series_rnn")
@final
class SeriesRNN(nn.Module):
    """Reads the context of all series, relative to their last numbers, step by step; its last state tells what follows.

    Args:
        context: steps that are known; given by the data.
        horizon: steps to forecast; given by the data.
        variables: series; given by the data.
        quantiles: numbers told for each step; given by the data.
        known: numbers known ahead, which are seen, and whose linear effect is added; given by the data.
        past: numbers beside the series that are known of the past; given by the data.
        cell: "lstm", "gru" or "simple".
        units: of each layer.
        layers: one above the other.
        dropout: share of what each layer says, silenced in training.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; Cho et al. 2014, "Learning phrase representations
    using RNN encoder-decoder", for the GRU; Wen et al. 2017, "A multi-horizon quantile recurrent forecaster", for
    telling all steps at once.
    """

    def __init__(
        self,
        *,
        context: Size,
        horizon: Size,
        variables: Size,
        quantiles: Size,
        known: Count = 0,
        past: Count = 0,
        cell: Literal["lstm", "gru", "simple"] = "gru",
        units: Size = 64,
        layers: Size = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.told = (horizon, variables, quantiles)
        self.effect = effect_of(known, variables)
        inputs = variables + known + past
        between = dropout if layers > 1 else 0.0
        self.cells = _CELLS[cell](inputs, units, layers, batch_first=True, dropout=between)
        begin(self.cells)
        self.dropout = Dropout(dropout)
        self.head = dense(units, horizon * variables * quantiles, None)

    def forward(self, context: Tensor, known: Tensor | None = None, past: Tensor | None = None) -> Tensor:
        """(N, T, V), (N, T + L, K) and (N, T, P) -> (N, L, V, Q)."""
        context, added = parted(self.effect, context, known)
        last = context[:, -1:]
        seen = joined(context - last, known, past)
        with torch.autocast(context.device.type, enabled=False):  # torch's cells have no half precision everywhere
            states, _ = self.cells(seen.to(self.head.weight.dtype))
        return self.head(self.dropout(states[:, -1])).reshape(-1, *self.told) + last[..., None] + added  # type: ignore[no-any-return]
