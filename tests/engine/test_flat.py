"""The weights of a module in a row."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.engine.test_step import Mean, line, mini
from trainwright.engine import flat as flats
from trainwright.engine.flat import Flat
from trainwright.engine.norms import Warm
from trainwright.engine.runtime import Runtime
from trainwright.engine.step import train_step


def same(flat: Flat, module: nn.Module) -> bool:
    return [*map(id, flat.weights())] == [*map(id, module.parameters())]


def test_weights_come_in_their_order_each_once() -> None:
    one = nn.Linear(2, 2)
    module = nn.Sequential(one, nn.ReLU(), nn.Sequential(nn.Linear(2, 3), one))
    assert same(Flat(module), module)


def test_a_weight_or_a_module_that_is_another_or_new_is_seen() -> None:
    first, inner = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 3))
    module = nn.Sequential(first, nn.ReLU(), inner)
    flat = Flat(module)
    assert same(flat, module)
    first.bias = nn.Parameter(torch.ones(2))
    assert same(flat, module)
    inner[0] = nn.Linear(2, 3)
    assert same(flat, module)
    module[1].register_parameter("slope", nn.Parameter(torch.ones(1)))
    assert same(flat, module)
    module.add_module("last", nn.Linear(3, 1))
    assert same(flat, module)
    first.register_parameter("bias", None)
    assert same(flat, module)


def test_it_is_known_whether_all_are_alike() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    flat = Flat(module)
    flat.weights()
    assert flat.alike
    module[1].weight = nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    flat.weights()
    assert not flat.alike


@pytest.mark.parametrize("options", [{}, {"l1": 0.01, "l2": 0.1}, {"clip_value": 1e-3}])
def test_steps_tell_the_same_norms_where_large_gradients_are_summed_as_they_come(
    options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(large: int) -> tuple[list[float], list[torch.Tensor]]:
        monkeypatch.setattr(flats, "LARGE", large)
        state = line()
        told = [train_step(state, Mean(), [mini(5)], Runtime(), **options) for _ in range(4)]  # type: ignore[arg-type]
        assert all(not w._post_accumulate_grad_hooks for w in state.model.parameters())
        return [float(step.norm) for step in told], [w.detach() for w in state.model.parameters()]

    noted: list[int] = []
    note = Warm._note
    monkeypatch.setattr(Warm, "_note", lambda self, weight: (noted.append(weight.numel()), note(self, weight))[1])
    norms, weights = trained(1)
    assert noted == [1, 3] * 3 or noted == [3, 1] * 3  # from the second step on: the first finds out which are large
    noted.clear()
    others, same_weights = trained(2**18)
    assert noted == []
    assert norms == pytest.approx(others, rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(weights, same_weights, strict=True))
