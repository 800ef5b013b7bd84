"""Codes of digits against principal components, and anomalies against an isolation forest."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.shows import Show

_SETS: tuple[dict[str, Any], ...] = tuple(
    {"data.path": f"adbench_anomaly/{name}.npz"} for name in ("23_mammography", "32_shuttle", "34_smtp", "38_thyroid")
)

_DIGITS = (
    "squared error of a pixel between 0 and 1, the 10,000 test images; beside 32 principal components of the same"
    " 58,000 training images"
)
_BOUND = (
    "nats of a test image, a mean over its 784 pixels, which are shares of white: the cross-entropy at the mean of "
    "its code, and the distance of the code from a standard normal one; 0.14 are 110 nats"
)
_ODD = (
    "the mean AUROC of the anomaly scores of mammography, shuttle, smtp and thyroid by one recipe; of the "
    "records, drawn at random, 60 % for training, 10 and 30 %; labels are read by these scores alone, the "
    "isolation forest learns from the same records; that a beta of 2 does better than 1 was seen on these very "
    "sets"
)

SHOWS = (
    Show(
        "MNIST, codes of 32 numbers",
        "examples/mnist_autoencoder.toml",
        "test/mse",
        "linear",
        better="lower",
        minutes=5,
        note=_DIGITS,
    ),
    Show(
        "MNIST, distributions of codes",
        "examples/mnist_vae.toml",
        "test/loss",
        0.14,
        better="lower",
        minutes=8,
        note=_BOUND,
    ),
    Show(
        "four sets of ADBench",
        "examples/thyroid_vae.toml",
        "test/auroc",
        "isolation_forest",
        minutes=6,
        over=_SETS,
        note=_ODD,
    ),
)
