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
