"""Gradient boosting on a table, scikit-learn's at its defaults: what a network has to beat there.

Letters in shapes: N samples, F numbers, K categories, C classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.task import TooSlowError

ROWS = 200_000  # that trees are fitted to at most
_FIRST = 10  # rounds that tell how long all will take
_MOST = 254  # ids of a category that the trees can tell apart; with more it counts as a number


@final
class Boosted(nn.Module):
    """The fitted trees, asked as a network is.

    Args:
        model: of scikit-learn.
        outputs: C, or 1 for values.
    """

    def __init__(self, model: Any, outputs: int) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(self, x: Tensor | None = None, categorical: Tensor | None = None) -> Tensor:
        """(N, C) log-probabilities, or (N, 1) values."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        rows = table(x, categorical).numpy()
        with threadpool_limits(limits=1):
            if self.outputs == 1:
                return torch.from_numpy(np.asarray(self.model.predict(rows), np.float64)).unsqueeze(1)
            said = np.full((len(rows), self.outputs), np.finfo(np.float64).tiny)
            said[:, self.model.classes_] = self.model.predict_proba(rows).clip(said.min())
        return torch.from_numpy(np.log(said))


def table(x: Tensor | None = None, categorical: Tensor | None = None) -> Tensor:
    """(N, F + K) float64: numbers, then the ids of categories."""
    return torch.cat([part.double() for part in (x, categorical) if part is not None], 1)


def boosted(rows: Tensor, y: Tensor, cardinalities: Sequence[int], classes: int, seconds: float) -> Boosted:
    """Trees fitted to rows as `table` gives them; `TooSlowError` where ``seconds`` will not suffice.

    Args:
        rows: (N, F + K).
        y: (N,) class numbers, or values where ``classes`` is 0.
        cardinalities: ids of each of the K categories.
        classes: C.
        seconds: that it may take; the first rounds tell how many it would.

    Source: Friedman 2001, "Greedy function approximation: a gradient boosting machine"; Ke et al. 2017, "LightGBM", for
    the histograms.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    numbers = rows.shape[1] - len(cardinalities)
    kinds = [False] * numbers + [ids <= _MOST for ids in cardinalities]
    make = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = make(categorical_features=kinds, random_state=0, warm_start=True)
    rounds = model.max_iter
    # one thread: a team that waits for a busy core at every leaf took 100 times as long
    with threadpool_limits(limits=1):
        if math.isfinite(seconds):
            began = time.perf_counter()
            model.set_params(max_iter=_FIRST).fit(rows.numpy(), y.numpy())
            whole = (time.perf_counter() - began) * rounds / _FIRST
            if whole > seconds:
                raise TooSlowError(f"its {rounds} rounds would take about {whole:.1f} s")
        model.set_params(max_iter=rounds).fit(rows.numpy(), y.numpy())
    return Boosted(model, classes or 1)
