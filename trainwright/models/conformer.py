"""The Conformer: attention sees the whole recording, convolutions its neighbourhood.

Letters in shapes: N recordings, U frames, F bands, W width.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import glu, silu

from trainwright.core.blocks import Blocks
from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import FrameModel
from trainwright.models.activations import begin, dense
from trainwright.models.dropout import Dropout
from trainwright.models.hearing import Shortened, real_frames, shorter
from trainwright.models.rotary import Turns, turns_of
from trainwright.models.transformer import Attention, Form

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


@models.add("conformer", speaks=FrameModel)
@final
class Conformer(nn.Module):
    """Blocks of half a feed-forward part, attention, a convolution over time, and the other half; rotary positions.

    The convolution has a layer norm in place of the paper's batch norm, so that neither padding nor the rest of a batch
    changes what is said of a recording.

    Args:
        bands: of a frame; given by the data.
        outputs: pieces and the blank; given by the data.
        shorten: frames that become one; given by the data.
        width: numbers that a frame is told by.
        depth: blocks.
        heads: that look at different things at once.
        kernel: frames that the convolution sees, an odd number.
        channels: of the convolutions that shorten the time.
        dropout: share of what each part adds silenced in training.

    Source: Gulati et al. 2020, "Conformer: convolution-augmented transformer for speech recognition"; Su et al. 2021,
    "RoFormer", for the positions.
    """

    def __init__(
        self,
        *,
        bands: Size,
        outputs: Size,
        shorten: Literal[1, 2, 4],
        width: Size = 144,
        depth: Size = 4,
        heads: Size = 4,
        kernel: Size = 15,
        channels: Size = 32,
        dropout: Share = 0.1,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise UserError("model.kernel", f"{kernel} is even: no frame lies in its middle", "use an odd kernel")
        self.form = Form(width, heads, bias=True, dropout=dropout)
        self.times = shorten
        self.shortened = Shortened(bands, width, channels, shorten, dropout)
        self.blocks = Blocks(_Block(self.form, kernel) for _ in range(depth))
        self.head = dense(width, outputs, None)

    def lengths(self, lengths: Tensor) -> Tensor:
        """(N,) frames -> (N,) frames that come out."""
        return shorter(lengths, self.times)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, U, F) features and (N,) real frames -> logits (N, U / shorten, outputs) and (N,) how many are real."""
        x, lengths = self.shortened(frames, lengths)
        real = real_frames(x.shape[1], lengths)
        turns = turns_of(torch.arange(x.shape[1], device=x.device), self.form.head, self.form.base, x.dtype)
        for block in self.blocks:
            x = block(x, turns, real)
        return self.head(x), lengths


@final
class _Block(nn.Module):
    def __init__(self, form: Form, kernel: int) -> None:
        super().__init__()
        width = form.width
        self.before, self.behind = _Feed(width), _Feed(width)
        self.attention_norm, self.attention = nn.LayerNorm(width), Attention(form)
        self.near = _Near(width, kernel)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(form.dropout)

    def forward(self, x: Tensor, turns: Turns, real: Tensor) -> Tensor:
        """(N, U, W) -> (N, U, W)."""
        x = x + 0.5 * self.dropout(self.before(x))
        query, key, value = self.attention.project(self.attention_norm(x), turns)
        x = x + self.dropout(self.attention.look(query, key, value, real[:, None, None]))
        x = x + self.dropout(self.near(x, real))
        x = x + 0.5 * self.dropout(self.behind(x))
        return cast(Tensor, self.norm(x))


@final
class _Feed(nn.Module):
    """Each frame by itself, through a layer four times as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = dense(width, 4 * width, "silu"), nn.Linear(4 * width, width)
        begin(self.down, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(N, U, W) -> (N, U, W)."""
        return cast(Tensor, self.down(silu(self.up(self.norm(x)))))


@final
class _Near(nn.Module):
    """A gate, a convolution over time for each number by itself, and a layer that mixes them."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm, self.gate = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.over_time = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.inner, self.mix = nn.LayerNorm(width), nn.Linear(width, width)
        begin(self.gate, 1.0)
        begin(self.mix, 0.5)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """(N, U, W), and (N, U) which frames are real -> (N, U, W)."""
        told = glu(self.gate(self.norm(x)), -1) * real[:, :, None]
        seen = self.over_time(told.transpose(1, 2)).transpose(1, 2)
        return cast(Tensor, self.mix(silu(self.inner(seen))))
