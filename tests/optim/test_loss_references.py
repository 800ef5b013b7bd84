"""Every loss by name beside an independent reference, while a model learns for a hundred steps: means of all samples.

A name that is registered without one fails here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.optim.references import STEPS, made, ours
from trainwright.core.criterion import Criterion
from trainwright.core.kinds import losses

N, FEATURES, CLASSES = 24, 5, 4
WEIGHTS = [0.2, 1.0, 3.0, 0.5]
Reference = Callable[[Tensor, Tensor], Tensor]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, LABELS, VALUES = numbers(N, FEATURES), torch.arange(N) * 7 % 11 % CLASSES, numbers(N, CLASSES, seed=1)
YES, TEACHER = (numbers(N, CLASSES, seed=2) > 0).double(), numbers(N, CLASSES, seed=3)
COUNTS = torch.bincount(LABELS).double()


def focal(z: Tensor, y: Tensor, gamma: float, alpha: list[float] | None = None) -> Tensor:
    """Lin et al. 2017, eq. 5, with a softmax."""
    p = z.softmax(1).gather(1, y[:, None]).squeeze(1)
    factor = torch.ones_like(p) if alpha is None else torch.tensor(alpha, dtype=p.dtype)[y]
    return (-factor * (1 - p) ** gamma * p.log()).mean()


def binary_focal(z: Tensor, y: Tensor, gamma: float, alpha: float | None = None) -> Tensor:
    """Lin et al. 2017, eq. 5."""
    p = torch.where(y == 1, z.sigmoid(), 1 - z.sigmoid())
    factor = torch.ones_like(p) if alpha is None else torch.where(y == 1, alpha, 1 - alpha)
    return (-factor * (1 - p) ** gamma * p.log()).mean()


def hinge(z: Tensor, y: Tensor, margin: float, squared: bool) -> Tensor:
    """Crammer & Singer 2001: the worst of the other classes."""
    others = z.masked_fill(F.one_hot(y, CLASSES).bool(), -torch.inf).amax(1)
    value = F.relu(margin + others - z[torch.arange(len(z)), y])
    return (value**2 if squared else value).mean()


# name -> [(options, reference of the mean, targets, last layer of the model)]
LOSSES: dict[str, list[tuple[dict[str, Any], Reference, Tensor]]] = {
    "mse": [({}, nn.MSELoss(), VALUES)],
    "mae": [({}, nn.L1Loss(), VALUES)],
    "huber": [({}, nn.HuberLoss(), VALUES), ({"delta": 0.3}, nn.HuberLoss(delta=0.3), VALUES)],
    "cross_entropy": [
        ({}, nn.CrossEntropyLoss(), LABELS),
        (
            {"class_weights": WEIGHTS, "label_smoothing": 0.1},
            nn.CrossEntropyLoss(torch.tensor(WEIGHTS, dtype=torch.float64), label_smoothing=0.1),
            LABELS,
        ),
        ({"ignore_index": 2}, nn.CrossEntropyLoss(ignore_index=2), LABELS),
        ({"class_weights": "balanced"}, nn.CrossEntropyLoss(N / (CLASSES * COUNTS)), LABELS),
        ({"label_smoothing": 0.2}, nn.CrossEntropyLoss(label_smoothing=0.2), TEACHER.softmax(1)),
    ],
    "nll": [
        ({}, nn.NLLLoss(), LABELS),
        (
            {"class_weights": WEIGHTS, "ignore_index": 1},
            nn.NLLLoss(torch.tensor(WEIGHTS, dtype=torch.float64), ignore_index=1),
            LABELS,
        ),
        ({"class_weights": "balanced"}, nn.NLLLoss(N / (CLASSES * COUNTS)), LABELS),
    ],
    "kl": [
        ({}, lambda z, t: F.kl_div(z.log_softmax(1), t, reduction="batchmean"), TEACHER.softmax(1)),
        (
            {"target": "logits"},
            lambda z, t: F.kl_div(z.log_softmax(1), t.log_softmax(1), reduction="batchmean", log_target=True),
            TEACHER,
        ),
        (
            {"target": "log_probabilities"},
            lambda z, t: F.kl_div(z.log_softmax(1), t, reduction="batchmean", log_target=True),
            TEACHER.log_softmax(1),
        ),
    ],
    "binary_cross_entropy": [
        ({}, nn.BCEWithLogitsLoss(), YES),
        (
            {"pos_weight": 3.0, "label_smoothing": 0.2},
            lambda z, t: F.binary_cross_entropy_with_logits(z, 0.8 * t + 0.1, pos_weight=torch.tensor(3.0)),
            YES,
        ),
    ],
    "focal": [
        ({}, partial(focal, gamma=2.0), LABELS),
        ({"gamma": 0.7, "alpha": WEIGHTS}, partial(focal, gamma=0.7, alpha=WEIGHTS), LABELS),
    ],
    "binary_focal": [
        ({}, partial(binary_focal, gamma=2.0), YES),
        ({"gamma": 0.7, "alpha": 0.25}, partial(binary_focal, gamma=0.7, alpha=0.25), YES),
    ],
    "hinge": [
        ({}, partial(hinge, margin=1.0, squared=False), LABELS),
        ({"margin": 0.5, "squared": True}, partial(hinge, margin=0.5, squared=True), LABELS),
    ],
    "binary_hinge": [
        ({}, lambda z, t: F.relu(1 - (2 * t - 1) * z).mean(), YES),
        ({"margin": 0.5, "squared": True}, lambda z, t: F.relu(0.5 - (2 * t - 1) * z).square().mean(), YES),
    ],
}


def of_parts(criterion: Criterion, output: Tensor, target: Tensor) -> Tensor:
    """As the engine computes it, over micro-batches of different sizes: sums, divided once."""
    cuts = (1, 9, 15)
    pairs = list(zip(output.tensor_split(cuts), target.tensor_split(cuts), strict=True))
    return torch.stack([criterion.each(o, t).sum() for o, t in pairs]).sum() / sum(
        criterion.weight(t).double() for _, t in pairs
    )


@pytest.mark.parametrize("name", sorted(ours(losses)))
def test_a_hundred_steps_down_every_loss_are_those_down_its_reference(name: str) -> None:
    assert name in LOSSES, "a new loss needs a reference here"
    for options, reference, target in LOSSES[name]:
        criterion: Criterion = made(losses, name, options)()
        criterion.learn(COUNTS.tolist())
        mine, other = (
            numbers(FEATURES, CLASSES, seed=5).requires_grad_(),
            numbers(FEATURES, CLASSES, seed=5).requires_grad_(),
        )
        seen: list[float] = []
        for _ in range(STEPS):
            values = []
            for weight, loss in ((mine, partial(of_parts, criterion)), (other, reference)):
                output = X @ weight
                value = loss(output.log_softmax(1) if name == "nll" else output, target)
                (gradient,) = torch.autograd.grad(value, weight)
                weight.data -= 0.1 * gradient
                values.append(float(value.detach()))
            assert values[0] == pytest.approx(values[1], rel=1e-9), options
            seen.append(values[0])
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-9)
        assert seen[-1] < seen[0], "a hundred steps down must lead down"


def test_scikit_learn_agrees_where_it_has_the_loss() -> None:
    from sklearn.metrics import hinge_loss, log_loss, mean_absolute_error, mean_squared_error
    from sklearn.utils.class_weight import compute_class_weight

    z = numbers(N, CLASSES, seed=6)
    found = {
        n: float(of_parts(losses[n](), z, t)) for n, t in (("cross_entropy", LABELS), ("mse", VALUES), ("mae", VALUES))
    }
    assert found["cross_entropy"] == pytest.approx(log_loss(LABELS, z.softmax(1).numpy()))
    assert found["mse"] == pytest.approx(mean_squared_error(VALUES, z))
    assert found["mae"] == pytest.approx(mean_absolute_error(VALUES, z))
    assert float(of_parts(losses["hinge"](), z, LABELS)) == pytest.approx(hinge_loss(LABELS, z.numpy()))
    yes = float(of_parts(losses["binary_cross_entropy"](), z[:, 0], YES[:, 0]))
    assert yes == pytest.approx(log_loss(YES[:, 0], z[:, 0].sigmoid().numpy()))
    weights = compute_class_weight("balanced", classes=np.arange(CLASSES), y=LABELS.numpy())
    assert weights == pytest.approx((N / (CLASSES * COUNTS)).numpy())
