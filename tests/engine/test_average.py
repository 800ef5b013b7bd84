"""The running average of the weights: its formula, what is judged by it, and that it leaves no trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.training import cases, enrol, evals, same, weights
from trainwright.core.batch import Batch
from trainwright.engine.average import Average, averaged_weights
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import Step, train_step

SMALL = next(c for c in cases() if c.name == "series")


def test_it_is_the_formula_with_its_warm_up() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    average = Average(net, 0.95)
    expected = {k: v.clone() for k, v in net.state_dict().items()}
    for n in range(60):
        with torch.no_grad():
            for i, p in enumerate(net.parameters()):
                p.add_(torch.full_like(p, 0.1 * (n + i)))
            net[1].running_mean += n
        kept = min(0.95, (1 + n) / (10 + n))
        for name, x in net.state_dict().items():
            if x.is_floating_point():
                expected[name] = kept * expected[name] + (1 - kept) * x
        average.update()
    found = averaged_weights(average.state_dict())
    assert found.keys() == net.state_dict().keys()
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x if x.is_floating_point() else net.state_dict()[name])


def test_the_evaluation_judges_the_average_and_the_training_goes_on_as_without() -> None:
    plain, averaged = enrol(SMALL), enrol(SMALL)
    averaged.state.parts["ema"] = average = Average(averaged.state.model, 0.9)
    plain.train(5, eval_every=5)
    events, _ = averaged.train(5, eval_every=5)
    assert same(weights(plain.state), weights(averaged.state))
    plain.state.model.load_state_dict(averaged_weights(average.state_dict()))
    assert evals(events)[-1] == pytest.approx({k: plain.evaluate()[k] for k in evals(events)[-1]})


def test_after_it_was_applied_the_weights_are_the_old_ones_bit_for_bit() -> None:
    net = nn.Linear(3, 3)
    average = Average(net, 0.9)
    nn.init.normal_(net.weight)
    own = net.weight.detach().clone()
    with average.applied():
        assert not torch.equal(net.weight, own)
    assert torch.equal(net.weight, own)


def test_tied_weights_are_averaged_once() -> None:
    net = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    net["b"].weight = net["a"].weight
    average = Average(net, 0.5)
    before = net["a"].weight.detach().clone()
    with torch.no_grad():
        net["a"].weight += 1
    average.update()
    found = averaged_weights(average.state_dict())
    torch.testing.assert_close(found["a.weight"], before + 1 - 0.1)  # kept (1 + 0) / (10 + 0)
    assert torch.equal(found["a.weight"], found["b.weight"])


def test_a_step_that_was_not_taken_is_not_averaged() -> None:
    taught = enrol(SMALL)
    taught.state.parts["ema"] = average = Average(taught.state.model, 0.9)

    def poisoned(state: TrainState, task: Any, group: Sequence[Batch], runtime: Runtime, /, **options: Any) -> Step:
        if state.counters.step == 1:
            group = [replace(b, targets={k: v * float("nan") for k, v in b.targets.items()}) for b in group]
        return train_step(state, task, group, runtime, **options)

    taught.train(4, step_fn=poisoned)
    assert taught.state.counters.skipped == 1
    assert average.updates == 3
