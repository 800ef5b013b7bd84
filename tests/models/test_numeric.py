"""Numbers as vectors, against the formulas of the paper in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainwright.models.numeric import Periodic, PiecewiseLinear, thinned


def of_the_paper(x: float, edges: Sequence[float]) -> list[float]:
    """Equation 1 of Gorishniy et al. 2022, bin by bin."""
    last = len(edges) - 1
    out = []
    for t in range(1, last + 1):
        if x < edges[t - 1] and t > 1:
            out.append(0.0)
        elif x >= edges[t] and t < last:
            out.append(1.0)
        else:
            out.append((x - edges[t - 1]) / (edges[t] - edges[t - 1]))
    return out


rising = st.lists(st.integers(-400, 400), min_size=2, max_size=9, unique=True).map(lambda v: [i / 8 for i in sorted(v)])


@given(edges=st.lists(rising, min_size=1, max_size=4), x=st.floats(-80, 80))
@settings(max_examples=60, deadline=None)
def test_the_encoding_is_that_of_the_paper(edges: list[list[float]], x: float) -> None:
    encoded = PiecewiseLinear(edges, 3).double().encoded(torch.full((1, len(edges)), x, dtype=torch.float64))[0]
    for found, own in zip(encoded, edges, strict=True):
        n = len(own) - 1
        assert found[:n].tolist() == pytest.approx(of_the_paper(x, own), rel=1e-5, abs=1e-4)  # edges are float32
        assert found[n:].tolist() == [0.0] * (len(found) - n)


def test_the_vectors_are_a_line_and_one_slope_for_each_bin() -> None:
    edges = [[-1.0, 0.0, 2.0], [0.0, 1.0]]
    module = PiecewiseLinear(edges, 4).double()
    torch.nn.init.normal_(module.slopes)
    x = torch.tensor([[-3.0, 0.25], [0.5, 1.0], [7.0, -2.0]]).double()
    said = module(x).view(3, 2, 4)
    for i in range(3):
        for f, own in enumerate(edges):
            bins = torch.tensor(of_the_paper(float(x[i, f]), own), dtype=x.dtype)
            expected = x[i, f] * module.line[f] + module.bias.view(2, -1)[f] + bins @ module.slopes[f, : len(bins)]
            assert torch.allclose(said[i, f], expected, rtol=1e-12)


def test_the_first_function_of_a_number_is_a_line() -> None:
    module = PiecewiseLinear([[-1.0, -0.5, 0.0, 3.0]], 5)
    x = torch.linspace(-4, 4, 9).unsqueeze(1)
    assert module(x).diff(dim=0).diff(dim=0).abs().max() < 1e-5


def test_no_number_is_too_large() -> None:
    module = PiecewiseLinear([[0.0, 1e-3, 1.0], [0.0, 1.0]], 2)
    assert bool(module(torch.tensor([[1e9, -1e9]])).isfinite().all())


def test_its_places_are_no_weights() -> None:
    """They follow from the data and are made of it again."""
    assert set(PiecewiseLinear([[0.0, 1.0]], 2).state_dict()) == {"line", "bias", "slopes"}


def test_periodic_vectors_are_those_of_the_paper() -> None:
    module = Periodic(2, 3, frequencies=4).double()
    x = torch.randn(5, 2).double()
    said = module(x).view(5, 2, 3)
    for i in range(5):
        for f in range(2):
            angles = [2 * math.pi * float(c) * float(x[i, f]) for c in module.frequencies[f].tolist()]
            waves = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles], dtype=x.dtype)
            assert torch.allclose(
                said[i, f], (waves @ module.weight[f] + module.bias.view(2, -1)[f]).relu(), rtol=1e-10
            )


@pytest.mark.parametrize("make", [lambda: PiecewiseLinear([[0.0, 1.0, 2.0], [0.0, 1.0]], 3), lambda: Periodic(2, 3)])
def test_a_number_moves_its_own_vector_alone(make: type) -> None:
    module = make()
    x = torch.tensor([[0.5, 0.5]], requires_grad=True)
    said: Tensor = module(x).view(2, 3)
    (gradient,) = torch.autograd.grad(said[0].sum(), x)
    assert float(gradient[0, 1]) == 0.0


@given(n=st.integers(2, 300), bins=st.integers(1, 128))
def test_thinning_keeps_the_ends_and_the_order(n: int, bins: int) -> None:
    edges = [i / 2 for i in range(n)]
    kept = thinned(edges, bins)
    assert len(kept) == min(n, bins + 1)
    assert (kept[0], kept[-1]) == (edges[0], edges[-1])
    assert kept == sorted(set(kept) & set(edges))
