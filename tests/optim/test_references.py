"""Every optimizer and schedule by name beside an independent reference, for a hundred steps.

A name that is registered without one fails here. Losses have theirs in test_loss_references.py, initial weights in
tests/models/test_inits.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.optim.lr_scheduler as theirs
from torch import nn

from tests.optim import papers
from tests.optim.references import STEPS, made, ours
from tests.optim.test_loss_references import LOSSES
from trainwright.core.kinds import losses, optimizers, schedules
from trainwright.core.responsive import Responsive

# --- optimizers: the papers' formulas in NumPy, on a problem whose gradients depend on the weights ------------------

# name -> [(options, rule of a matrix, rule of a vector)]; norms and biases, being vectors, do not decay unless asked
Rule = Callable[..., None]
B = (0.8, 0.95)
OPTIMIZERS: dict[str, list[tuple[dict[str, Any], Rule, Rule]]] = {
    "sgd": [
        ({"lr": 0.02}, partial(papers.sgd, lr=0.02), partial(papers.sgd, lr=0.02)),
        (
            {"lr": 0.02, "momentum": 0.7, "weight_decay": 0.1, "decay_all": True},
            *[partial(papers.sgd, lr=0.02, momentum=0.7, decay=0.1)] * 2,
        ),
        (
            {"lr": 0.02, "momentum": 0.7, "nesterov": True, "weight_decay": 0.1},
            partial(papers.sgd, lr=0.02, momentum=0.7, nesterov=True, decay=0.1),
            partial(papers.sgd, lr=0.02, momentum=0.7, nesterov=True),
        ),
    ],
    "momentum": [
        ({}, *[partial(papers.sgd, lr=0.01, momentum=0.9)] * 2),
        (
            {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1},
            partial(papers.sgd, lr=0.02, momentum=0.5, decay=0.1),
            partial(papers.sgd, lr=0.02, momentum=0.5),
        ),
    ],
    "nesterov": [
        ({}, *[partial(papers.sgd, lr=0.01, momentum=0.9, nesterov=True)] * 2),
        (
            {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1},
            partial(papers.sgd, lr=0.02, momentum=0.5, nesterov=True, decay=0.1),
            partial(papers.sgd, lr=0.02, momentum=0.5, nesterov=True),
        ),
    ],
    "adagrad": [
        ({"lr": 0.1}, *[partial(papers.adagrad, lr=0.1)] * 2),
        (
            {"lr": 0.1, "lr_decay": 0.01, "initial": 0.1},
            *[partial(papers.adagrad, lr=0.1, lr_decay=0.01, initial=0.1)] * 2,
        ),
    ],
    "rmsprop": [
        ({"lr": 0.01}, *[partial(papers.rmsprop, lr=0.01, alpha=0.99)] * 2),
        (
            {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True, "eps": 1e-6},
            *[partial(papers.rmsprop, lr=0.01, alpha=0.9, momentum=0.5, centered=True, eps=1e-6)] * 2,
        ),
    ],
    "adam": [
        ({}, *[partial(papers.adam, lr=1e-3, betas=(0.9, 0.999))] * 2),
        (
            {"lr": 0.01, "betas": B, "eps": 1e-6, "amsgrad": True, "weight_decay": 0.1},
            partial(papers.adam, lr=0.01, betas=B, eps=1e-6, amsgrad=True, l2=0.1),
            partial(papers.adam, lr=0.01, betas=B, eps=1e-6, amsgrad=True),
        ),
    ],
    "adamw": [
        (
            {},
            partial(papers.adam, lr=1e-3, betas=(0.9, 0.999), decay=0.01),
            partial(papers.adam, lr=1e-3, betas=(0.9, 0.999)),
        ),
        (
            {"lr": 0.01, "betas": B, "weight_decay": 0.2, "decay_all": True, "amsgrad": True},
            *[partial(papers.adam, lr=0.01, betas=B, decay=0.2, amsgrad=True)] * 2,
        ),
    ],
    "lion": [
        (
            {},
            partial(papers.lion, lr=1e-4, betas=(0.9, 0.99), decay=0.1),
            partial(papers.lion, lr=1e-4, betas=(0.9, 0.99)),
        ),
        (
            {"lr": 0.01, "betas": (0.95, 0.98), "weight_decay": 0.2, "decay_all": True},
            *[partial(papers.lion, lr=0.01, betas=(0.95, 0.98), decay=0.2)] * 2,
        ),
    ],
    "muon": [
        (
            {"lr": 0.02, "companion_lr": 0.003, "betas": B},
            partial(papers.muon, lr=0.02, momentum=0.95, nesterov=True, rounds=5, original=False, decay=0.1),
            partial(papers.adam, lr=0.003, betas=B),
        ),
        (
            {"lr": 0.02, "momentum": 0.9, "nesterov": False, "rounds": 3, "scaling": "original", "weight_decay": 0.2,
             "decay_all": True, "betas": B, "eps": 1e-6},
            partial(papers.muon, lr=0.02, momentum=0.9, nesterov=False, rounds=3, original=True, decay=0.2),
            partial(papers.adam, lr=0.02, betas=B, eps=1e-6, decay=0.2),
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ours(optimizers)))
def test_a_hundred_steps_of_every_optimizer_are_the_papers(name: str) -> None:
    assert name in OPTIMIZERS, "a new optimizer needs a reference here"
    for options, of_matrix, of_vector in OPTIMIZERS[name]:
        mine = [nn.Parameter(torch.tensor(w)) for w in papers.start()]
        optimizer = made(optimizers, name, options)(mine)
        reference = [papers.Weight(w) for w in papers.start()]
        for t in papers.steps(last=STEPS):
            for p, g in zip(mine, papers.valley([p.detach().numpy() for p in mine]), strict=True):
                p.grad = torch.tensor(g)
            optimizer.step()
            for w, g in zip(reference, papers.valley([w.value for w in reference]), strict=True):
                (of_matrix if w.matrix else of_vector)(w, g, t)
        for p, w in zip(mine, reference, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), w.value, rtol=1e-7, atol=1e-9)
        moved = max(float(np.abs(w.value - first).max()) for w, first in zip(reference, papers.start(), strict=True))
        assert moved > 5e-3, "the problem must move the weights"


TORCHS: list[tuple[str, dict[str, Any], Callable[..., torch.optim.Optimizer]]] = [
    ("sgd", {"lr": 0.1}, partial(torch.optim.SGD, lr=0.1)),
    ("momentum", {}, partial(torch.optim.SGD, lr=0.01, momentum=0.9)),
    ("nesterov", {}, partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True)),
    ("adagrad", {}, partial(torch.optim.Adagrad, lr=0.01)),
    ("rmsprop", {}, partial(torch.optim.RMSprop, lr=1e-3)),
    ("adam", {"amsgrad": True}, partial(torch.optim.Adam, amsgrad=True)),
    ("adamw", {"weight_decay": 0.1, "decay_all": True}, partial(torch.optim.AdamW, weight_decay=0.1)),
]


@pytest.mark.parametrize(("name", "options", "other"), TORCHS, ids=[c[0] for c in TORCHS])
def test_a_hundred_steps_are_torchs_bit_for_bit(name: str, options: dict[str, Any], other: Any) -> None:
    a, b = ([nn.Parameter(torch.tensor(w, dtype=torch.float32)) for w in papers.start()] for _ in range(2))
    for weights, optimizer in ((a, made(optimizers, name, options)(a)), (b, other(b))):
        for _ in papers.steps(last=STEPS):
            for p, g in zip(weights, papers.valley([p.detach().double().numpy() for p in weights]), strict=True):
                p.grad = torch.tensor(g, dtype=torch.float32)
            optimizer.step()
    assert all(map(torch.equal, a, b))


# --- schedules: torch's, or the formula; every step ------------------------------------------------------------------

BASE = 0.5
Scheduler = Callable[[torch.optim.Optimizer], theirs.LRScheduler]


def chained(*parts: tuple[Scheduler, int]) -> Scheduler:
    """Torch's schedulers one after the other, each for so many steps."""

    def build(o: torch.optim.Optimizer) -> theirs.LRScheduler:
        ends = np.cumsum([n for _, n in parts])[:-1].tolist()
        return theirs.SequentialLR(o, [make(o) for make, _ in parts], milestones=ends)

    return build


def rising(steps: int) -> tuple[Scheduler, int]:
    """The warm-up of this house: step s of n has the share (s + 1) / (n + 1)."""
    return (lambda o: theirs.LinearLR(o, 1 / (steps + 1), 1.0, steps)), steps


def formula(multiplier: Callable[[int], float]) -> Scheduler:
    return lambda o: theirs.LambdaLR(o, multiplier)


SCHEDULES: dict[str, list[tuple[dict[str, Any], Scheduler]]] = {
    "constant": [
        ({}, lambda o: theirs.ConstantLR(o, 1.0)),
        ({"warmup": 10.0}, chained(rising(10), ((lambda o: theirs.ConstantLR(o, 1.0)), 90))),
    ],
    "linear": [
        ({}, lambda o: theirs.LinearLR(o, 1.0, 0.0, STEPS)),
        ({"warmup": 0.2, "final": 0.3}, chained(rising(20), ((lambda o: theirs.LinearLR(o, 1.0, 0.3, 80)), 80))),
    ],
    "step": [
        ({"every": 0.25, "factor": 0.3}, lambda o: theirs.StepLR(o, 25, 0.3)),
        ({"every": 7.0}, lambda o: theirs.StepLR(o, 7, 0.1)),
    ],
    "multi_step": [
        ({}, lambda o: theirs.MultiStepLR(o, [50, 75], 0.1)),
        ({"at": [0.9, 10.0, 60.0], "factor": 0.5}, lambda o: theirs.MultiStepLR(o, [10, 60, 90], 0.5)),
    ],
    "exponential": [
        ({}, lambda o: theirs.ExponentialLR(o, 0.01 ** (1 / STEPS))),
        (
            {"warmup": 0.1, "final": 0.2},
            chained(rising(10), ((lambda o: theirs.ExponentialLR(o, 0.2 ** (1 / 90))), 90)),
        ),
    ],
    "polynomial": [
        ({}, lambda o: theirs.PolynomialLR(o, STEPS, 2.0)),
        ({"power": 0.9, "final": 0.2}, formula(lambda s: 0.2 + 0.8 * (1 - s / STEPS) ** 0.9)),
    ],
    "cosine": [
        ({}, lambda o: theirs.CosineAnnealingLR(o, STEPS)),
        (
            {"warmup": 20.0, "final": 0.1},
            chained(rising(20), ((lambda o: theirs.CosineAnnealingLR(o, 80, 0.1 * BASE)), 80)),
        ),
    ],
    "cosine_restarts": [
        ({"every": 0.3}, lambda o: theirs.CosineAnnealingWarmRestarts(o, 30)),
        (
            {"every": 10.0, "growth": 3, "final": 0.2},
            lambda o: theirs.CosineAnnealingWarmRestarts(o, 10, 3, 0.2 * BASE),
        ),
    ],
    "plateau": [
        (
            {"factor": 0.5, "patience": 3, "min_change": 0.05, "cooldown": 2, "final": 0.1},
            lambda o: theirs.ReduceLROnPlateau(
                o, factor=0.5, patience=3, threshold=0.05, threshold_mode="abs", cooldown=2, min_lr=0.1 * BASE
            ),
        ),
    ],
    "range_test": [  # ExponentialLR with a factor above 1, from where the options say
        (
            {"initial": 1e-4},
            lambda o: theirs.SequentialLR(
                o,
                [theirs.ConstantLR(o, 1e-4, 1), theirs.LambdaLR(o, lambda s: 1e-4 ** (1 - (s + 1) / (STEPS - 1)))],
                [1],
            ),
        ),
        ({}, lambda o: theirs.LambdaLR(o, lambda s: 10 ** (-8 + 8 * s / (STEPS - 1)))),
    ],
    "one_cycle": [
        ({}, lambda o: theirs.OneCycleLR(o, BASE, STEPS)),
        (
            {"warmup": 40.0, "initial": 0.1, "final": 0.01, "shape": "linear"},
            lambda o: theirs.OneCycleLR(
                o, BASE, STEPS, pct_start=0.4, div_factor=10, final_div_factor=10, anneal_strategy="linear"
            ),
        ),
    ],
}


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # torch's own SequentialLR
@pytest.mark.parametrize("name", sorted(ours(schedules)))
def test_every_step_of_every_schedule_is_torchs(name: str) -> None:
    assert name in SCHEDULES, "a new schedule needs a reference here"
    scores = 1 / (1 + np.arange(STEPS)) + np.random.default_rng(0).normal(0, 0.1, STEPS)  # falls, then wanders
    for options, build in SCHEDULES[name]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=BASE, momentum=0.9)
        scheduler, mine = build(optimizer), made(schedules, name, options)()
        for step in range(STEPS):
            rate = optimizer.param_groups[0]["lr"]
            assert BASE * mine(step, STEPS) == pytest.approx(rate, rel=1e-9, abs=1e-12), (options, step)
            optimizer.step()
            if isinstance(mine, Responsive):
                mine.judged(scores[step], "lower")
                scheduler.step(scores[step])
            elif step < STEPS - 1:
                scheduler.step()


def test_the_tables_hold_no_name_that_is_gone() -> None:
    for table, registry in ((OPTIMIZERS, optimizers), (SCHEDULES, schedules), (LOSSES, losses)):
        assert table.keys() == ours(registry)  # type: ignore[attr-defined]
