"""The translation memory: what was written for the most similar text that was read in training."""

from __future__ import annotations

import time
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.rows import Encoded, Ragged
from trainwright.core.task import Outputs, TooSlowError
from trainwright.metrics.bag import counted, weighed
from trainwright.metrics.language import ROWS

_MOST = 50_000  # pairs that are remembered
_ASKED = 32  # sources whose similarity to all of them is held at once: they share a piece with most


@final
class Memory:
    """Answers with a target of the training part.

    Args:
        features: (M, V) sparse, of the sources; rows have length 1.
        idf: (V,) how rare pieces are.
        targets: (M,) sequences.
    """

    def __init__(self, features: Any, idf: Tensor, targets: Ragged) -> None:
        self.features, self.idf = features, idf
        self.targets = targets.padded()
        self.lengths = targets.lengths

    def __call__(self, batch: Batch) -> Outputs:
        """``tokens`` (N, T) and their ``lengths`` (N,)."""
        tokens, lengths = batch.inputs["source"], batch.inputs["lengths"]
        real = torch.arange(tokens.shape[1]) < lengths[:, None]
        asked = weighed(Ragged(tokens[real], lengths), self.idf)
        starts = range(0, asked.shape[0], _ASKED)
        found = [np.asarray((asked[i : i + _ASKED] @ self.features.T).argmax(1)).ravel() for i in starts]
        nearest = torch.from_numpy(np.concatenate(found).astype(np.int64))
        return {"tokens": self.targets[nearest].long(), "lengths": self.lengths[nearest]}


def fitted(train: Encoded, source: str, target: str, vocab: int, seconds: float) -> Memory:
    """A memory of the first pairs of the training part. `TooSlowError` past the time allowed."""
    began, sources, targets = time.perf_counter(), [], []
    for start in range(0, min(len(train), _MOST), ROWS):
        rows = train.rows(start, min(start + ROWS, len(train), _MOST))
        sources.append(rows.ragged(source))
        targets.append(rows.ragged(target))
        if start and time.perf_counter() - began > max(10.0, seconds):
            raise TooSlowError(f"reading {len(train):,} pairs takes too long")
    read, written = _joined(sources), _joined(targets)
    counts = counted(read, vocab)
    met = np.bincount(counts.indices, minlength=vocab)
    idf = torch.from_numpy(np.log((1 + counts.shape[0]) / (1 + met)))
    return Memory(weighed(read, idf), idf, written)


def _joined(parts: list[Ragged]) -> Ragged:
    return Ragged(torch.cat([p.values for p in parts]), torch.cat([p.lengths for p in parts]))
