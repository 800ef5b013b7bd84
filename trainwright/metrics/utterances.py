"""Simple recognisers to hold a network against: the usual transcript, and that of the recording most alike.

Letters in shapes: N recordings, M that are remembered, U frames, F bands, L pieces.
"""

from __future__ import annotations

import time
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from trainwright.core.batch import Batch
from trainwright.core.rows import Encoded, Ragged
from trainwright.core.task import Outputs, Processor, TooSlowError
from trainwright.metrics.words import edits

_LOOKED_AT = 48  # transcripts that are compared with each other
_PIECES = 16  # stretches of time that a recording is remembered by
_MOST = 5_000  # recordings that are remembered
_ROWS = 32  # recordings read at once


@final
class Constant:
    """Says the same of every recording.

    Args:
        tokens: (L,).
    """

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def __call__(self, batch: Batch) -> Outputs:
        """``tokens`` (N, L) and their ``lengths`` (N,)."""
        count = len(batch.ids)
        return {"tokens": self.tokens.expand(count, -1), "lengths": torch.full((count,), len(self.tokens))}


def constant(train: Encoded) -> Constant:
    """The transcript from which the others are fewest edits away, among the first of the training part."""
    rows = train.rows(0, min(len(train), _LOOKED_AT)).ragged("text")
    texts = [piece.tolist() for piece in rows.values.split(rows.lengths.tolist())]
    far = [sum(edits(a, b) for b in texts) for a in texts]
    return Constant(torch.tensor(texts[far.index(min(far))]))


@final
class Memory:
    """Says what was said in the training recording that sounds most alike.

    Args:
        sounds: (M, 16 F) of length 1.
        texts: (M,) sequences.
    """

    def __init__(self, sounds: Tensor, texts: Ragged) -> None:
        self.sounds, self.tokens, self.lengths = sounds, texts.padded().long(), texts.lengths

    def __call__(self, batch: Batch) -> Outputs:
        """``tokens`` (N, L) and their ``lengths`` (N,)."""
        nearest = (_sound(batch) @ self.sounds.T).argmax(1)
        return {"tokens": self.tokens[nearest], "lengths": self.lengths[nearest]}


def memory(train: Encoded, processor: Processor, seconds: float) -> Memory:
    """A memory of the first training recordings. `TooSlowError` past the time allowed."""
    began, sounds, texts = time.perf_counter(), [], []
    for start in range(0, min(len(train), _MOST), _ROWS):
        rows = train.rows(start, min(start + _ROWS, len(train), _MOST))
        sounds.append(_sound(processor.batch(rows, None)))
        texts.append(rows.ragged("text"))
        if start and time.perf_counter() - began > max(10.0, seconds):
            raise TooSlowError(f"listening to {len(train):,} recordings takes too long")
    text = Ragged(torch.cat([t.values for t in texts]), torch.cat([t.lengths for t in texts]))
    return Memory(torch.cat(sounds), text)


def _sound(batch: Batch) -> Tensor:
    """(N, 16 F) float64 the mean features of each of sixteen stretches of time, of length 1."""
    frames, lengths = batch.inputs["frames"].double(), batch.inputs["lengths"]
    parts = []
    for k in range(_PIECES):
        first = lengths * k // _PIECES
        last = torch.maximum(lengths * (k + 1) // _PIECES, first + 1)
        at = torch.arange(frames.shape[1])
        there = ((at >= first[:, None]) & (at < last[:, None])).double()
        parts.append(torch.einsum("nuf,nu->nf", frames, there) / (last - first)[:, None])
    return normalize(torch.cat(parts, 1), dim=1)
