"""The Transformer as it was published: an encoder reads the source, a decoder looks at it and writes the target.

Letters in shapes: N pairs, S source and T target tokens, V target vocabulary, W width.
"""

from __future__ import annotations

from typing import Annotated, final

from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import TokenModel
from trainwright.models.past import Past
from trainwright.models.pooling import real_of
from trainwright.models.transformer import ActivationName, Embedded, Form, NormName, PositionsName, Stack

Size = Annotated[int, Field(ge=1)]


@models.add("transformer", speaks=TokenModel, default_for="translation")
@final
class Transformer(nn.Module):
    """An encoder over the source, and a causal decoder with attention to what comes out of it; norms before each part.

    Args:
        vocab: different target tokens; given by the data.
        source_vocab: different source tokens; given by the data.
        context: tokens of a sequence at most; given by the task.
        shared: whether both languages have one vocabulary, and so one embedding; given by the task.
        width: numbers that a token is told by, a multiple of the heads.
        depth: blocks of the encoder.
        decoder_depth: blocks of the decoder; 0 is as many as the encoder has.
        heads: of each attention.
        groups: heads of keys and values; 0 is as many as heads.
        hidden: units of the feed-forward parts; 0 is the usual multiple of the width.
        norm: "layer" or "rms".
        activation: "gelu", "swiglu" or "relu2" (the square of ReLU).
        positions: "rotary" turns queries and keys by their place; "learned" adds a vector for each place.
        qk_norm: whether queries and keys are brought to one length before they meet.
        bias: whether dense layers and layer norms have biases.
        tied: whether the output layer's weights are those of the target's embedding.
        dropout: share of the embedded tokens and of what each part of a block adds, silenced in training.

    Source: Vaswani et al. 2017, "Attention is all you need"; Xiong et al. 2020 for the place of the norms; Press & Wolf
    2017, "Using the output embedding to improve language models", for tied weights; Su et al. 2021, "RoFormer", for
    rotary positions.
    """

    def __init__(
        self,
        *,
        vocab: Size,
        source_vocab: Size,
        context: Size,
        shared: bool,
        width: Size = 256,
        depth: Size = 3,
        decoder_depth: Annotated[int, Field(ge=0)] = 0,
        heads: Size = 4,
        groups: Annotated[int, Field(ge=0)] = 0,
        hidden: Annotated[int, Field(ge=0)] = 0,
        norm: NormName = "layer",
        activation: ActivationName = "gelu",
        positions: PositionsName = "rotary",
        qk_norm: bool = False,
        bias: bool = False,
        tied: bool = True,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        if shared and vocab != source_vocab:
            what = f"is shared, but there are {source_vocab:,} source and {vocab:,} target tokens"
            raise UserError("model.vocab", what, "give both the same number, or shared = false")
        form = Form(
            width,
            heads,
            groups,
            hidden,
            norm=norm,
            activation=activation,
            positions=positions,
            qk_norm=qk_norm,
            bias=bias,
            dropout=dropout,
        )
        self.context = context
        self.read = Embedded(source_vocab, form, context)
        self.encoder = Stack(form, depth, causal=False)
        self.write = Embedded(vocab, form, context)
        self.decoder = Stack(form, decoder_depth or depth, causal=True, crossed=True)
        self.head = nn.Linear(width, vocab, bias=False)
        if shared:
            self.read.tokens.weight = self.write.tokens.weight
        if tied:
            self.head.weight = self.write.tokens.weight
        else:
            nn.init.normal_(self.head.weight, std=form.std)

    def forward(self, source: Tensor, lengths: Tensor, written: Tensor) -> Tensor:
        """(N, S) source tokens, of which (N,) are real, and (N, T) before each target -> (N, T, V) logits."""
        real = real_of(source, lengths)
        memory = self.encoder(self.read(source), real)
        return self.head(self.decoder(self.write(written), None, memory, real))  # type: ignore[no-any-return]

    def start(self, *, source: Tensor, lengths: Tensor) -> Past:
        """What is remembered of (N, S) source tokens, of which (N,) are real, before anything is written."""
        real = real_of(source, lengths)
        memory = self.encoder(self.read(source), real)
        return self.decoder.start(memory[:, :0], lengths.new_zeros(len(source)), memory, real)

    def step(self, token: Tensor, cache: Past) -> tuple[Tensor, Past]:
        """(N,) the newest target tokens -> (N, V) logits of the next, and the same cache, which now knows them."""
        x = self.write(token[:, None], cache.places)
        return self.head(self.decoder.step(x, cache))[:, 0], cache

    def reorder(self, cache: Past, rows: Tensor) -> Past:
        """Another cache, of the sequences ``rows`` (M,)."""
        return cache.picked(rows)
