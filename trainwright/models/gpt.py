"""The decoder-only Transformer: a language model that writes token by token.

Letters in shapes: N sequences, T tokens, V vocabulary, W width.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, TypeAlias, TypeVar, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.kinds import models
from trainwright.core.model import TokenModel
from trainwright.models.past import Past
from trainwright.models.piecewise import summed_nats
from trainwright.models.transformer import ActivationName, Embedded, Form, NormName, PositionsName, Stack

Size = Annotated[int, Field(ge=1)]
Auto: TypeAlias = Literal["auto"]
SizeName = Literal[
    "nano", "micro", "mini", "small", "gpt2-124m", "gpt2-355m", "gpt2-774m", "gpt2-1558m"
]  # fmt: skip
T = TypeVar("T")


class _Plan(NamedTuple):
    depth: int
    heads: int
    width: int
    norm: NormName = "layer"
    activation: ActivationName = "gelu"
    positions: PositionsName = "rotary"
    bias: bool = False


_GPT2: tuple[NormName, ActivationName, PositionsName, bool] = ("layer", "gelu", "learned", True)
_PLANS = {  # depth, heads and width of the first three as in Karpathy's minGPT, of the last four as published
    "nano": _Plan(3, 3, 48),
    "micro": _Plan(4, 4, 128),
    "mini": _Plan(6, 6, 192),
    "small": _Plan(6, 6, 384),
    "gpt2-124m": _Plan(12, 12, 768, *_GPT2),
    "gpt2-355m": _Plan(24, 16, 1024, *_GPT2),
    "gpt2-774m": _Plan(36, 20, 1280, *_GPT2),
    "gpt2-1558m": _Plan(48, 25, 1600, *_GPT2),
}


@models.add("gpt", speaks=TokenModel, default_for=("generation", "music_events"))
@final
class GPT(nn.Module):
    """Embedded tokens, causal Transformer blocks with a norm before each part, and the next token's logits.

    A size by name gives depth, heads and width; each can be written all the same. "gpt2-…" are GPT-2 with its learned
    positions, layer norms with biases and GELU; the other sizes have rotary positions and no biases.

    Args:
        vocab: different tokens; given by the data.
        context: tokens of a sequence at most; given by the task.
        size: a name for depth, heads and width.
        depth: blocks; "auto" follows from the size, as do the next ones.
        heads: of each attention.
        width: numbers that a token is told by, a multiple of the heads.
        groups: heads of keys and values, each shared by heads / groups of the queries; "auto" is one for each head.
        hidden: units inside a block's feed-forward part; "auto" is four times the width, or 8/3 of it for "swiglu".
        norm: "layer" or "rms".
        activation: of the feed-forward part: "gelu", "swiglu" (gated), or "relu2" (a squared ReLU).
        positions: "rotary" turns queries and keys by their place; "learned" adds a vector for each place.
        qk_norm: whether queries and keys are brought to one length before they meet.
        bias: whether dense layers and layer norms have biases.
        tied: whether the output layer's weights are those of the embedding.
        dropout: share of the embedded tokens and of what each part of a block adds, silenced in training.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners"; Su et al. 2021 for rotary
    positions; Press & Wolf 2017, "Using the output embedding to improve language models", for tied weights.
    """

    def __init__(
        self,
        *,
        vocab: Size,
        context: Size,
        size: SizeName = "micro",
        depth: Auto | Size = "auto",
        heads: Auto | Size = "auto",
        width: Auto | Size = "auto",
        groups: Auto | Size = "auto",
        hidden: Auto | Size = "auto",
        norm: Auto | NormName = "auto",
        activation: Auto | ActivationName = "auto",
        positions: Auto | PositionsName = "auto",
        qk_norm: bool = False,
        bias: Auto | bool = "auto",
        tied: bool = True,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        plan = _PLANS[size]
        form = Form(
            width=_or(width, plan.width),
            heads=_or(heads, plan.heads),
            groups=_or(groups, 0),
            hidden=_or(hidden, 0),
            norm=_or(norm, plan.norm),
            activation=_or(activation, plan.activation),
            positions=_or(positions, plan.positions),
            qk_norm=qk_norm,
            bias=_or(bias, plan.bias),
            dropout=dropout,
        )
        self.context = context
        self.embed = Embedded(vocab, form, context)
        self.stack = Stack(form, _or(depth, plan.depth), causal=True)
        self.head = nn.Linear(form.width, vocab, bias=False)
        if tied:
            self.head.weight = self.embed.tokens.weight
        else:
            nn.init.normal_(self.head.weight, std=form.std)

    def forward(
        self, tokens: Tensor, *, truth: Tensor | None = None, nothing: int = -1
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(N, T) ids -> (N, T, V) logits of what follows each; with ``truth`` (N, T) its nats, as `NatsModel` says."""
        x = self.stack(self.embed(tokens))
        if truth is None:
            return self.head(x)  # type: ignore[no-any-return]
        return summed_nats(x.flatten(0, 1), self.head.weight, truth.flatten(), nothing)

    @property
    def tells_nats(self) -> bool:
        """While its output layer is the one it was made with: another may have a bias, or compute something else."""
        return type(self.head) is nn.Linear and self.head.bias is None

    def start(self, *, tokens: Tensor, lengths: Tensor) -> Past:
        """What is remembered of prompts (N, T), padded behind, with (N,) ``lengths``; T may be 0."""
        return self.stack.start(self.embed(tokens), lengths)

    @torch.inference_mode()  # a step is 70 small operations: a seventh of its time went into what only gradients need
    def step(self, token: Tensor, cache: Past) -> tuple[Tensor, Past]:
        """(N,) the newest tokens -> (N, V) logits of the next, and the same cache, which now knows them."""
        x = self.embed(token[:, None], cache.places)
        return self.head(self.stack.step(x, cache))[:, 0], cache

    def reorder(self, cache: Past, rows: Tensor) -> Past:
        """Another cache, of the sequences ``rows`` (M,)."""
        return cache.picked(rows)


def _or(given: Auto | T, usual: T) -> T:
    return usual if given == "auto" else given
