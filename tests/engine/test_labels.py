"""Labels that others contradict are counted, and hard data is told apart from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trainwright.core.data_facts import DataFacts, Labels
from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Finding
from trainwright.engine.labels import labels_of
from trainwright.rules.diagnosis import all_rules
from trainwright.rules.patients import patient

N = 1000
RULE = all_rules()["noisy_labels"]


def told(labels: Labels) -> Finding | None:
    facts = Facts(data=DataFacts(labels=labels), loss=LossFacts(guess=0.7))
    found = RULE.check(patient(facts, [0.4] * 300, over=True))
    assert found is None or isinstance(found, Finding)
    return found


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rings(seed: int) -> tuple[Tensor, Tensor]:
    """Classes that no straight line tells apart."""
    y = torch.arange(N) % 2
    ways = torch.nn.functional.normalize(drawn(seed, N, 3), dim=1)
    return ways * (1 + 1.5 * y[:, None]) + 0.25 * drawn(seed + 1, N, 3), y


def clusters(seed: int) -> tuple[Tensor, Tensor]:
    """Four of them, a little overlapping."""
    y = torch.arange(N) % 4
    return drawn(seed, N, 6) + 4 * torch.nn.functional.one_hot(y, 6), y


def near(seed: int) -> tuple[Tensor, Tensor]:
    """Two classes that overlap by a fifth."""
    y = torch.arange(N) % 2
    return drawn(seed, N, 4) + 1.6 * y[:, None] * torch.tensor([1.0, 0, 0, 0], dtype=torch.float64), y


def pair(seed: int) -> tuple[Tensor, Tensor]:
    """Three classes, two of which lie on one another, the third apart."""
    y = torch.arange(N) % 3
    middle = torch.tensor([[0.0, 0, 0, 0], [0.3, 0, 0, 0], [5, 5, 0, 0]], dtype=torch.float64)
    return drawn(seed, N, 4) + middle[y], y


def chance(seed: int) -> tuple[Tensor, Tensor]:
    """By a coin whose weight one input tells."""
    x = drawn(seed, N, 5)
    return x, (torch.rand(N, generator=torch.Generator().manual_seed(seed + 1)) < torch.sigmoid(3 * x[:, 0])).long()


def rare(seed: int) -> tuple[Tensor, Tensor]:
    """One in ten, and little tells which."""
    x = drawn(seed, N, 5)
    odds = torch.sigmoid(1.5 * x[:, 0] - 3)
    return x, (torch.rand(N, generator=torch.Generator().manual_seed(seed + 1)) < odds).long()


def coin(seed: int) -> tuple[Tensor, Tensor]:
    """Nothing tells."""
    return drawn(seed, N, 5), torch.randint(0, 2, (N,), generator=torch.Generator().manual_seed(seed + 1))


Made = Callable[[int], tuple[Tensor, Tensor]]


def wrong(y: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Some labels exchanged for another; and which."""
    generator, classes = torch.Generator().manual_seed(7), int(y.max()) + 1
    hit = torch.rand(len(y), generator=generator) < share
    return torch.where(hit, (y + torch.randint(1, classes, y.shape, generator=generator)) % classes, y), hit


@pytest.mark.parametrize("share", [0.07, 0.15])
@pytest.mark.parametrize("made", [rings, clusters])
def test_wrong_labels_are_told_with_their_share_and_their_places(made: Made, share: float) -> None:
    x, y = made(0)
    noisy, hit = wrong(y, share)
    found = told(labels_of(x, noisy, str))
    assert found is not None
    assert found.evidence["low"] < float(hit.double().mean()) < found.evidence["high"]
    places = [int(i) for i in labels_of(x, noisy, str).shown]
    assert all(bool(hit[i]) for i in places)
    one_hot = torch.nn.functional.one_hot(noisy).double()
    assert labels_of(x, one_hot, str) == labels_of(x, noisy[:, None], str) == labels_of(x, noisy, str)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("made", [rings, clusters, near, pair, chance, rare, coin])
def test_what_is_hard_is_not_called_wrong(made: Made, seed: int) -> None:
    assert told(labels_of(*made(seed))) is None


def test_what_cannot_be_told_is_not_judged() -> None:
    x, y = rings(0)
    nothing = Labels()
    assert labels_of(x[:50], y[:50]) == nothing
    assert labels_of((x > 0).double(), y) == nothing  # few different inputs
    assert labels_of(x, x[:, 0]) == nothing  # numbers
    assert labels_of((10 * x).long(), y) == nothing  # codes of words
    assert labels_of(x, torch.rand(N, 4)) == nothing
    assert labels_of(torch.full_like(x, torch.nan), y) == nothing


def test_a_network_that_says_them_right_for_others_too_has_told_that_they_are_right() -> None:
    labels = labels_of(rings(0)[0], wrong(rings(0)[1], 0.1)[0])
    for learned, accuracy, speaks in ((1.0, 0.99, False), (1.0, 0.9, True), (0.8, 0.99, True)):
        facts = Facts(data=DataFacts(labels=replace(labels, learned=learned)), loss=LossFacts(guess=0.7))
        evals = {100: {"accuracy": 0.5}, 200: {"accuracy": accuracy}}
        assert (RULE.check(patient(facts, [0.4] * 300, evals=evals, over=True)) is not None) == speaks
