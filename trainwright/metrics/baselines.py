"""What simple models say on the same encoded data: the constant, and the linear one of scikit-learn.

Predictions come in the form a network gives them (logits, values), so that a task judges them by its own metrics.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.rows import Encoded, Ragged, Rows
from trainwright.core.task import Metric, Outputs

CHUNK = 4096


def read_part(
    part: Encoded, read: Callable[[Rows], tuple[Tensor, Tensor]], *, limit: int | None = None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Inputs (N, F) and targets (N, …) of a part, or of ``limit`` samples of it chosen by ``seed``."""
    n = len(part)
    limit = n if limit is None else min(n, limit)
    drawn = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:limit].sort().values
    if 4 * limit < n:  # one by one: the others need not be read
        singles = (_joined([part.rows(i, i + 1) for i in chunk.tolist()]) for chunk in drawn.split(CHUNK))
        pairs = [read(rows) for rows in singles]
    else:
        kept = torch.zeros(n, dtype=torch.bool).index_fill_(0, drawn, True)
        starts = zip(range(0, n, CHUNK), kept.split(CHUNK), strict=True)
        pairs = [read(_picked(part.rows(a, a + len(k)), k)) for a, k in starts if bool(k.any())]
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def _joined(pieces: Sequence[Rows]) -> Rows:
    """Rows one behind the other."""
    columns = {name: _behind([p.columns[name] for p in pieces]) for name in pieces[0].columns}
    return Rows(columns, torch.cat([p.ids for p in pieces]))


def _behind(pieces: Sequence[Tensor | Ragged]) -> Tensor | Ragged:
    dense = [p for p in pieces if isinstance(p, Tensor)]
    ragged = [p for p in pieces if isinstance(p, Ragged)]
    if dense:
        return torch.cat(dense)
    return Ragged(torch.cat([p.values for p in ragged]), torch.cat([p.lengths for p in ragged]))


def _picked(rows: Rows, kept: Tensor) -> Rows:
    """Those of the rows (N,) that are kept."""
    if bool(kept.all()):
        return rows
    return Rows({name: _of_column(c, kept) for name, c in rows.columns.items()}, rows.ids[kept])


def _of_column(column: Tensor | Ragged, kept: Tensor) -> Tensor | Ragged:
    if isinstance(column, Tensor):
        return column[kept]
    return Ragged(column.values[kept.repeat_interleave(column.lengths)], column.lengths[kept])


def rows_for(features: int, classes: int, most: int = 20_000) -> int:
    """How many samples a logistic regression of that size can learn from in a second or so."""
    return min(most, max(500, int(5e7 / (max(1, features) * classes))))


def score(metrics: Mapping[str, Metric], outputs: Outputs, targets: Mapping[str, Tensor]) -> dict[str, float]:
    """Every metric of one set of predictions."""
    n = len(next(iter(outputs.values())))
    batch = Batch({}, targets, torch.tensor(float(n)), torch.arange(n), n)
    return {name: float(m.value(m.count(outputs, batch).double())) for name, m in metrics.items()}


def constant_logits(counts: Sequence[int], n: int) -> Tensor:
    """(n, classes) the log-frequencies of the training labels, for each of ``n`` samples."""
    frequency = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    return frequency.log().expand(n, len(counts))


def linear_logits(x: Tensor, y: Tensor, x_test: Tensor, classes: int) -> Tensor:
    """(M, classes) log-probabilities by multinomial logistic regression on (N, F); needs two classes in ``y``.

    A class that a subsample misses gets half of one sample's share.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rounds = max(20, min(200, int(1e9 / max(1, x.shape[0] * x.shape[1] * max(1, classes - 1)))))
    model = LogisticRegression(max_iter=rounds)
    # one thread: these matrices are small, and a team that spins beside the training's own took 100 times as long
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early, it is still an honest baseline
        model.fit(x.numpy(), y.numpy())
    logs = np.full((len(x_test), classes), np.log(0.5 / len(y)))
    logs[:, model.classes_] = model.predict_log_proba(x_test.numpy())
    return torch.from_numpy(logs)


def linear_values(x: Tensor, y: Tensor, x_test: Tensor) -> Tensor:
    """(M, …) predictions of ridge regression on (N, F) with targets (N, …)."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1.0).fit(
        x.double().numpy(), y.double().flatten(1).numpy() if y.ndim > 1 else y.double().numpy()
    )
    said = torch.from_numpy(np.asarray(model.predict(x_test.double().numpy())))
    return said.reshape(len(x_test), *y.shape[1:])
