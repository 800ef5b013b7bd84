"""A Transformer over patches of series, each series by itself.

Letters in shapes: N windows, T steps of context, L steps to forecast, V series, Q numbers told for each step,
P patches, W width, K numbers known ahead.
"""

from __future__ import annotations

from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.models.activations import dense
from trainwright.models.dropout import Dropout
from trainwright.models.effects import effect_of, parted
from trainwright.models.transformer import Form, Stack

Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@models.add("patchtst")
@final
class PatchTST(nn.Module):
    """Patches of a series look at one another; what comes out, flattened, tells the horizon. All series share weights.

    Each window of a series is brought to mean 0 and deviation 1, and what is told is brought back. Unlike in the paper,
    norms are layer norms before each part of a block, so that a step does not depend on how its batch is cut. None
    stands at the end: patches keep their size up to the head, and the network begins as a linear map of them.

    Args:
        context: steps that are known; given by the data.
        horizon: steps to forecast; given by the data.
        variables: series; given by the data.
        quantiles: numbers told for each step; given by the data.
        known: numbers known ahead, whose linear effect is taken out and added again; given by the data.
        patch: steps of a patch.
        stride: steps from a patch to the next; the last number is repeated so often behind the context.
        width: numbers that tell a patch.
        depth: blocks one above the other.
        heads: that look at different things at once.
        hidden: units of the feed-forward part.
        dropout: share silenced in training of what every part of a block adds, and of the patches.
        head_dropout: share of what the horizon is told from, silenced in training.

    Source: Nie, Nguyen, Sinthong & Kalagnanam 2023, "A time series is worth 64 words"; Kim et al. 2022, "Reversible
    instance normalization for accurate time-series forecasting against distribution shift".
    """

    def __init__(
        self,
        *,
        context: Size,
        horizon: Size,
        variables: Size,
        quantiles: Size,
        known: Count = 0,
        patch: Size = 16,
        stride: Size = 8,
        width: Size = 16,
        depth: Size = 3,
        heads: Size = 4,
        hidden: Size = 128,
        dropout: Share = 0.3,
        head_dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        if patch > context + stride:
            what = f"a patch of {patch} steps is longer than the context of {context}"
            raise UserError("model.patch", what, "write a shorter patch, or a longer task.context")
        self.patch, self.stride, self.quantiles = patch, stride, quantiles
        self.effect = effect_of(known, variables)
        count = (context + stride - patch) // stride + 1
        self.embed = nn.Linear(patch, width)
        nn.init.normal_(self.embed.weight, std=patch**-0.5)  # as large as what it reads: blocks only add to it
        nn.init.zeros_(self.embed.bias)
        self.places = nn.Parameter(torch.empty(count, width).uniform_(-0.02, 0.02))
        self.dropout = Dropout(dropout)
        form = Form(width, heads, hidden=hidden, positions="learned", bias=True, dropout=dropout)
        self.blocks = Stack(form, depth, causal=False, normed=False)
        self.head_dropout = Dropout(head_dropout)
        self.head = dense(count * width, horizon * quantiles, None)

    def forward(self, context: Tensor, known: Tensor | None = None) -> Tensor:
        """(N, T, V) and (N, T + L, K) -> (N, L, V, Q)."""
        context, added = parted(self.effect, context, known)
        mean = context.mean(1, keepdim=True)
        deviation = (context.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        x = ((context - mean) / deviation).transpose(1, 2).flatten(0, 1)  # (N · V, T)
        patches = pad(x[:, None], (0, self.stride), mode="replicate")[:, 0].unfold(1, self.patch, self.stride)
        states = self.blocks(self.dropout(self.embed(patches) + self.places))  # (N · V, P, W)
        told = self.head(self.head_dropout(states.flatten(1)))
        told = told.reshape(len(context), context.shape[2], -1, self.quantiles).transpose(1, 2)
        return told * deviation[..., None] + mean[..., None] + added  # type: ignore[no-any-return]
