"""A convolutional network for texts.

Letters in shapes: N texts, T pieces, W width, F filters.
"""

from __future__ import annotations

from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.models.activations import dense
from trainwright.models.dropout import Dropout
from trainwright.models.pooling import Pieces, Spelling, real_of, together

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


@models.add("text_cnn", default_for="text_classification")
@final
class TextCNN(nn.Module):
    """Windows of several pieces are looked for anywhere in the text, beside the sum of all pieces' vectors.

    Each filter says how much the window that fits it best fits. With the ``bag`` alone, no windows at all
    (``windows = []``), the order of words says nothing; without it, this is the network of Kim.

    Args:
        vocab: different pieces; given by the data.
        padding: the number that fills batches; given by the data.
        outputs: numbers that come out; given by the data.
        letters: groups of letters that are told apart, 0 for none; given by the data.
        width: numbers that tell a piece.
        windows: pieces that a filter sees, for each kind of filter.
        filters: of each kind.
        bag: whether the sum of all pieces' vectors, whatever their order, goes to the outputs as well.
        embedding_dropout: share of the numbers of the pieces silenced in training.
        spelling: numbers that tell the letters of a text, where there are any.
        dropout: share of what goes to the outputs silenced in training.

    Source: Kim 2014, "Convolutional neural networks for sentence classification"; Joulin et al. 2017, "Bag of tricks
    for efficient text classification", for the bag.
    """

    def __init__(
        self,
        *,
        vocab: Size,
        padding: Annotated[int, Field(ge=0)],
        outputs: Size,
        letters: Annotated[int, Field(ge=0)],
        width: Size = 64,
        windows: tuple[Size, ...] = (2, 3),
        filters: Size = 64,
        bag: bool = True,
        embedding_dropout: Share = 0.3,
        spelling: Size = 32,
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        if not windows and not bag:
            raise UserError("model.windows", "no windows and no bag leave nothing of the text", "write bag = true")
        self.pieces = Pieces(vocab, width, padding, embedding_dropout)
        self.bag, self.longest = bag, max(windows, default=1)
        self.filters = nn.ModuleList(nn.Conv1d(width, filters, window) for window in windows)
        for conv in self.filters.children():
            assert isinstance(conv, nn.Conv1d)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        self.spelling = Spelling(letters, spelling)
        self.dropout = Dropout(dropout)
        self.head = dense(len(windows) * filters + (width if bag else 0) + self.spelling.width, outputs, None)

    def forward(self, tokens: Tensor, lengths: Tensor, letters: Tensor | None = None) -> Tensor:
        """(N, T) pieces, of which (N,) are real, and (N, G) groups of letters -> (N, outputs)."""
        x = self.pieces(tokens)
        real = real_of(tokens, lengths).unsqueeze(2)
        parts = [together((x * real).sum(1), lengths.unsqueeze(1))] if self.bag else []
        if len(self.filters):
            # nothing before the text and behind it, so that words at its ends are in as many windows as others
            wide = nn.functional.pad(x.transpose(1, 2), (self.longest - 1, self.longest - 1))
            parts += [self._best(conv, wide, lengths) for conv in self.filters]
        return self.head(self.dropout(self.spelling.beside(torch.cat(parts, 1), letters)))  # type: ignore[no-any-return]

    def _best(self, conv: nn.Module, wide: Tensor, lengths: Tensor) -> Tensor:
        """(N, W, T + 2·(longest - 1)) -> (N, F) where each filter fits best, at a window with a real piece in it."""
        fits = conv(wide).relu()
        window = wide.shape[2] - fits.shape[2] + 1
        place = torch.arange(fits.shape[2], device=wide.device)
        there = (place > self.longest - 1 - window) & (place < self.longest - 1 + lengths.unsqueeze(1))
        return fits.masked_fill(~there.unsqueeze(1), 0.0).amax(2)  # type: ignore[no-any-return]
