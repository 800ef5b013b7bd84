"""Faults planted into healthy programs with DeepCrime's operators, so that the truth is known; kept where they harm.

A fault counts as real ("killed") by the criterion of the mutation study: over 20 runs of both, p < 0.05 in a
generalized linear model and Cohen's d >= 0.5. Source: Humbatova, Jahangirova & Tonella 2021, "DeepCrime: mutation
testing of deep learning systems based on real faults".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.doctor.case import Case
from benchmarks.doctor.causes import accepted
from benchmarks.doctor.prepare import Arrays
from benchmarks.doctor.programs import Bug, Program, program
from benchmarks.doctor.zoo import Facts, healthy_facts

RUNS = 20


@dataclass(frozen=True, slots=True)
class Operator:
    """One way to break a program: in its facts, in its data, or in its loop."""

    name: str  # DeepCrime's, or our own word for what it has no operator for
    what: str
    problems: tuple[str, ...]
    facts: Callable[[Facts], Facts | None] | None = None  # None where it does not apply
    data: Callable[[Arrays, torch.Generator], Arrays | None] | None = None
    bug: Bug | None = None
    units: bool = False  # its change of the data is one of units: the rows tell as much as they did
    lost: str = ""  # why nobody can repair it


def planted(base: Facts, operator: Operator) -> Program | None:
    """The program with the fault in it; None where the operator does not apply."""
    name = f"{base['id']}+{operator.name}-{operator.what}".replace(" ", "-")
    facts: Facts | None = {**base, "id": name, "status": "buggy", "known_problem": list(operator.problems)}
    if operator.facts is not None:
        facts = operator.facts(facts)  # type: ignore[arg-type]
    if facts is None:
        return None
    built = program(Case(name, facts), (str(base["id"]),))
    if operator.bug is not None:
        return program(Case(name, {**facts, "training_bug": _WORDS[operator.name]}), (str(base["id"]),))
    if operator.data is None:
        return built
    changed = operator.data(built.arrays(), torch.Generator().manual_seed(5))
    if changed is None:
        return None
    held: Arrays = changed
    truth = None if operator.units else built.arrays
    known = {"accepted": accepted(operator.problems), "truth": truth, "lost": operator.lost}
    return replace(built, arrays=lru_cache(maxsize=1)(lambda: held), **known)  # type: ignore[arg-type]


def pairs(start: int = 0, every: int = 11) -> list[tuple[Facts, Operator]]:
    """Healthy programs of the zoo, each with operators in turn: a fixed walk, not a choice by results."""
    small = healthy_facts()[start::every]
    return [(facts, OPERATORS[(turn * 7 + k) % len(OPERATORS)]) for turn, facts in enumerate(small) for k in range(6)]


def programs_and_faults(*starts: int) -> tuple[list[Program], list[Program]]:
    """The healthy programs that are broken, and every broken form of them that the operators can make.

    Args:
        starts: of the walks over the healthy programs; the first one unless given.
    """
    bases: dict[str, Program] = {}
    broken: dict[str, Program] = {}
    for facts, operator in [pair for start in starts or (0,) for pair in pairs(start)]:
        mutant = planted(facts, operator)
        if mutant is not None:
            broken[mutant.id] = mutant
            bases.setdefault(str(facts["id"]), program(Case(str(facts["id"]), facts)))
    return list(bases.values()), list(broken.values())


def verdicts(faults: Sequence[Program], runs: Sequence[Mapping[str, Any]], least: int = RUNS) -> dict[str, bool | None]:
    """Id of a fault -> whether it harms by the study's criterion; None where there are fewer runs than it asks for."""
    scores: dict[str, list[float]] = {}
    for run in runs:
        scores.setdefault(run["id"], []).append(_score(run))
    told: dict[str, bool | None] = {}
    for fault in faults:
        healthy, mutant = scores.get(fault.twins[0], []), scores.get(fault.id, [])
        enough = min(len(healthy), len(mutant)) >= least
        told[fault.id] = killed(healthy, mutant)[0] if enough else None
    return told


def _score(run: Mapping[str, Any]) -> float:
    """The metric on rows the fault did not touch, where there are any; of a network of NaN, the constant's."""
    value = float(run["valid"] if run["valid"] is not None else run["train"])
    return value if math.isfinite(value) else float(run["baseline"])


def killed(healthy: Sequence[float], mutant: Sequence[float]) -> tuple[bool, float, float]:
    """Whether the mutant is worse by the study's criterion; with p and Cohen's d (positive: the mutant is worse).

    The model is the metric on an indicator with a Gaussian family: its z is the difference of the means over its
    standard error with the pooled variance.
    """
    from scipy.stats import norm

    a, b = np.asarray(healthy, float), np.asarray(mutant, float)
    n, m = len(a), len(b)
    pooled = math.sqrt(((n - 1) * a.var(ddof=1) + (m - 1) * b.var(ddof=1)) / (n + m - 2))
    difference = float(a.mean() - b.mean())
    if pooled == 0:
        return difference > 0, float(difference == 0), math.inf if difference > 0 else 0.0
    p = float(2 * norm.sf(abs(difference) / (pooled * math.sqrt(1 / n + 1 / m))))
    d = difference / pooled
    return p < 0.05 and d >= 0.5, p, d


def _optimizer(factor: float) -> Callable[[Facts], Facts]:
    return lambda f: {**f, "optimizer": {**f["optimizer"], "lr": f["optimizer"]["lr"] * factor}}


def _set(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda f: {**f, **changes}


def _hidden(change: Callable[[Facts], Facts], least: int = 1) -> Callable[[Facts], Facts | None]:
    """Change every dense or convolutional layer but the last; needs so many of them."""

    def changed(f: Facts) -> Facts | None:
        *hidden, last = f["layers"]
        weighty = [layer for layer in hidden if layer["type"] in ("dense", "conv2d")]
        new = [change(layer) if layer["type"] in ("dense", "conv2d") else layer for layer in hidden]
        return {**f, "layers": [*new, last]} if len(weighty) >= least else None

    return changed


def _last(activation: str, fits: Callable[[Facts], bool]) -> Callable[[Facts], Facts | None]:
    def changed(f: Facts) -> Facts | None:
        *hidden, last = f["layers"]
        return {**f, "layers": [*hidden, {**last, "activation": activation}]} if fits(f) else None

    return changed


def _dropped(rate: float) -> Callable[[Facts], Facts | None]:
    def changed(f: Facts) -> Facts | None:
        *hidden, last = [layer for layer in f["layers"] if layer["type"] != "dropout"]
        return {**f, "layers": [*hidden, {"type": "dropout", "rate": rate}, last]} if hidden else None

    return changed


def _narrow(f: Facts) -> Facts | None:
    *hidden, last = f["layers"]
    if not hidden or hidden[-1]["type"] != "dense" or int(last["units"]) < 3:
        return None
    return {**f, "layers": [*hidden[:-1], {**hidden[-1], "units": 1}, last]}


def _deeper(activation: str, init: str) -> Callable[[Facts], Facts | None]:
    def changed(f: Facts) -> Facts | None:
        *hidden, last = f["layers"]
        if not hidden or any(layer["type"] != "dense" for layer in hidden):
            return None
        layer = {"type": "dense", "units": 16, "activation": activation, "kernel_init": init}
        return {**f, "layers": [*[layer] * 8, last]}

    return changed


def _classes(f: Facts) -> bool:
    return "class" in str(f["task"])


def _softmax_into_logits(f: Facts) -> Facts | None:
    if f["loss"] != "cross_entropy (logits)":
        return None
    return _last("softmax", _classes)(f)


def _rows(change: Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor] | None]) -> Any:
    def changed(data: Arrays, rng: torch.Generator) -> Arrays | None:
        new = change(data.x, data.y, rng)
        return None if new is None else replace(data, x=new[0], y=new[1])

    return changed


def _everywhere(change: Callable[[Tensor], Tensor]) -> Any:
    def changed(data: Arrays, rng: torch.Generator) -> Arrays | None:
        if not data.x.is_floating_point():
            return None
        return replace(data, x=change(data.x), x_valid=None if data.x_valid is None else change(data.x_valid))

    return changed


def _labels(y: Tensor) -> Tensor | None:
    """The class of each row; None where the targets are no classes."""
    if not y.is_floating_point():
        return y if y.dim() == 1 else None
    if y.dim() == 2 and y.shape[1] > 1:
        return y.argmax(-1) if bool((y.sum(-1) == 1).all()) else None
    return y.long().flatten() if bool(((y == 0) | (y == 1)).all()) else None


def _noisy(share: float) -> Any:
    """TCL: that share of the most frequent class gets labels drawn at random."""

    def change(x: Tensor, y: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor] | None:
        labels = _labels(y)
        if labels is None:
            return None
        rows = (labels == labels.bincount().argmax()).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=rng)[: int(share * len(rows))]]
        others = torch.randint(0, len(y), (len(rows),), generator=rng)
        new = y.clone()
        new[rows] = y[others]
        return x, new

    return _rows(change)


def _shuffled(x: Tensor, y: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return x, y[torch.randperm(len(y), generator=rng)]


def _fewer(share: float) -> Any:
    return _rows(lambda x, y, rng: (x[: max(4, int(len(x) * (1 - share)))], y[: max(4, int(len(x) * (1 - share)))]))


def _unbalanced(x: Tensor, y: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor] | None:
    """TUD: of the classes below average size 95 % is deleted."""
    labels = _labels(y)
    if labels is None:
        return None
    counts = labels.bincount().float()
    rare = counts <= counts.mean() if bool((counts < counts.mean()).any()) else torch.arange(len(counts)) > 0
    keep = ~rare[labels] | (torch.rand(len(labels), generator=rng) < 0.05)
    return (x[keep], y[keep]) if int(keep.sum()) > 8 else None


def _overlap(x: Tensor, y: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor] | None:
    """TCO: all rows of the most frequent class once more, with the label of the second."""
    labels = _labels(y)
    if labels is None:
        return None
    first, second = labels.bincount().topk(2).indices
    rows, model = (labels == first).nonzero().flatten(), (labels == second).nonzero().flatten()[0]
    return torch.cat([x, x[rows]]), torch.cat([y, y[model].expand(len(rows), *y.shape[1:])])


def _holes(x: Tensor, y: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor] | None:
    if not x.is_floating_point():
        return None
    new = x.clone().reshape(len(x), -1)
    new[:: max(1, len(x) // 5), 0] = math.nan
    return new.reshape(x.shape), y


def _far(data: Arrays, rng: torch.Generator) -> Arrays | None:
    """Targets in another unit, far from zero, in all parts."""
    y = data.y
    if not y.is_floating_point() or _labels(y) is not None or y.shape[-1] > 1:
        return None
    valid = data.y_valid
    return replace(data, y=2_000 * y + 50_000, y_valid=None if valid is None else 2_000 * valid + 50_000)


OPERATORS: Sequence[Operator] = (
    Operator("HLR", "x1000", ("LEARNING_RATE_HIGH", "EXPLODING_GRADIENT", "NAN_INF"), _optimizer(1000)),
    Operator("ARM", "no hidden activation", ("LINEAR_STACK",), _hidden(lambda a: {**a, "activation": "linear"})),
    Operator("TCL", "labels of 80 %", ("LABEL_NOISE", "WRONG_LABELS"), data=_noisy(0.8)),
    Operator("WCI", "zeros", ("BAD_INIT",), _hidden(lambda a: {**a, "kernel_init": "zeros"})),
    Operator("loop", "not cleared", ("MISSING_ZERO_GRAD",), bug=Bug(clears=False)),
    Operator("HLR", "x0.0001", ("LEARNING_RATE_LOW", "UNDERTRAINED"), _optimizer(1e-4)),
    Operator(
        "ACH", "relu before the loss", ("WRONG_OUTPUT_ACTIVATION", "TARGET_OUT_OF_RANGE"), _last("relu", lambda f: True)
    ),
    Operator(
        "shuffled",
        "labels",
        ("NO_SIGNAL", "WRONG_LABELS"),
        data=_rows(_shuffled),
        lost="which label belongs to which row is told nowhere",
    ),
    Operator("RCD", "0.97", ("DROPOUT_HIGH",), _dropped(0.97)),
    Operator(
        "scale",
        "inputs x1000",
        ("UNNORMALISED_INPUT", "SATURATED_ACTIVATION", "DYING_RELU"),
        data=_everywhere(lambda x: 1000 * x),
        units=True,
    ),
    Operator("HNE", "1 epoch", ("UNDERTRAINED",), _set(epochs=1)),
    Operator(
        "WCI",
        "normal 10",
        ("BAD_INIT", "SATURATED_ACTIVATION"),
        _hidden(lambda a: {**a, "kernel_init": "normal(0, 10)"}),
    ),
    Operator("frozen", "all but the last", ("FROZEN_PARAMETERS",), bug=Bug(freezes=True)),
    Operator(
        "LCH",
        "mse on classes",
        ("WRONG_LOSS",),
        lambda f: (
            {**f, "loss": "mse"}
            if _classes(f) and "sparse" not in f["loss"] and f["loss"] not in ("nll", "cross_entropy (logits)")
            else None
        ),
    ),
    Operator("RAW", "l2 of 1", ("REGULARISATION_HIGH",), _hidden(lambda a: {**a, "l2": 1.0})),
    Operator(
        "ACH", "eight sigmoids", ("VANISHING_GRADIENT", "WRONG_HIDDEN_ACTIVATION"), _deeper("sigmoid", "he_uniform")
    ),
    Operator("TUD", "95 %", ("CLASS_IMBALANCE",), data=_rows(_unbalanced)),
    Operator("ACH", "softmax twice", ("WRONG_OUTPUT_ACTIVATION",), _softmax_into_logits),
    Operator("holes", "NaN in the rows", ("BAD_DATA", "NAN_INF"), data=_rows(_holes)),
    Operator(
        "TCO",
        "most frequent class",
        ("WRONG_LABELS", "LABEL_NOISE"),
        data=_rows(_overlap),
        lost="which of the two labels of a row is right is told nowhere",
    ),
    Operator("HBS", "1", ("BATCH_SIZE", "OSCILLATING_LOSS"), _set(batch_size=1)),
    Operator("scale", "targets", ("UNNORMALISED_TARGET",), data=_far, units=True),
    Operator("detached", "loss", ("LOSS_DETACHED",), bug=Bug(detaches=True)),
    Operator(
        "AAL",
        "exponential",
        ("EXPLODING_GRADIENT", "NAN_INF", "WRONG_HIDDEN_ACTIVATION"),
        _deeper("exponential", "he_uniform"),
    ),
    Operator("capacity", "one unit", ("UNDERFIT_CAPACITY",), _narrow),
    Operator("TRD", "97 %", ("UNDERTRAINED", "OVERFITTING"), data=_fewer(0.97), lost="the rows are gone"),
    Operator("OCH", "sgd 1e-5", ("LEARNING_RATE_LOW", "WRONG_OPTIMIZER"), _set(optimizer={"name": "sgd", "lr": 1e-5})),
)
_WORDS: Mapping[str, str] = {
    "loop": "gradients are never cleared",
    "frozen": "all layers but the last are frozen",
    "detached": "the loss is detached",
}
