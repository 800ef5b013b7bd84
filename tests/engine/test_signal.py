"""Whether there is anything to learn, by what simple models get of it."""

from __future__ import annotations

import math

import pytest
import torch

from trainwright.engine.signal import reached, signal_of

X = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "y",
    [(X[:, 0] > 0).long(), ((X[:, 0] > 0) ^ (X[:, 1] > 0)).float(), X[:, :1] * 2 + 1, X[:, 0] ** 2],
    ids=["a threshold", "exclusive or", "a line", "a parabola"],
)
def test_what_can_be_learned_is_found(y: torch.Tensor) -> None:
    share, error = signal_of(X, y)
    assert share > 4 * error


@pytest.mark.parametrize("seed", range(5))
def test_in_noise_nothing_is_found(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for y in (
        torch.randint(0, 2, (500,), generator=generator),
        torch.randn(500, generator=generator),
        torch.nn.functional.one_hot(torch.randint(0, 5, (500,), generator=generator), 5).float(),
    ):
        share, error = signal_of(X, y)
        assert share <= 2.5 * error


def test_what_these_models_do_not_know_is_not_judged() -> None:
    for x, y in ((X[:20], X[:20, 0]), (X.long(), X[:, 0]), (X, torch.ones(500)), (X, torch.rand(500, 3))):
        assert math.isnan(signal_of(x, y)[0])


YES = (X[:, 0] > 0).float()


@pytest.mark.parametrize(
    ("output", "y", "wants"),
    [
        (X[:, :1], YES, "logits"),
        (X[:, :1].sigmoid(), YES, "probabilities"),
        (torch.stack([-X[:, 0], X[:, 0]], 1), YES.long(), "logits"),
        (torch.stack([-X[:, 0], X[:, 0]], 1), torch.stack([1 - YES, YES], 1), "logits"),
        (X[:, :1], X[:, 0], "numbers"),
    ],
    ids=["logits", "probabilities", "classes", "one-hot", "numbers"],
)
def test_what_a_network_says_is_measured_alike(output: torch.Tensor, y: torch.Tensor, wants: str) -> None:
    assert reached(output, y, wants) == 1
    assert reached(torch.zeros_like(output), y, wants) < 0.1


def test_quantiles_and_outputs_for_an_unknown_loss_are_not_judged() -> None:
    assert math.isnan(reached(X[:, :3], X[:, 0], "numbers"))
    assert math.isnan(reached(X[:, :1], X[:, 0].exp(), ""))


def test_what_is_not_finite_or_of_another_shape_gets_nowhere() -> None:
    for output, y in ((X[:, :1] / 0, YES), (X, torch.rand(500, 3)), (X[:20], YES)):
        assert math.isnan(reached(output, y, "logits"))
