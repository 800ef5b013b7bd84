"""A loss is recognized by what it computes, and guessing is the best that one answer for all reaches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainwright.engine.nature import deaf_of, facts_of, guess_of, recognized

N = 200


def targets() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 4, (N,), generator=generator)
    return {
        "labels": labels,
        "one_hot": F.one_hot(labels, 4).float(),
        "yes": (torch.rand(N, 1, generator=generator) > 0.3).float(),
        "numbers": torch.randn(N, generator=generator) * 3 + 5,
    }


def of_probabilities(o: Tensor, t: Tensor) -> Tensor:
    """As Keras has it: clamped, so that nothing is infinite."""
    o = o.clamp(1e-7, 1 - 1e-7)
    return -(t * o.log() + (1 - t) * (1 - o).log()).mean()


def of_shares(o: Tensor, t: Tensor) -> Tensor:
    o = o / o.sum(1, keepdim=True)
    return -(t * o.clamp(1e-7, 1).log()).sum(1).mean()


@pytest.mark.parametrize(
    ("loss", "target", "shape", "name", "wants"),
    [
        (F.cross_entropy, "labels", (4,), "cross_entropy", "logits"),
        (F.cross_entropy, "one_hot", (4,), "cross_entropy", "logits"),
        (F.nll_loss, "labels", (4,), "nll", "log_probabilities"),
        (of_shares, "one_hot", (4,), "cross_entropy", "probabilities"),
        (of_probabilities, "yes", (1,), "binary_cross_entropy", "probabilities"),
        (F.binary_cross_entropy_with_logits, "yes", (1,), "binary_cross_entropy", "logits"),
        (F.mse_loss, "numbers", (), "mse", "numbers"),
        (F.l1_loss, "numbers", (), "mae", "numbers"),
        (lambda o, t: F.mse_loss(o, t, reduction="sum"), "numbers", (), "mse", "numbers"),
    ],
)
def test_a_loss_is_recognized_by_its_values(
    loss: Callable[[Tensor, Tensor], Tensor], target: str, shape: tuple[int, ...], name: str, wants: str
) -> None:
    t = targets()[target]
    known = recognized(lambda o: loss(o, t), torch.randn(N, *shape), t)
    assert known is not None
    assert (known.name, known.wants) == (name, wants)


def test_a_loss_of_ones_own_is_not_taken_for_another() -> None:
    t = targets()["numbers"]
    assert recognized(lambda o: (o - t).pow(4).mean(), torch.randn(N), t) is None
    assert recognized(lambda o: (o * 0).sum() + 1, torch.randn(N), t) is None


def test_guessing_reaches_the_entropy_of_the_classes_and_the_variance_of_numbers() -> None:
    t = targets()
    share = torch.bincount(t["labels"]).double() / N
    entropy = float(-(share * share.log()).sum())
    assert guess_of(lambda o: F.cross_entropy(o, t["labels"]), torch.randn(N, 4), t["labels"], "logits") == (
        pytest.approx(entropy, rel=1e-4)
    )
    assert guess_of(lambda o: of_shares(o, t["one_hot"]), torch.rand(N, 4), t["one_hot"], "probabilities") == (
        pytest.approx(entropy, rel=1e-4)
    )
    numbers = t["numbers"]
    variance = float(numbers.var(correction=0))
    assert guess_of(lambda o: F.mse_loss(o, numbers), torch.randn(N), numbers, "numbers") == pytest.approx(variance)
    middle = float((numbers - numbers.median()).abs().mean())
    assert guess_of(lambda o: F.l1_loss(o, numbers), torch.randn(N), numbers, "numbers") == pytest.approx(
        middle, rel=1e-2
    )


def test_a_loss_that_refuses_every_constant_has_no_guess() -> None:
    def refusing(output: Tensor) -> Tensor:
        raise RuntimeError("no")

    assert math.isnan(guess_of(refusing, torch.randn(N), targets()["numbers"], ""))


def test_the_deaf_share_is_that_of_samples_whose_output_is_cut_off() -> None:
    t = targets()["yes"]
    output = torch.cat([torch.full((50, 1), 0.5), torch.full((150, 1), 7.0)])
    assert deaf_of(lambda o: of_probabilities(o, t), output) == pytest.approx(0.75)
    assert deaf_of(lambda o: o.detach().sum(), output) == 1.0


def test_shapes_that_spread_over_each_other_are_named() -> None:
    t = targets()["numbers"]
    with pytest.warns(UserWarning, match="target size"):
        found = facts_of(lambda o: F.mse_loss(o, t), torch.randn(N, 1), t, 1.0)
    assert found.broadcast == "(200, 1) and (200,) became (200, 200)"
    assert not facts_of(lambda o: F.mse_loss(o, t), torch.randn(N), t, 1.0).broadcast


def test_minus_a_known_loss_is_known_as_that_and_has_no_lowest_value() -> None:
    labels, output = targets()["labels"], torch.randn(N, 4)
    told = facts_of(lambda o: -F.cross_entropy(o, labels), output, labels, -1.4)
    assert told.minus
    assert told.name == "cross_entropy"
    assert math.isnan(told.guess)
    assert not facts_of(lambda o: F.cross_entropy(o, labels), output, labels, 1.4).minus
    assert recognized(lambda o: o.sum() * 0 + 3.0, output, labels) is None
