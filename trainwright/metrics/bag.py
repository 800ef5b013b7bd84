"""The linear baseline of texts: logistic regression on a bag of pieces, weighed by how rare they are."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.rows import Encoded, Ragged

PIECES = 2_000_000  # that it learns from, at most: about ten seconds
CHUNK = 256  # texts that lie together; a few such stretches from all over the part stand for it
_STRENGTH = 3.0  # of what the texts say against small weights; among 1, 3 and 10 the usual best for short texts


class Bag(nn.Module):
    """A weighted sum of pieces: log(1 + count) · log(texts / texts with the piece), of length 1 for each text.

    Args:
        idf: (V,) by piece, 0 for those that do not count.
        weight: (V, C).
        bias: (C,).
        padding: the piece that fills batches.

    Source: Salton & Buckley 1988, "Term-weighting approaches in automatic text retrieval".
    """

    def __init__(self, idf: Tensor, weight: Tensor, bias: Tensor, padding: int) -> None:
        super().__init__()
        self.padding = padding
        for name, tensor in (("idf", idf), ("weight", weight), ("bias", bias)):
            self.register_buffer(name, tensor.double())

    def forward(self, tokens: Tensor, lengths: Tensor, letters: Tensor | None = None) -> Tensor:
        """(N, T) pieces -> (N, C) logits; letters are not read."""
        real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        features = weighed(Ragged(tokens[real], lengths), self.get_buffer("idf"))
        return torch.from_numpy(features @ self.get_buffer("weight").numpy()) + self.get_buffer("bias")


def weighed(texts: Ragged, idf: Tensor) -> Any:
    """(N, V) sparse features of texts."""
    from scipy.sparse import csr_matrix

    counts = counted(texts, len(idf))
    values = np.log1p(counts.data) * idf.numpy()[counts.indices]
    sizes = np.sqrt(np.bincount(_rows(counts), values**2, counts.shape[0]))
    values = values / np.maximum(sizes, 1e-12)[_rows(counts)]
    return csr_matrix((values, counts.indices, counts.indptr), counts.shape)


def counted(texts: Ragged, vocab: int) -> Any:
    """(N, V) sparse: how often each text has each piece."""
    from scipy.sparse import csr_matrix

    ids, lengths = texts.values.long().numpy(), texts.lengths.numpy()
    starts = np.concatenate(([0], np.cumsum(lengths)))
    matrix = csr_matrix((np.ones(len(ids)), ids, starts), (len(lengths), vocab))
    matrix.sum_duplicates()
    return matrix


def fitted(texts: Ragged, y: Tensor, classes: int, vocab: int, padding: int) -> Bag:
    """One for classes (N,) int64, or for several labels (N, L) of 0 and 1: then each label by itself.

    A class that the texts do not have gets half of one text's share.
    """
    counts = counted(texts, vocab)
    n = counts.shape[0]
    idf = torch.from_numpy(np.log((1 + n) / (1 + np.bincount(counts.indices, minlength=vocab))) + 1)
    idf[padding] = 0.0
    features = weighed(texts, idf)
    if y.ndim == 1:
        weight, bias = _logistic(features, y.numpy(), classes)
    else:
        columns = [_logistic(features, y[:, k].long().numpy(), 2) for k in range(classes)]
        weight = torch.stack([w[:, 1] - w[:, 0] for w, _ in columns], 1)
        bias = torch.stack([b[1] - b[0] for _, b in columns])
    return Bag(idf, weight, bias, padding)


def _logistic(features: Any, y: np.ndarray[Any, Any], classes: int) -> tuple[Tensor, Tensor]:
    """(V, C) weights and (C,) biases."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    weight = torch.zeros(features.shape[1], classes, dtype=torch.float64)
    bias = torch.full((classes,), math.log(0.5 / len(y)), dtype=torch.float64)
    known = np.unique(y)
    if len(known) == 1:
        bias[int(known[0])] = 0.0
        return weight, bias
    model = LogisticRegression(C=_STRENGTH, max_iter=200)
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early, it is still an honest baseline
        model.fit(features, y)
    found, offset = torch.from_numpy(model.coef_.T.copy()), torch.from_numpy(model.intercept_.copy())
    if found.shape[1] == 1:  # of two classes scikit-learn keeps the second's alone
        found, offset = (torch.cat([torch.zeros_like(t), t], -1) for t in (found, offset))
    weight[:, known], bias[known] = found, offset
    return weight, bias


def _rows(matrix: Any) -> np.ndarray[Any, Any]:
    """The row of each value that is kept."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def read_part(train: Encoded, tokens: str, target: str) -> tuple[Ragged, Tensor]:
    """The texts and targets of a part, or of stretches of it that together have as many pieces as suffice."""
    values, lengths, targets, pieces = [], [], [], 0
    n = len(train)
    starts = range(0, n, CHUNK)
    order = torch.randperm(len(starts), generator=torch.Generator().manual_seed(0)).tolist()
    for k in order:
        rows = train.rows(starts[k], min(starts[k] + CHUNK, n))
        column = rows.ragged(tokens)
        values.append(column.values)
        lengths.append(column.lengths)
        targets.append(rows.dense(target))
        pieces += len(column.values)
        if pieces > PIECES:
            break
    return Ragged(torch.cat(values), torch.cat(lengths)), torch.cat(targets)
