"""Healthy programs in the words of the files of cases: data × network × loss × optimizer, none of them odd.

Each combination is what a careful person could write. The list is a fixed walk over the grid, not a choice by results:
which of them learn is found by plain runs, and those that do not are left out, whatever a doctor says of them. Budgets
are such that the loss is nearly flat when they end: who stops a network half way to a linear model has not trained it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from benchmarks.doctor.case import Case
from benchmarks.doctor.programs import Program, program

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Data:
    """A data set as a careful person prepares it."""

    name: str
    dataset: Facts
    shape: tuple[int | None, ...]
    kind: str  # classes, binary, columns, number, itself
    outputs: int
    epochs: int


def _sk(fn: str, preprocess: str, split: str = "test 20 %", target: str = "", **kwargs: Any) -> Facts:
    gen = {"fn": fn, "kwargs": {"random_state": 3, **kwargs}} if fn.startswith("make") else {"fn": fn}
    return {"gen": gen, "preprocess": preprocess, "split": split, "target": target}


_CLASSES = {"n_samples": 800, "n_features": 12, "n_informative": 6, "n_classes": 3}
DATA: Sequence[Data] = (
    Data("blobs", _sk("make_blobs", "standardise", n_samples=600, centers=3, cluster_std=2), (2,), "classes", 3, 30),
    Data("circles", _sk("make_circles", "none", n_samples=800, noise=0.1, factor=0.5), (2,), "binary", 1, 60),
    Data("moons", _sk("make_moons", "standardise", n_samples=800, noise=0.2), (2,), "binary", 1, 40),
    Data("mixed", _sk("make_classification", "standardise", **_CLASSES), (12,), "classes", 3, 30),
    Data("several", _sk("make_multilabel_classification", "standardise", n_samples=1000), (20,), "columns", 5, 30),
    Data("quantiles", _sk("make_gaussian_quantiles", "none", n_samples=900, n_classes=3), (2,), "classes", 3, 50),
    Data("iris", _sk("load_iris", "standardise"), (4,), "classes", 3, 80),
    Data("wine", _sk("load_wine", "standardise"), (13,), "classes", 3, 60),
    Data("cancer", _sk("load_breast_cancer", "standardise"), (30,), "binary", 1, 30),
    Data("digits", _sk("load_digits", "/16"), (64,), "classes", 10, 15),
    Data("friedman", _sk("make_friedman1", "standardise x and y", n_samples=800, noise=0.5), (10,), "number", 1, 40),
    Data("plane", _sk("make_regression", "standardise x and y", n_samples=600, n_features=8), (8,), "number", 1, 40),
    Data("diabetes", _sk("load_diabetes", "standardise x and y"), (10,), "number", 1, 40),
    Data("faces of digits", _sk("load_digits", "/16", target="input itself"), (64,), "itself", 64, 100),
)


def _dense(*widths: int, activation: str, init: str = "he_uniform", between: Sequence[Facts] = ()) -> list[Facts]:
    layers: list[Facts] = []
    for width in widths:
        layers += [{"type": "dense", "units": width, "activation": activation, "kernel_init": init}, *between]
    return layers


NETWORKS: Mapping[str, Sequence[Facts]] = {
    "linear": [],
    "one relu": _dense(32, activation="relu"),
    "two relu": _dense(64, 32, activation="relu"),
    "three leaky": _dense(32, 32, 32, activation="leaky_relu 0.1"),
    "two tanh": _dense(32, 16, activation="tanh", init="glorot_uniform"),
    "six tanh": _dense(*[24] * 6, activation="tanh", init="glorot_uniform"),
    "one sigmoid": _dense(32, activation="sigmoid", init="glorot_uniform"),
    "two elu": _dense(48, 24, activation="elu"),
    "four selu": _dense(*[32] * 4, activation="selu", init="lecun_normal"),
    "two gelu": _dense(64, 64, activation="gelu"),
    "two silu, default init": _dense(64, 32, activation="silu", init="torch default"),
    "dropout": _dense(64, 64, activation="relu", between=[{"type": "dropout", "rate": 0.2}]),
    "batch norm": _dense(32, 32, activation="relu", between=[{"type": "batchnorm", "momentum": 0.9}]),
    "layer norm": _dense(32, 32, activation="gelu", between=[{"type": "layernorm"}]),
}
OPTIMIZERS: Sequence[Facts] = (
    {"name": "adam", "lr": 3e-3},
    {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    {"name": "adamw", "lr": 3e-3, "weight_decay": 0.01},
    {"name": "rmsprop", "lr": 2e-3},
    {"name": "sgd", "lr": 0.2},
    {"name": "adagrad", "lr": 0.05},
    {"name": "nadam", "lr": 2e-3},
    {"name": "adam", "lr": 5e-3, "schedule": "cosine"},
    {"name": "adadelta", "lr": 1.0},
    {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "schedule": "ExponentialLR 0.97"},
)
LOSSES: Mapping[str, Sequence[tuple[str, str]]] = {  # of each kind of target: (output activation, loss)
    "classes": (
        ("softmax", "categorical_crossentropy"),
        ("linear", "cross_entropy (logits)"),
        ("log_softmax", "nll"),
        ("softmax", "sparse_categorical_crossentropy"),
    ),
    "binary": (("sigmoid", "binary_crossentropy"), ("linear", "binary_crossentropy(from_logits=True)")),
    "columns": (("sigmoid", "binary_crossentropy"), ("linear", "binary_crossentropy(from_logits=True)")),
    "number": (("linear", "mean_squared_error"), ("linear", "mean_absolute_error"), ("linear", "huber")),
    "itself": (("linear", "mean_squared_error"), ("sigmoid", "mean_squared_error")),
}
BATCHES = (32, 16, 64, 8)
_TASKS = {"classes": "classification", "binary": "binary classification", "columns": "multi-label classification"}


def healthy_programs() -> list[Program]:
    """Every program of the grid: each data set with each network, the rest in turn; then some of other shapes."""
    return [program(Case(str(facts["id"]), facts)) for facts in healthy_facts()]


def healthy_facts() -> list[Facts]:
    """The same as facts, in the form of a file of cases."""
    made = []
    for turn, (data, (name, layers)) in enumerate(product(DATA, NETWORKS.items())):
        if data.kind == "itself" and name in ("linear", "one sigmoid"):
            continue
        if name == "linear" and data.name in ("circles", "quantiles"):
            continue  # no line parts them
        output, loss = LOSSES[data.kind][turn % len(LOSSES[data.kind])]
        optimizer = OPTIMIZERS[turn % len(OPTIMIZERS)]
        batch = BATCHES[(turn // 2) % len(BATCHES)]
        facts = _facts(f"{data.name}, {name}", data, layers, output, loss, optimizer, batch)
        made.append({**facts, "epochs": 3 * data.epochs} if name == "linear" else facts)  # nothing speeds it up
    return made + _others()


def _facts(
    name: str, data: Data, layers: Sequence[Facts], output: str, loss: str, optimizer: Facts, batch: int
) -> Facts:
    last = {"type": "dense", "units": data.outputs, "activation": output, "kernel_init": "glorot_uniform"}
    target = f"one-hot {data.outputs}" if loss == "categorical_crossentropy" else data.dataset["target"]
    return {
        "id": "own-" + re.sub(r"[^a-z0-9]+", "-", name.lower()),
        "status": "healthy",
        "framework": "keras",
        "task": _TASKS.get(data.kind, "regression"),
        "dataset": {**data.dataset, "target": target},
        "input_shape": list(data.shape),
        "layers": [*layers, last],
        "loss": loss,
        "optimizer": optimizer,
        "batch_size": batch,
        "epochs": data.epochs,
        "known_problem": [],
    }


def _others() -> list[Facts]:
    """Convolutions, recurrent networks and words, which the grid has no room for."""
    pictures = Data("digits", _sk("load_digits", "/16"), (8, 8, 1), "classes", 10, 10)
    rows = Data("rows", _sk("load_digits", "/16"), (8, 8), "classes", 10, 15)
    series = Data("series", _waves(), (None, 1), "number", 1, 60)
    conv: Facts = {"type": "conv2d", "filters": 16, "kernel": 3, "padding": "same", "activation": "relu"}
    pool: Facts = {"type": "maxpool2d", "size": 2}
    nets: Mapping[str, tuple[Data, Sequence[Facts]]] = {
        "conv": (pictures, [conv, pool, {"type": "flatten"}]),
        "conv, dense": (pictures, [conv, pool, conv, {"type": "flatten"}, *_dense(32, activation="relu")]),
        "conv, batch norm": (pictures, [conv, {"type": "batchnorm", "momentum": 0.9}, pool, {"type": "flatten"}]),
        "conv, mean": (pictures, [conv, conv, {"type": "globalaveragepooling2d"}]),
        "conv, dropout": (pictures, [conv, pool, {"type": "flatten"}, {"type": "dropout", "rate": 0.25}]),
        "rows, lstm": (rows, [{"type": "lstm", "units": 32}]),
        "rows, gru": (rows, [{"type": "gru", "units": 32}]),
        "rows, rnn": (rows, [{"type": "simplernn", "units": 32}]),
        "waves, cells": (series, [{"type": "lstmcell", "units": 16}]),
        "waves, gru": (series, [{"type": "gru", "units": 16, "return_sequences": True}]),
    }
    made = []
    for turn, ((name, (data, layers)), optimizer) in enumerate(product(nets.items(), OPTIMIZERS[:4])):
        output, loss = LOSSES[data.kind][turn % (1 if data.kind == "number" else 4)]
        facts = _facts(f"{name}, {optimizer['name']}", data, layers, output, loss, optimizer, 32)
        made.append({**facts, "epochs": 4 * data.epochs} if name == "conv, mean" else facts)  # a mean hides much
    return made


def _waves() -> Facts:
    """Of 64 whole shifts 200 rows would be copies of one another, and those for judging no test."""
    gen = {"fn": "described", "how": "sin((i + random real shift)/T) with T=8, L=25, N=200", "key": "timeseq"}
    return {"gen": gen, "preprocess": "none", "split": "first rows test", "target": "next value"}
