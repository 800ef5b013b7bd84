"""A Transformer that reads a whole text and decides.

Letters in shapes: N texts, T pieces, W width.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor, nn

from trainwright.core.kinds import models
from trainwright.models.activations import dense
from trainwright.models.dropout import Dropout
from trainwright.models.pooling import Pool, Spelling, pooled, real_of
from trainwright.models.transformer import Embedded, Form, Stack

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


@models.add("transformer_encoder")
@final
class TransformerEncoder(nn.Module):
    """Every piece looks at every other, through several blocks; the outputs see the mean of what comes out.

    Args:
        vocab: different pieces; given by the data.
        padding: the number that fills batches; given by the data.
        context: pieces of the longest text; given by the data.
        outputs: numbers that come out; given by the data.
        letters: groups of letters that are told apart, 0 for none; given by the data.
        width: numbers that tell a piece.
        depth: blocks one above the other.
        heads: that look at different things at once.
        groups: heads of keys and values; 0 is as many as heads.
        hidden: units of the feed-forward part; 0 is the usual multiple of the width.
        norm: "layer" or "rms".
        activation: "gelu", "swiglu" or "relu2" (the square of ReLU).
        positions: "rotary" turns queries and keys by their place; "learned" adds a vector for each place.
        qk_norm: whether queries and keys are brought to one length.
        pool: what the outputs see of the pieces: their "mean", their "max", or both.
        spelling: numbers that tell the letters of a text, where there are any.
        dropout: share silenced in training of what every part of a block adds, and of what goes to the outputs.

    Source: Vaswani et al. 2017, "Attention is all you need"; Su et al. 2021, "RoFormer", for rotary positions.
    """

    def __init__(
        self,
        *,
        vocab: Size,
        padding: Annotated[int, Field(ge=0)],
        context: Size,
        outputs: Size,
        letters: Annotated[int, Field(ge=0)],
        width: Size = 128,
        depth: Size = 2,
        heads: Size = 4,
        groups: Annotated[int, Field(ge=0)] = 0,
        hidden: Annotated[int, Field(ge=0)] = 0,
        norm: Literal["layer", "rms"] = "layer",
        activation: Literal["gelu", "swiglu", "relu2"] = "gelu",
        positions: Literal["rotary", "learned"] = "rotary",
        qk_norm: bool = False,
        pool: Pool = "mean",
        spelling: Size = 32,
        dropout: Share = 0.2,
    ) -> None:
        super().__init__()
        form = Form(
            width,
            heads,
            groups,
            hidden,
            norm=norm,
            activation=activation,
            positions=positions,
            qk_norm=qk_norm,
            bias=True,
            dropout=dropout,
        )
        self.pool = pool
        self.embedded = Embedded(vocab, form, context, padding)
        self.blocks = Stack(form, depth, causal=False)
        self.spelling = Spelling(letters, spelling)
        self.dropout = Dropout(dropout)
        self.head = dense(width * (2 if pool == "mean_max" else 1) + self.spelling.width, outputs, None)

    def forward(self, tokens: Tensor, lengths: Tensor, letters: Tensor | None = None) -> Tensor:
        """(N, T) pieces, of which (N,) are real, and (N, G) groups of letters -> (N, outputs)."""
        real = real_of(tokens, lengths)
        states = self.blocks(self.embedded(tokens), real)
        told = self.spelling.beside(pooled(states, real, self.pool), letters)
        return self.head(self.dropout(told))  # type: ignore[no-any-return]
