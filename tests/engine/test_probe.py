"""A probe measures one step and leaves no trace; its pace keeps to its share of the time."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from trainwright.engine.probe import Pace, Probe


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def test_a_probe_tells_gradient_update_and_activations() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    optimizer, x = torch.optim.SGD(model.parameters(), 0.1), torch.randn(32, 4)
    probe = Probe(model, optimizer, lambda: model(x), nullcontext)
    was = model[0].weight.detach().clone()
    probe.arm()
    step(model, optimizer, x)
    gradient = model[0].weight.grad
    assert gradient is not None
    told = probe.read(1).statistics
    assert told["0"]["gradient"] == pytest.approx(float(gradient.square().mean().sqrt()))
    assert told["0"]["update"] == pytest.approx(float((0.1 * gradient).norm() / was.norm()), rel=1e-4)
    assert told["1"]["zeros"] == pytest.approx(float((model[1](model[0](x)) == 0).float().mean()))
    assert set(told) == {"0", "1", "2"}


def test_between_probes_there_is_no_hook_and_no_number_is_changed() -> None:
    runs = []
    for probing in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 2))
        optimizer, x = torch.optim.Adam(model.parameters(), 0.01), torch.randn(8, 4)
        probe = Probe(model, optimizer, None, nullcontext)
        for i in range(6):
            if probing and i % 2:
                probe.arm()
            step(model, optimizer, x)
            if probing and i % 2:
                probe.read(i)
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        runs.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_probes_that_cost_much_are_rare_and_the_last_step_is_always_looked_at() -> None:
    now = [0.0]
    pace = Pace(1000, clock=lambda: now[0])
    taken = []
    for i in range(1, 1001):
        if pace.due(i):
            taken.append(i)
            pace.paid(0.05)
            now[0] += 0.05
        now[0] += 0.001
    assert taken[-1] == 1000
    assert {250, 500, 750} <= set(taken)
    assert len(taken) <= 5  # a second of training allows no more than 20 ms, and four are always taken
    cheap = Pace(1000, clock=lambda: now[0])
    count = 0
    for i in range(1, 1001):
        if cheap.due(i):
            count += 1
            cheap.paid(0.0001)
        now[0] += 0.01
    assert 90 <= count <= 104


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 6, 7, 10, 13, 99, 1001])
def test_the_ends_of_all_quarters_are_looked_at_whatever_it_costs(steps: int) -> None:
    pace = Pace(steps, clock=lambda: 0.0)
    pace.paid(1e9)
    quarters = {steps // 4, steps // 2, steps * 3 // 4, steps} - {0}
    assert {i for i in range(1, steps + 1) if pace.due(i)} == quarters


def test_without_a_clock_every_rank_probes_the_same_steps() -> None:
    paces = [Pace(400, clocked=False) for _ in range(2)]
    asked = [[i for i in range(1, 401) if pace.due(i)] for pace in paces]
    assert asked[0] == asked[1]
    assert 10 <= len(asked[0]) <= 24


def test_what_the_rules_took_is_counted_once() -> None:
    pace = Pace(100)
    pace.paid(0.5)
    pace.judged(0.25)
    assert (pace.spent, pace.latest) == (0.75, 0.75)
