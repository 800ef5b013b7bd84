"""The weights of a module in a row."""

from __future__ import annotations

import torch
from torch import nn

from trainwright.engine.flat import Flat


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
