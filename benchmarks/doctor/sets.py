"""The rows a case names: public sets, scikit-learn's generators, rows written in the file, sentences about data."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.doctor.case import CannotBuildError
from benchmarks.doctor.described import Made, described, trimmed

ROWS, JUDGED = 10_000, 2_000  # rows of a public set that are trained on, and kept for judging
_FOLDERS = {"mnist": "mnist", "fashion_mnist": "fashion_mnist", "fashionmnist": "fashion_mnist"}
_ABSENT = {
    **dict.fromkeys(("imdb", "reuters", "cifar100", "boston_housing", "pima", "pima_indians_diabetes"), "not at hand"),
}


def rows(dataset: Mapping[str, Any], seed: int = 0) -> Made:
    """The rows of a data set, before what the case does to them.

    Args:
        dataset: the case's facts about it.
        seed: of what is random and has no seed of its own.

    Raises:
        CannotBuildError: it is not at hand, or its description is not understood.
    """
    gen = dataset.get("gen") or {}
    name = str(gen.get("fn") or dataset.get("name") or "").lower()
    if name in _FOLDERS:
        return _idx(_FOLDERS[name])
    if name in ("cifar10", "cifar-10"):
        return _cifar()
    if name == "inline":
        return Made(np.asarray(gen["X"], float), np.asarray(gen["y"], float))
    if name == "described":
        return described(gen, np.random.default_rng(seed))
    if name.startswith("make_"):
        return _made(name, dict(gen.get("kwargs") or {}), seed)
    if name.startswith(("load_", "fetch_")):
        return _bundled(name)
    raise CannotBuildError(f"the data set {name or dataset.get('name')!r} is {_ABSENT.get(name, 'not known')}")


def _place() -> Path:
    place = os.environ.get("TRAINWRIGHT_DATA")
    if not place:
        raise CannotBuildError("needs a public data set, and TRAINWRIGHT_DATA names no folder")
    return Path(place)


@lru_cache(maxsize=2)
def _idx(folder: str) -> Made:
    """MNIST or Fashion-MNIST, (N, 28, 28, 1), 0 to 255: the first rows of its two parts, which are in random order."""
    parts = []
    for part, most in (("train", ROWS), ("t10k", JUDGED)):
        images, labels = (_place() / folder / f"{part}-{w}-ubyte.gz" for w in ("images-idx3", "labels-idx1"))
        if not images.exists():
            raise CannotBuildError(f"{images} is not at hand")
        pixels = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
        parts.append(pixels.reshape(-1, 28, 28, 1)[:most].astype(np.float32))
        parts.append(np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)[:most].astype(np.int64))
    return Made(*parts)


@lru_cache(maxsize=1)
def _cifar() -> Made:
    """The subset of CIFAR-10, (N, 32, 32, 3), 0 to 255."""
    file = _place() / "cifar10_subset" / "cifar10_10k_2k.npz"
    if not file.exists():
        raise CannotBuildError(f"{file} is not at hand")
    with np.load(file, allow_pickle=False) as held:
        x, y, xt, yt = (held[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    return Made(x[:ROWS].astype(np.float32), y[:ROWS].astype(np.int64), xt.astype(np.float32), yt.astype(np.int64))


def _made(name: str, options: dict[str, Any], seed: int) -> Made:
    from sklearn import datasets

    make = getattr(datasets, name, None)
    if make is None:
        raise CannotBuildError(f"scikit-learn has no {name}")
    if isinstance(options.get("n_samples"), int):
        options["n_samples"] = trimmed((options["n_samples"], options.get("n_features") or 1))[0]
    options = {key: tuple(v) if isinstance(v, list) and key == "n_samples" else v for key, v in options.items()}
    options.setdefault("random_state", seed)
    x, y, *_ = make(**options)
    return Made(np.asarray(x, float), np.asarray(y))


def _bundled(name: str) -> Made:
    from sklearn import datasets

    load = getattr(datasets, name, None)
    if load is None or name.startswith("fetch"):
        raise CannotBuildError(f"{name} is not bundled with scikit-learn")
    try:
        x, y = load(return_X_y=True)
    except (ImportError, TypeError) as error:
        raise CannotBuildError(f"{name} is not to be had: {error}") from error
    return Made(np.asarray(x, float), np.asarray(y))
