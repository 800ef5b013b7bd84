"""Texts as vectors: pieces embedded, and what is real in a padded batch put together.

Letters in shapes: N texts, T pieces, W width.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, cast, final

import torch
from torch import Tensor, nn

from trainwright.models.dropout import Dropout

Pool: TypeAlias = Literal["mean", "max", "mean_max"]


@final
class Pieces(nn.Module):
    """Piece numbers to vectors; padding is 0 and stays so.

    Args:
        vocab: different pieces.
        width: of a vector.
        padding: the number that fills batches.
        dropout: share of the numbers silenced in training.
    """

    def __init__(self, vocab: int, width: int, padding: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab, width, padding_idx=padding)
        self.dropout = Dropout(dropout)
        with torch.no_grad():
            self.table.weight.normal_(std=0.1)  # small: a rare word's first vector is noise that stays
            self.table.weight[padding] = 0.0

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) -> (N, T, W)."""
        return cast(Tensor, self.dropout(self.table(tokens)))


@final
class Spelling(nn.Module):
    """What the groups of letters of a text say together, however long it is.

    Args:
        groups: that are told apart; 0 for none at all.
        width: of the vector.
    """

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.width = width if groups else 0
        self.table = nn.EmbeddingBag(groups + 1, width, mode="sum", padding_idx=0) if groups else None
        if self.table is not None:
            with torch.no_grad():
                self.table.weight.normal_(std=0.02)
                self.table.weight[0] = 0.0

    def beside(self, told: Tensor, letters: Tensor | None) -> Tensor:
        """(N, F) -> (N, F + width) with what (N, G) groups, of which 0 is padding, say."""
        if self.table is None or letters is None:
            return told
        return torch.cat([told, together(self.table(letters), (letters != 0).sum(1, keepdim=True))], 1)


def together(x: Tensor, count: Tensor) -> Tensor:
    """(N, W) sums over (N, 1) pieces, divided by the root of their number: they grow so where pieces do not agree."""
    return x / count.clamp_min(1).to(x.dtype).sqrt()


def real_of(tokens: Tensor, lengths: Tensor) -> Tensor:
    """(N, T) which pieces are no padding."""
    return torch.arange(tokens.shape[1], device=tokens.device) < lengths.unsqueeze(1)


def pooled(x: Tensor, real: Tensor, how: Pool) -> Tensor:
    """(N, T, W) -> (N, W), twice as wide for both: the mean, or the largest number, over the real pieces."""
    parts = []
    if how != "max":
        parts.append((x * real.unsqueeze(2)).sum(1) / real.sum(1, keepdim=True))
    if how != "mean":
        parts.append(x.masked_fill(~real.unsqueeze(2), float("-inf")).amax(1))
    return torch.cat(parts, 1)
