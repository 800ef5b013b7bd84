"""Pixels that are picked first give the same sums, and the same gradients."""

from __future__ import annotations

import torch
from torch import nn

from trainwright.models import strided
from trainwright.models.resnet import _shortcut


def test_it_is_the_convolution_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = strided.Conv2d(4, 8, 1, (2, 3), bias=True), nn.Conv2d(4, 8, 1, (2, 3), bias=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 9, 10)  # with the width last torch computes both soundly
    there = [x.clone().requires_grad_() for _ in range(2)]
    one, two = ours(there[0]), theirs(there[1])
    torch.testing.assert_close(one, two)
    for made, given in ((one, there[0]), (two, there[1])):
        made.square().sum().backward()
        assert given.grad is not None
    torch.testing.assert_close(there[0].grad, there[1].grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_shortcuts_of_few_maps_are_of_it() -> None:
    few, many = _shortcut(4, 8, 2), _shortcut(8, 16, 2)
    assert type(few[0]) is strided.Conv2d  # type: ignore[index]
    assert type(many[0]) is nn.Conv2d  # type: ignore[index]
    assert strided.at_risk(nn.Conv2d(4, 8, 1, stride=2))
    assert not any(map(strided.at_risk, (few[0], many[0], nn.Conv2d(4, 8, 3, stride=2), nn.Conv2d(4, 8, 1))))  # type: ignore[index]


def test_many_gradients_of_pictures_with_the_channels_last_leave_memory_whole() -> None:
    net = strided.Conv2d(4, 8, 1, 2, bias=False).to(memory_format=torch.channels_last)
    x = torch.randn(16, 4, 16, 16).to(memory_format=torch.channels_last)
    kept = []
    for i in range(300):  # of torch's own the process dies here on a CPU with AVX2 alone
        net.weight.grad = None
        net(x).sum().backward()
        kept.append(torch.zeros(i % 50 + 1))
    assert net.weight.grad is not None
    assert bool(net.weight.grad.isfinite().all())
