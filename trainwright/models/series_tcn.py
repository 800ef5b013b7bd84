"""A temporal convolutional network over series: each block looks twice as far back as the one below.

Letters in shapes: N windows, T steps of context, L steps to forecast, V series, Q numbers told for each step,
K numbers known ahead, P numbers beside the series that are known of the past.
"""

from __future__ import annotations

from typing import Annotated, final

from pydantic import Field
from torch import Tensor, nn

from trainwright.core.kinds import models
from trainwright.models.activations import dense
from trainwright.models.causal import CausalBlock
from trainwright.models.effects import effect_of, joined, parted

Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


@models.add("series_tcn")
@final
class SeriesTCN(nn.Module):
    """Causal convolutions over all series, relative to their last numbers; what they say of the last step tells what
    follows.

    It sees 1 + 2 (window - 1) (2^levels - 1) steps.

    Args:
        context: steps that are known; given by the data.
        horizon: steps to forecast; given by the data.
        variables: series; given by the data.
        quantiles: numbers told for each step; given by the data.
        known: numbers known ahead, which are seen, and whose linear effect is added; given by the data.
        past: numbers beside the series that are known of the past; given by the data.
        channels: of each block.
        levels: blocks of two convolutions; the windows of block i reach over 2^i steps at a time.
        window: steps that a convolution sees.
        dropout: share of what each convolution says, silenced in training.

    Source: Bai, Kolter & Koltun 2018, "An empirical evaluation of generic convolutional and recurrent networks for
    sequence modeling".
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
        channels: Size = 32,
        levels: Annotated[int, Field(ge=1, le=12)] = 5,
        window: Annotated[int, Field(ge=2)] = 3,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.told = (horizon, variables, quantiles)
        self.effect = effect_of(known, variables)
        inputs = variables + known + past
        blocks = [CausalBlock(channels if i else inputs, channels, window, 2**i, dropout) for i in range(levels)]
        self.blocks = nn.Sequential(*blocks)
        self.head = dense(channels, horizon * variables * quantiles, None)

    def forward(self, context: Tensor, known: Tensor | None = None, past: Tensor | None = None) -> Tensor:
        """(N, T, V), (N, T + L, K) and (N, T, P) -> (N, L, V, Q)."""
        context, added = parted(self.effect, context, known)
        last = context[:, -1:]
        seen = joined(context - last, known, past)
        states = self.blocks(seen.transpose(1, 2))[..., -1]
        return self.head(states).reshape(-1, *self.told) + last[..., None] + added  # type: ignore[no-any-return]
