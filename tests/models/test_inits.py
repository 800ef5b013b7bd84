"""Initial weights by name: each has the spread, the bounds or the angles of its paper's formula, in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm, truncnorm, uniform
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import Init, inits
from trainwright.core.schema import check

SHAPES = [(300, 200), (40, 30, 5, 3)]  # a matrix and a kernel
GAIN = 1.7
CHANCE = 1e-6  # of a sound rule being refused by a test of chance

# The formula of each paper for weights with I inputs and O outputs, both counted over the window of a kernel.
DEVIATIONS: dict[str, Any] = {
    "xavier_uniform": lambda i, o, g: g * math.sqrt(2 / (i + o)),
    "xavier_normal": lambda i, o, g: g * math.sqrt(2 / (i + o)),
    "kaiming_uniform": lambda i, o, g: g / math.sqrt(i),
    "kaiming_normal": lambda i, o, g: g / math.sqrt(i),
    "lecun_uniform": lambda i, o, g: 1 / math.sqrt(i),
    "lecun_normal": lambda i, o, g: 1 / math.sqrt(i),
    "truncated_normal": lambda i, o, g: g / math.sqrt(i),
}
OTHERS = {"auto", "orthogonal", "zeros", "constant"}  # with a test of their own below


def rule(name: str, **options: Any) -> Init:
    made = inits[name](**check(inits[name], options, "init"))
    assert made is not None
    return made


def drawn(name: str, shape: tuple[int, ...], gain: float = GAIN, seed: int = 0, **options: Any) -> Tensor:
    weight = torch.full(shape, torch.nan, dtype=torch.float64)
    rule(name, **options)(weight, gain, torch.Generator().manual_seed(seed))
    return weight


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def law(name: str, deviation: float) -> Any:
    """The distribution with that deviation."""
    if name == "truncated_normal":
        return truncnorm(-2, 2, scale=deviation / truncnorm.std(-2, 2))
    wide = math.sqrt(3) * deviation
    return uniform(-wide, 2 * wide) if name.endswith("uniform") else norm(scale=deviation)


def test_every_rule_is_tested_here() -> None:
    ours = {n for n in inits.names() if inits[n].__module__.startswith("trainwright.")}
    assert ours == DEVIATIONS.keys() | OTHERS


@pytest.mark.parametrize("name", DEVIATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_have_the_distribution_of_the_paper(name: str, shape: tuple[int, ...]) -> None:
    expected = law(name, DEVIATIONS[name](*fans(shape), GAIN))
    weight = drawn(name, shape).flatten().numpy()
    assert kstest(weight, expected.cdf).pvalue > CHANCE
    # the variance, to what its own sampling error allows
    kurtosis = float(expected.stats("k"))
    error = math.sqrt((kurtosis + 2) / weight.size)
    assert abs(weight.var() / expected.var() - 1) < -norm.ppf(CHANCE / 2) * error
    low, high = expected.support()
    assert low <= weight.min() <= weight.max() <= high


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_are_torchs_number_for_number(shape: tuple[int, ...]) -> None:
    theirs: dict[str, Any] = {
        "xavier_uniform": lambda w, g: nn.init.xavier_uniform_(w, GAIN, g),
        "xavier_normal": lambda w, g: nn.init.xavier_normal_(w, GAIN, g),
        "kaiming_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=g),
        "kaiming_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
        "lecun_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="linear", generator=g),
        "lecun_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="linear", generator=g),
        "orthogonal": lambda w, g: nn.init.orthogonal_(w, GAIN, g),
    }
    for name, fill in theirs.items():
        gain = math.sqrt(2) if name.startswith("kaiming") else GAIN
        wanted = torch.empty(shape, dtype=torch.float64)
        fill(wanted, torch.Generator().manual_seed(3))
        torch.testing.assert_close(drawn(name, shape, gain, seed=3), wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["kaiming_uniform", "kaiming_normal"])
def test_kaiming_may_keep_gradients_instead(name: str) -> None:
    shape = (40, 30, 5, 3)
    inputs, outputs = fans(shape)
    forward, back = drawn(name, shape), drawn(name, shape, fan="outputs")
    torch.testing.assert_close(back, forward * math.sqrt(inputs / outputs), rtol=1e-12, atol=0)


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), window=st.integers(1, 3), seed=st.integers(0, 10))
@settings(deadline=None)
def test_orthogonal_weights_have_rows_or_columns_at_right_angles(
    rows: int, columns: int, window: int, seed: int
) -> None:
    weight = drawn("orthogonal", (rows, columns, window), seed=seed).flatten(1)
    smaller = weight @ weight.T if rows <= columns * window else weight.T @ weight
    torch.testing.assert_close(smaller, GAIN**2 * torch.eye(len(smaller), dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_orthogonal_matrices_favour_no_direction() -> None:
    """Haar's measure: an entry of a random rotation of 3 dimensions is uniform in [-1, 1] (Archimedes)."""
    entries = torch.stack([drawn("orthogonal", (3, 3), 1.0, seed) for seed in range(2000)])
    for i, j in ((0, 0), (1, 2), (2, 1)):
        assert kstest(entries[:, i, j].numpy(), uniform(-1, 2).cdf).pvalue > CHANCE


@pytest.mark.parametrize("cut", [0.5, 1.0, 2.0, 3.0, 10.0])
def test_a_truncated_normal_has_the_deviation_asked_for_and_no_tails(cut: float) -> None:
    weight = drawn("truncated_normal", (300, 300), std=0.02, cut=cut).flatten().numpy()
    expected = truncnorm(-cut, cut, scale=0.02 / truncnorm.std(-cut, cut))
    assert expected.std() == pytest.approx(0.02)
    assert kstest(weight, expected.cdf).pvalue > CHANCE
    assert abs(weight).max() <= expected.support()[1]


def test_zeros_and_constants_are_what_they_say() -> None:
    assert torch.equal(drawn("zeros", (3, 2)), torch.zeros(3, 2, dtype=torch.float64))
    assert torch.equal(drawn("constant", (3, 2), value=-0.25), torch.full((3, 2), -0.25, dtype=torch.float64))


def test_auto_draws_nothing() -> None:
    assert inits["auto"]() is None


@pytest.mark.parametrize("name", sorted(DEVIATIONS.keys() | {"orthogonal"}))
def test_a_gain_that_is_given_is_the_gain_of_all_layers(name: str) -> None:
    one, other = torch.zeros(50, 40), torch.zeros(50, 40)
    rule(name, gain=0.3)(one, 5.0, torch.Generator().manual_seed(0))
    rule(name, gain="auto")(other, 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(one, other)


def test_options_that_make_no_sense_are_told() -> None:
    for name, options, said in (
        ("constant", {}, r"init\.value: required"),
        ("constant", {"value": float("nan")}, r"init\.value"),
        ("orthogonal", {"gain": 0.0}, r"init\.gain"),
        ("orthogonal", {"gain": "relu"}, r"init\.gain"),
        ("truncated_normal", {"std": -1.0}, r"init\.std"),
        ("xavier_normal", {"fan": "inputs"}, r"init\.fan: unknown option"),
    ):
        with pytest.raises(UserError, match=said):
            check(inits[name], options, "init")
