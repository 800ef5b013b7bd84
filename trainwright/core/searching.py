"""Writing a sequence for given inputs until it ends: greedily, or by beam search.

Letters in shapes: N inputs, n of them that are still written for, B beams, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainwright.core.model import Cache, TokenModel

_FEWER = 0.75  # share of the rows that are left, from which on it is worth copying a cache to carry no others


@dataclass(frozen=True, slots=True)
class Marks:
    """The tokens that frame a sequence, and those that are never written."""

    begin: int
    end: int
    padding: int  # behind an end
    never: Sequence[int] = ()


@dataclass(slots=True)
class Found:
    """What was written."""

    tokens: Tensor  # (N, T) the end among them, where it was reached; padding behind
    lengths: Tensor  # (N,)
    nats: Tensor  # (N,) what each sequence takes, over all its tokens


@torch.no_grad()
def greedy(model: TokenModel, inputs: Mapping[str, Tensor], limit: Tensor, marks: Marks) -> Found:
    """The likeliest token each time, up to the end or to the limit.

    Args:
        model: in evaluation mode.
        inputs: what the model is started with, N rows.
        limit: (N,) tokens of each sequence at most, its end among them; at least 1.
        marks: of the tokens.
    """
    count, longest = len(limit), _longest(limit)
    tokens = torch.full((count, longest), marks.padding, device=limit.device)
    nats = torch.zeros(count, longest, device=limit.device)
    rows = torch.arange(count, device=limit.device)
    going, newest = torch.ones_like(rows, dtype=torch.bool), torch.full_like(rows, marks.begin)
    cache = model.start(**inputs) if count else None
    for step in range(longest):
        shares, cache = _next(model, newest, cache, marks)
        best, newest = shares.max(1)
        tokens[rows, step], nats[rows, step] = newest, -best.to(nats.dtype)
        going &= (newest != marks.end) & (limit[rows] > step + 1)
        left = int(going.sum())  # the wait
        if not left:
            break
        if left <= _FEWER * len(rows):
            kept = going.nonzero().flatten()
            rows, newest, going = rows[kept], newest[kept], going[kept]
            cache = model.reorder(cache, kept)
    return _closed(tokens, nats, limit, marks)


@torch.no_grad()
def beam_search(
    model: TokenModel, inputs: Mapping[str, Tensor], limit: Tensor, marks: Marks, beams: int, penalty: float
) -> Found:
    """The best sequence found while keeping the likeliest beginnings.

    Sequences are compared by their log probability / length ** penalty. A search ends where no beginning that is kept
    can become better than the best whole sequence.

    Args:
        model: in evaluation mode.
        inputs: what the model is started with, N rows.
        limit: (N,) tokens of each sequence at most, its end among them; at least 1.
        marks: of the tokens.
        beams: beginnings that are kept for each input.
        penalty: 0 favours short sequences, 1 compares the mean of each token.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks"; Wu et al. 2016, "Google's neural
    machine translation system", eq. 14, for the length, here without the constants.
    """
    search = _Search(limit, marks, beams, penalty)
    count = len(limit)
    if not count:
        return search.found
    rows = torch.arange(count, device=limit.device)
    newest = torch.full((count * beams,), marks.begin, device=limit.device)
    cache = model.reorder(model.start(**inputs), rows.repeat_interleave(beams))
    for step in range(_longest(limit)):
        shares, cache = _next(model, newest, cache, marks)
        picked, newest = search.step(shares, step)
        if not len(picked):
            break
        cache = model.reorder(cache, picked)
    return _cut(search.found)


class _Search:
    """Beginnings of the sequences that may still become better, and the best whole ones."""

    def __init__(self, limit: Tensor, marks: Marks, beams: int, penalty: float) -> None:
        self.limit, self.marks, self.beams, self.penalty = limit, marks, beams, penalty
        count, longest, device = len(limit), _longest(limit), limit.device
        tokens = torch.full((count, longest), marks.padding, device=device)
        self.found = Found(tokens, torch.zeros_like(limit), torch.full((count,), torch.nan, device=device))
        self.worth = torch.full((count,), -torch.inf, dtype=torch.float64, device=device)  # of the best
        self.rows = torch.arange(count, device=device)  # (n,)
        self.begun = torch.full((count, beams, longest), marks.padding, device=device)
        self.score = torch.full((count, beams), -torch.inf, dtype=torch.float64, device=device)
        self.score[:, 0] = 0.0  # all beams begin alike; only one may go on

    def step(self, shares: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """(n · B, V) log probabilities -> which rows of them go on, and with which tokens."""
        total = self.score[..., None] + shares.view(len(self.rows), self.beams, -1)
        self._end(total[..., self.marks.end], step)
        total[..., self.marks.end] = -torch.inf
        self.score, at = total.flatten(1).topk(self.beams, dim=1)
        beam, token = at // total.shape[2], at % total.shape[2]
        self.begun = self.begun.gather(1, beam[..., None].expand_as(self.begun))
        self.begun[..., step] = token
        limit = self.limit[self.rows]
        may = self.score[:, 0] / limit**self.penalty > self.worth[self.rows]  # more tokens only take more nats
        going = ((limit > step + 1) & may).nonzero().flatten()  # the wait
        self.rows, self.score, self.begun = self.rows[going], self.score[going], self.begun[going]
        return (going[:, None] * self.beams + beam[going]).flatten(), token[going].flatten()

    def _end(self, score: Tensor, step: int) -> None:
        """(n, B) what each beginning is worth if it ends here."""
        best, beam = score.max(1)
        worth = best / (step + 1) ** self.penalty
        better = (worth > self.worth[self.rows]).nonzero().flatten()  # the wait
        rows = self.rows[better]
        self.found.tokens[rows, :step] = self.begun[better, beam[better], :step]
        self.found.tokens[rows, step] = self.marks.end
        self.found.lengths[rows], self.worth[rows] = step + 1, worth[better]
        self.found.nats[rows] = -best[better].to(self.found.nats.dtype)


def _longest(limit: Tensor) -> int:
    return int(limit.max()) if len(limit) else 0  # the wait


def _next(model: TokenModel, newest: Tensor, cache: Cache, marks: Marks) -> tuple[Tensor, Cache]:
    """(N, V) log probabilities of the next tokens, in float32 at least."""
    logits, cache = model.step(newest, cache)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    banned = torch.tensor([marks.padding, marks.begin, *marks.never], device=logits.device)
    return logits.index_fill(1, banned, -torch.inf).log_softmax(1), cache


def _closed(tokens: Tensor, nats: Tensor, limit: Tensor, marks: Marks) -> Found:
    """Each sequence up to its first end, or its limit; what was written behind is taken back."""
    ends = tokens == marks.end
    first = torch.where(ends.any(1), ends.int().argmax(1) + 1, limit) if tokens.shape[1] else limit
    behind = torch.arange(tokens.shape[1], device=tokens.device) >= first[:, None]
    return _cut(Found(tokens.masked_fill(behind, marks.padding), first, nats.masked_fill(behind, 0.0).sum(1)))


def _cut(found: Found) -> Found:
    """Without columns of padding alone."""
    return Found(found.tokens[:, : _longest(found.lengths)], found.lengths, found.nats)
