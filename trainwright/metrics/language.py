"""How well tokens are told, and simple language models to hold a network against: how often tokens are, and how often
one follows another.

Letters in shapes: N windows, T tokens, P pairs, V vocabulary.
"""

from __future__ import annotations

import time
from typing import Any, final

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.rows import Encoded
from trainwright.core.task import Metric, Outputs, Processor, TooSlowError
from trainwright.metrics.tallies import ratios, wide

ROWS = 1024  # samples read at once
_TRUST = 1.0  # a token that was followed so often is told half by what followed it, half by how often tokens are


def nats_of(outputs: Outputs, batch: Batch) -> Tensor:
    """(N, 2) nats and tokens of each sample; NaN for a model that does not tell them."""
    if "nats" not in outputs:
        return torch.full((batch.size, 2), torch.nan, dtype=torch.float64)
    return wide(torch.stack([outputs["nats"], outputs["tokens"]], 1))


def perplexity() -> Metric:
    """The exponential of the nats per token; infinite where a float would overflow."""
    return Metric(nats_of, _perplexity, "lower", many=_perplexities)


def _perplexity(total: Tensor) -> float:
    return float(_perplexities(total[None], total.new_ones(1, 1)))


def _perplexities(rows: Tensor, weights: Tensor) -> Tensor:
    return ratios(rows, weights).exp()


def read_pairs(train: Encoded, processor: Processor, seconds: float) -> tuple[Tensor, Tensor]:
    """Each token of the training part and the one before it, (P,) twice. `TooSlowError` past the time allowed."""
    before, after, began = [], [], time.perf_counter()
    for start in range(0, len(train), ROWS):
        batch = processor.batch(train.rows(start, min(start + ROWS, len(train))), None)
        truth = batch.targets["tokens"]
        before.append(batch.inputs["tokens"][truth >= 0])
        after.append(truth[truth >= 0])
        if start and time.perf_counter() - began > max(10.0, seconds):
            raise TooSlowError(f"reading {len(train):,} windows takes too long")
    return torch.cat(before), torch.cat(after)


def unigram(pairs: tuple[Tensor, Tensor], vocab: int) -> Counted:
    """Each token by its frequency, one added to every count."""
    return Counted(None, _frequencies(pairs[1], vocab))


def bigram(pairs: tuple[Tensor, Tensor], vocab: int) -> Counted:
    """Each token by what followed the one before it, mixed with its frequency, the less the rarer that one is.

    Source: MacKay & Bauman Peto 1995, "A hierarchical Dirichlet language model".
    """
    keys, counts = (pairs[0] * vocab + pairs[1]).unique(return_counts=True)
    return Counted((keys, counts, torch.bincount(pairs[0], minlength=vocab)), _frequencies(pairs[1], vocab))


@final
class Counted:
    """A model that was counted; it says how many nats the tokens of each window take.

    Args:
        followed: which pairs there are (their numbers, before · V + after, ascending), how often, and how often each
            token has one behind it; None for a model that does not look back.
        shares: (V,) of each token.
    """

    def __init__(self, followed: tuple[Tensor, Tensor, Tensor] | None, shares: Tensor) -> None:
        self.followed, self.shares = followed, shares

    def __call__(self, batch: Batch) -> Outputs:
        """``nats`` and ``tokens`` of each window, (N,)."""
        truth = batch.targets["tokens"]
        there = truth >= 0
        chance = self.chance(batch.inputs["tokens"], truth.clamp_min(0))
        nats = torch.where(there, -chance.log(), 0.0)
        return {"nats": nats.sum(1), "tokens": there.sum(1).double()}

    def chance(self, before: Tensor, after: Tensor) -> Tensor:
        """The probability of each token (…) behind another (…)."""
        alone = self.shares[after]
        if self.followed is None:
            return alone
        keys, counts, all_counts = self.followed
        wanted = before * len(self.shares) + after
        at = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        seen = torch.where(keys[at] == wanted, counts[at], 0)
        mixed: Any = (seen + _TRUST * alone) / (all_counts[before] + _TRUST)
        return mixed  # type: ignore[no-any-return]


def _frequencies(tokens: Tensor, vocab: int) -> Tensor:
    counts = torch.bincount(tokens, minlength=vocab).double() + 1
    return counts / counts.sum()
