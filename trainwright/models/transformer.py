"""The Transformer's blocks, shared by encoders, decoders and encoder-decoders.

Letters in shapes: N sequences, T tokens, S tokens that are looked at, W width, H heads of queries, G heads of keys and
values, D numbers of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu, scaled_dot_product_attention, silu

from trainwright.core.blocks import Blocks
from trainwright.core.errors import UserError
from trainwright.models.dropout import Dropout
from trainwright.models.past import Past
from trainwright.models.rotary import Turns, turned, turns_of

NormName: TypeAlias = Literal["layer", "rms"]
ActivationName: TypeAlias = Literal["gelu", "swiglu", "relu2"]
PositionsName: TypeAlias = Literal["rotary", "learned"]

# Below, plain products take two thirds of the time of torch 2.13's attention on a CPU, forward and backward.
_SHORT, _NARROW = 64, 16


@dataclass(frozen=True, slots=True)
class Form:
    """What all blocks of one network have in common. UserError where heads do not fit."""

    width: int
    heads: int
    groups: int = 0  # heads of keys and values, each shared by heads / groups of the queries; 0: as many as heads
    hidden: int = 0  # units inside the feed-forward part; 0: four times the width, or 8/3 of it for swiglu
    norm: NormName = "layer"
    activation: ActivationName = "gelu"
    positions: PositionsName = "rotary"
    base: float = 10_000.0  # of the rotary angles
    qk_norm: bool = False  # queries and keys have length √D before they meet
    bias: bool = False  # of dense layers and layer norms
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError("model.heads", f"{self.heads} heads do not divide a width of {self.width}")
        if self.heads % self.keys:
            raise UserError("model.groups", f"{self.keys} groups do not divide {self.heads} heads")
        if self.positions == "rotary" and self.head % 2:
            what = f"rotary positions turn pairs, and a head has {self.head} numbers (width / heads)"
            raise UserError("model.heads", what, 'use an even number, or positions = "learned"')

    @property
    def head(self) -> int:
        """Numbers of a head."""
        return self.width // self.heads

    @property
    def keys(self) -> int:
        """Heads of keys and values."""
        return self.groups or self.heads

    @property
    def units(self) -> int:
        """Inside the feed-forward part; of swiglu, which has three matrices, as many as give the same weights."""
        usual = 8 * -(-self.width // 3) if self.activation == "swiglu" else 4 * self.width
        return self.hidden or usual

    @property
    def std(self) -> float:
        """Of initial weights: GPT-2's 0.02 at its width of 768, and as 1/√width at others."""
        return 0.02 * math.sqrt(768 / self.width)


@final
class Stack(nn.Module):
    """Blocks one after the other, and a norm at the end.

    What a block adds begins smaller the more blocks there are, by 1/√(number of additions), so that the sum keeps its
    size whatever the depth.

    Args:
        form: of every block.
        depth: number of blocks.
        causal: whether a token looks only at those before it and at itself.
        crossed: whether each block also looks at a memory, such as an encoder's output.
        normed: whether a norm stands at the end; without it how large a sum has become is told as well.

    Source: Vaswani et al. 2017, "Attention is all you need"; Xiong et al. 2020, "On layer normalization in the
    Transformer architecture", for the norm before each part; Radford et al. 2019 for the initial weights.
    """

    def __init__(self, form: Form, depth: int, *, causal: bool, crossed: bool = False, normed: bool = True) -> None:
        super().__init__()
        self.form, self.causal = form, causal
        self.blocks = Blocks(Block(form, crossed) for _ in range(depth))
        self.norm = norm_of(form) if normed else nn.Identity()
        additions = depth * (3 if crossed else 2)
        for name, weight in self.named_parameters():
            if name.endswith((".out.weight", ".down.weight")):
                nn.init.normal_(weight, std=form.std / math.sqrt(additions))

    def forward(
        self, x: Tensor, real: Tensor | None = None, memory: Tensor | None = None, memory_real: Tensor | None = None
    ) -> Tensor:
        """(N, T, W) -> (N, T, W).

        Args:
            x: embedded tokens.
            real: (N, T) which tokens are no padding; a causal stack with padding behind needs none.
            memory: (N, S, W) what a crossed stack also looks at.
            memory_real: (N, S) which of it is no padding.
        """
        turns = self._turns(torch.arange(x.shape[1], device=x.device), x.dtype)
        mask = None if real is None else self._mask(real)
        memory_mask = None if memory_real is None else memory_real[:, None, None]
        for block in self.blocks:
            x = block(x, turns, mask, self.causal and mask is None, memory, memory_mask)
        return cast(Tensor, self.norm(x))

    def start(
        self,
        x: Tensor,
        lengths: Tensor,
        memory: Tensor | None = None,
        memory_real: Tensor | None = None,
    ) -> Past:
        """What a causal stack remembers of prompts (N, T, W), T = 0 for none, of which (N,) ``lengths`` are real."""
        assert self.causal
        past = Past(lengths, x.shape[1])
        turns = self._turns(torch.arange(x.shape[1], device=x.device), x.dtype)
        for i, block in enumerate(self._blocks()):
            if memory is not None and block.cross is not None:
                past.memories.append(block.cross.keys_and_values(memory))
            if x.shape[1]:
                _, key, value = block.attention.project(block.attention_norm(x), turns)
                past.put_prompt(i, key, value)
                x = block(x, turns, None, True, memory, None if memory_real is None else memory_real[:, None, None])
        past.memory_mask = None if memory_real is None else memory_real[:, None, None]
        return past

    def step(self, x: Tensor, past: Past) -> Tensor:
        """(N, 1, W) one more token for each sequence -> (N, 1, W); ``past`` then knows them."""
        if past.table is None or past.longest >= len(past.table.cos):
            past.table = self._turns(torch.arange(past.room, device=x.device), x.dtype)
        turns = past.turns()
        for i, block in enumerate(self._blocks()):
            x = block.step(x, turns, past, i)
        past.advance()
        return cast(Tensor, self.norm(x))

    def _blocks(self) -> Sequence[Block]:
        return cast("Sequence[Block]", self.blocks)

    def _turns(self, places: Tensor, dtype: torch.dtype) -> Turns | None:
        form = self.form
        return turns_of(places, form.head, form.base, dtype) if form.positions == "rotary" else None

    def _mask(self, real: Tensor) -> Tensor:
        """(N, 1, T or 1, T) what may be looked at; a row of padding looks at itself, as softmax needs something."""
        mask = real[:, None, None]
        if not self.causal:
            return mask
        length = real.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
        return (mask & before) | torch.eye(length, dtype=torch.bool, device=real.device)


@final
class Block(nn.Module):
    """Self-attention, attention to a memory where there is one, and a feed-forward part, each normed before."""

    def __init__(self, form: Form, crossed: bool) -> None:
        super().__init__()
        self.attention_norm, self.attention = norm_of(form), Attention(form)
        self.cross_norm = norm_of(form) if crossed else None
        self.cross = CrossAttention(form) if crossed else None
        self.feed_norm, self.feed = norm_of(form), FeedForward(form)
        self.dropout = Dropout(form.dropout)

    def forward(
        self,
        x: Tensor,
        turns: Turns | None,
        mask: Tensor | None,
        causal: bool,
        memory: Tensor | None,
        memory_mask: Tensor | None,
    ) -> Tensor:
        """(N, T, W) -> (N, T, W)."""
        query, key, value = self.attention.project(self.attention_norm(x), turns)
        x = x + self.dropout(self.attention.look(query, key, value, mask, causal))
        if self.cross is not None and self.cross_norm is not None and memory is not None:
            query = self.cross.queries(self.cross_norm(x))
            x = x + self.dropout(self.cross.look(query, *self.cross.keys_and_values(memory), memory_mask))
        return x + self.dropout(self.feed(self.feed_norm(x)))  # type: ignore[no-any-return]

    def step(self, x: Tensor, turns: Turns | None, past: Past, layer: int) -> Tensor:
        """(N, 1, W) -> (N, 1, W), with what the layer remembers."""
        query, key, value = self.attention.project(self.attention_norm(x), turns)
        key, value = past.with_newest(layer, key, value)
        x = x + self.attention.look(query, key, value, past.mask)
        if self.cross is not None and self.cross_norm is not None:
            query = self.cross.queries(self.cross_norm(x))
            x = x + self.cross.look(query, *past.memories[layer], past.memory_mask)
        return x + self.feed(self.feed_norm(x))  # type: ignore[no-any-return]


@final
class Attention(nn.Module):
    """Each token asks, others answer: heads of queries, and as many or fewer of keys and values.

    Source: Vaswani et al. 2017; Ainslie et al. 2023, "GQA: training generalized multi-query Transformer models from
    multi-head checkpoints"; Henry et al. 2020, "Query-key normalization for Transformers".
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.mix = _dense(form, form.width, form.width + 2 * form.keys * form.head)  # queries, keys, values
        self.out = _dense(form, form.width, form.width)
        self.query_norm = nn.RMSNorm(form.head) if form.qk_norm else None
        self.key_norm = nn.RMSNorm(form.head) if form.qk_norm else None

    def project(self, x: Tensor, turns: Turns | None) -> tuple[Tensor, Tensor, Tensor]:
        """(N, T, W) -> queries (N, H, T, D), keys and values (N, G, T, D)."""
        heads, groups = self.form.heads, self.form.keys
        all_heads = self.mix(x).unflatten(-1, (-1, self.form.head)).transpose(1, 2)
        both, value = all_heads.split((heads + groups, groups), 1)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = both.split((heads, groups), 1)
            both = torch.cat([self.query_norm(query), self.key_norm(key)], 1)
        query, key = (both if turns is None else turned(both, turns)).split((heads, groups), 1)
        return query, key, value

    def look(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """(N, H, T, D) and (N, G, S, D) twice -> (N, T, W); the mask (N, 1, T or 1, S) is true where one may look."""
        return cast(Tensor, self.out(_seen(query, key, value, mask, causal)))


@final
class CrossAttention(nn.Module):
    """The same where those who answer are a memory; what asks and what answers are projected apart."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.ask = _dense(form, form.width, form.width)
        self.tell = _dense(form, form.width, 2 * form.keys * form.head)  # keys, values
        self.out = _dense(form, form.width, form.width)
        self.query_norm = nn.RMSNorm(form.head) if form.qk_norm else None
        self.key_norm = nn.RMSNorm(form.head) if form.qk_norm else None

    def queries(self, x: Tensor) -> Tensor:
        """(N, T, W) -> (N, H, T, D)."""
        query = self.ask(x).unflatten(-1, (-1, self.form.head)).transpose(1, 2)
        return cast(Tensor, query if self.query_norm is None else self.query_norm(query))

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, W) -> (N, G, S, D) twice."""
        both = self.tell(memory).unflatten(-1, (2, self.form.keys, self.form.head))
        key, value = both.permute(2, 0, 3, 1, 4).unbind(0)
        return (key if self.key_norm is None else self.key_norm(key)), value

    def look(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, H, T, D) and (N, G, S, D) twice -> (N, T, W); the mask (N, 1, 1, S) is true where one may look."""
        return cast(Tensor, self.out(_seen(query, key, value, mask, False)))


@final
class FeedForward(nn.Module):
    """Each token by itself, through a wider layer.

    Source: Vaswani et al. 2017; Shazeer 2020, "GLU variants improve Transformer", for swiglu; So et al. 2021, "Primer:
    searching for efficient Transformers for language modeling", for the squared ReLU.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.activation = form.activation
        self.up = _dense(form, form.width, form.units)
        self.gate = _dense(form, form.width, form.units) if form.activation == "swiglu" else None
        self.down = _dense(form, form.units, form.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, W) -> (N, T, W)."""
        inner = self.up(x)
        if self.gate is not None:
            inner = silu(self.gate(x)) * inner
        else:
            inner = gelu(inner) if self.activation == "gelu" else relu(inner).square()
        return cast(Tensor, self.down(inner))


@final
class Embedded(nn.Module):
    """Tokens as vectors, with learned positions where the form has them.

    Args:
        vocab: different tokens.
        form: of the blocks behind.
        context: tokens of a sequence at most; only learned positions need it.
        padding: the id whose vector stays 0; None for none.
    """

    def __init__(self, vocab: int, form: Form, context: int, padding: int | None = None) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, form.width, padding_idx=padding)
        self.places = nn.Embedding(context, form.width) if form.positions == "learned" else None
        self.dropout = Dropout(form.dropout)
        with torch.no_grad():
            self.tokens.weight.normal_(std=form.std)
            if padding is not None:
                self.tokens.weight[padding] = 0.0
            if self.places is not None:
                self.places.weight.normal_(std=form.std)

    def forward(self, tokens: Tensor, places: Tensor | None = None) -> Tensor:
        """(N, T) ids, at (T,) or (N, T) places that count from 0 unless given -> (N, T, W)."""
        x = self.tokens(tokens)
        if self.places is not None:
            places = torch.arange(tokens.shape[1], device=tokens.device) if places is None else places
            x = x + self.places(places)
        return self.dropout(x)  # type: ignore[no-any-return]


def norm_of(form: Form) -> nn.Module:
    """A fresh one. Source: Ba et al. 2016, "Layer normalization"; Zhang & Sennrich 2019, "RMSNorm"."""
    return nn.RMSNorm(form.width, eps=1e-5) if form.norm == "rms" else nn.LayerNorm(form.width, bias=form.bias)


def _dense(form: Form, inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=form.bias)
    nn.init.normal_(layer.weight, std=form.std)
    if form.bias:
        nn.init.zeros_(layer.bias)
    return layer


def _seen(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """(N, H, T, D) and (N, G, S, D) twice -> (N, T, W) what every head sees."""
    times = query.shape[1] // key.shape[1]
    if times > 1:
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    plain = mask is None and not causal and key.device.type == "cpu" and key.shape[3] <= _NARROW
    if plain and key.shape[2] <= _SHORT:  # asked last: in an export with an open length it would bound it
        seen: Tensor = (query * key.shape[3] ** -0.5 @ key.transpose(2, 3)).softmax(3) @ value
    else:
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
    return seen.transpose(1, 2).flatten(2)
