"""Trials on copies before the first step: what can learn does, what cannot is told, the model knows nothing of it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from trainwright.engine import self_test as tested
from trainwright.engine.by_heart import by_heart
from trainwright.engine.invariance import Sum, invariance
from trainwright.engine.self_test import self_test

DRAWN = torch.Generator().manual_seed(0)
X = torch.randn(16, 5, generator=DRAWN)
Y = torch.randint(0, 3, (16,), generator=DRAWN)
CPU = torch.device("cpu")


def net(*more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 3), *more)


def lose(model: nn.Module) -> Tensor:
    return nn.functional.cross_entropy(model(X), Y)


def test_random_labels_are_learned_by_heart_and_the_model_stays_as_it_was() -> None:
    model = net()
    before = {n: p.clone() for n, p in model.state_dict().items()}
    found = by_heart(model, lose, 16, seconds=60)
    assert found.reached <= 0.1 * found.start
    assert all(torch.equal(before[n], p) for n, p in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert all(m.training for m in model.modules())
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.9]


class Mean(nn.Module):
    """Forgets which sample is which."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True).expand_as(x)


def test_what_does_not_see_its_inputs_learns_nothing_by_heart() -> None:
    found = by_heart(net(Mean()), lose, 16, steps=120, seconds=60)
    guess = float(torch.distributions.Categorical(torch.bincount(Y).float() / 16).entropy())
    assert found.reached > 0.95 * guess
    assert found.steps == 240


def test_a_loss_without_a_graph_is_no_trial() -> None:
    assert by_heart(net(), lambda model: lose(model).detach(), 16).steps == 0


def test_the_cpu_counts_as_it_should_in_every_precision() -> None:
    for precision in ("float64", "float32"):
        found = self_test(CPU, precision, nullcontext)
        assert 0 <= found.error <= found.allowed
        assert found.worst or found.error == 0
    found = self_test(CPU, "bfloat16", lambda: torch.autocast("cpu", torch.bfloat16))
    assert 1e-4 < found.error <= found.allowed


def test_an_operation_that_is_off_by_a_thousandth_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: Tensor) -> Tensor:
        return nn.functional.gelu(x) * (1.001 if x.dtype == torch.float32 else 1.0)

    monkeypatch.setitem(tested._OPERATIONS, "gelu", (wrong, ((256, 64),)))
    found = self_test(CPU, "float32", nullcontext)
    assert found.worst == "gelu"
    assert found.error == pytest.approx(1e-3, rel=0.1)
    assert found.error > found.allowed


def summed(rows: slice, mean: bool = False) -> Sum:
    def over(model: nn.Module) -> tuple[Tensor, Tensor]:
        x, y = X[rows], Y[rows]
        total = nn.functional.cross_entropy(model(x), y, reduction="sum")
        return (total / len(x) if mean else total), torch.tensor(1.0 if mean else float(len(x)))

    return over


def test_sums_give_the_same_gradient_in_pieces_and_means_of_uneven_pieces_do_not() -> None:
    pieces = [slice(0, 2), slice(2, 16)]
    good = invariance(net(), summed(slice(None)), [summed(p) for p in pieces])
    assert good.cut < 1e-5
    bad = invariance(net(), summed(slice(None), True), [summed(p, True) for p in pieces])
    assert bad.cut > 0.01


def test_a_reduced_precision_is_as_coarse_as_it_is() -> None:
    def half(model: nn.Module) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return summed(slice(None))(model)

    found = invariance(net(), summed(slice(None)), [summed(slice(None))], half)
    assert 1e-5 < found.precision < 0.1
