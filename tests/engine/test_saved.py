"""What a forward pass keeps is counted in bytes, each memory once, without the weights."""

from __future__ import annotations

import weakref

import torch
from torch import nn

from trainwright.engine.saved import saved_for_backward


def test_the_bytes_of_a_pass_are_those_of_the_tensors_its_layers_need() -> None:
    model = nn.Sequential(nn.Linear(6, 16), nn.Sigmoid(), nn.Linear(16, 2))
    for n in (8, 24):
        with saved_for_backward(model) as saved:
            said = model(torch.zeros(n, 6))
            assert saved() == 4 * n * (6 + 16)  # the input, and the sigmoid's output, which two operations keep
            del said


def test_a_pass_without_gradients_keeps_nothing() -> None:
    model = nn.Linear(6, 16)
    with torch.no_grad(), saved_for_backward(model) as saved:
        model(torch.zeros(8, 6))
        assert saved() == 0


def test_what_was_counted_is_free_when_the_result_is() -> None:
    model = nn.Sequential(nn.Linear(6, 16), nn.Sigmoid())
    seen: list[weakref.ref[torch.Tensor]] = []
    model[1].register_forward_hook(lambda _m, _i, made: seen.append(weakref.ref(made)))
    with saved_for_backward(model) as saved:
        said = model(torch.zeros(8, 6)).sum()
        assert saved()
        del said
    assert seen[0]() is None
