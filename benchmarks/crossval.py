"""Lays a cross-validated linear network beside scikit-learn's logistic regression on the same folds.

    python -m benchmarks.crossval

The network is one dense layer and a softmax, trained to convergence on the whole fold with the penalty of C = 1;
so both minimize the same function, and their scores may differ by what is left of the descent.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import trainwright as tw
from trainwright.runs.figures import aligned

FOLDS, SEED = 5, 0
SETS = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}


def theirs(name: str) -> tuple[list[float], list[float]]:
    """Accuracy and log loss of each fold."""
    x, y = SETS[name](return_X_y=True)
    accuracy, loss = [], []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(x, y):
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)).fit(
            x[train], y[train]
        )
        accuracy.append(float(fitted.score(x[test], y[test])))
        loss.append(float(log_loss(y[test], fitted.predict_proba(x[test]), labels=fitted.classes_)))
    return accuracy, loss


def ours(name: str, folder: Path) -> tuple[list[float], list[float]]:
    x, y = SETS[name](return_X_y=True)
    classes, rows = len(set(y)), len(x) * (FOLDS - 1) / FOLDS
    # scikit-learn: |w|² / 2 + C Σ loss, over rows; two softmax outputs share the weights of its single one
    penalty = 1 / (2 * rows) if classes > 2 else 1 / rows
    recipe = {
        "task": {"name": "tabular_classification", "scaling": "standard"},
        "data": {"source": "embedded", "set": name, "valid": 0},
        "model": {"name": "mlp", "depth": 0},
        "optimizer": {"name": "adam", "lr": 0.1},
        "schedule": "cosine",
        "batch_size": "all",
        "l2": penalty,
        "precision": "float64",
        "budget": "2000 steps",
        "save_every": "2000 steps",
        "log_every": 500,
        "doctor": "off",
        "seed": SEED,
    }
    found = tw.crossval(recipe, folds=FOLDS, out=folder / name, quiet=True)
    assert len(found.finished) == FOLDS, found.interrupted
    scores = [run.metrics for run in found.finished.values()]
    return [s["test/accuracy"] for s in scores], [s["test/log_loss"] for s in scores]


def main() -> None:
    rows = [["", "accuracy", "scikit-learn's", "largest difference of a fold", "log loss", "scikit-learn's", "largest"]]
    with tempfile.TemporaryDirectory() as place:
        for name in SETS:
            (a, b), (c, d) = theirs(name), ours(name, Path(place))
            far = [float(np.abs(np.subtract(p, q)).max()) for p, q in ((a, c), (b, d))]
            means = [f"{np.mean(v):.5f}" for v in (c, a, d, b)]
            rows.append([name, *means[:2], f"{far[0]:.1e}", *means[2:], f"{far[1]:.1e}"])
            print(rows[-1], flush=True)
    print("\n".join(aligned(rows)))


if __name__ == "__main__":
    main()
