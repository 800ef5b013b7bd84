"""Norms and biases do not decay unless asked; every optimizer with its groups resumes bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import optimizers
from trainwright.engine import checkpoint
from trainwright.engine.state import TrainState

DECAYING: dict[str, dict[str, Any]] = {
    "sgd": {"weight_decay": 0.1, "momentum": 0.9},
    "momentum": {"weight_decay": 0.1},
    "nesterov": {"weight_decay": 0.1},
    "adam": {"weight_decay": 0.1, "amsgrad": True},
    "adamw": {"weight_decay": 0.1},
    "rmsprop": {"weight_decay": 0.1, "momentum": 0.5, "centered": True},
    "adagrad": {"weight_decay": 0.1},
    "lion": {"weight_decay": 0.1},
    "muon": {"weight_decay": 0.1, "companion_lr": 3e-4},
}


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5), nn.LayerNorm(5), nn.Linear(5, 2)
    ).double()


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, n: int) -> None:
    for step in range(first, first + n):
        x = torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        optimizer.zero_grad()
        (model(x) - x.mean((1, 2, 3)).unsqueeze(1)).square().mean().backward()
        optimizer.step()


def without_gradient(name: str, **more: Any) -> dict[str, bool]:
    """Which weights move where the gradient is 0: those that decay."""
    model = net()
    for p in model.parameters():
        p.data = torch.full_like(p, 2.0)
        p.grad = torch.zeros_like(p)
    optimizers[name](model.parameters(), **DECAYING[name], **more).step()
    return {n: bool((p < 2).all()) for n, p in model.named_parameters()}


def test_every_optimizer_is_tested_here() -> None:
    assert sorted(DECAYING) == [n for n in optimizers.names() if optimizers[n].__module__.startswith("trainwright.")]


@pytest.mark.parametrize("name", sorted(DECAYING))
def test_norms_and_biases_decay_only_when_asked(name: str) -> None:
    matrices = {"0.weight", "3.weight", "5.weight"}
    assert {n for n, moved in without_gradient(name).items() if moved} == matrices
    assert all(without_gradient(name, decay_all=True).values())


@pytest.mark.parametrize("name", sorted(DECAYING))
@pytest.mark.parametrize("given", [list, iter, lambda ps: (p for p in ps)])
def test_weights_may_come_as_a_list_or_a_generator(name: str, given: Callable[[Any], Any]) -> None:
    model = net()
    made = optimizers[name](given(model.parameters()), **DECAYING[name])
    held = [p for g in made.param_groups for p in g["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    assert len(held) == len(list(model.parameters()))
    assert all(g["params"] for g in made.param_groups)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lion"])
def test_where_nothing_decays_there_is_one_group(name: str) -> None:
    made = optimizers[name](net().parameters(), weight_decay=0.0)
    assert [len(g["params"]) for g in made.param_groups] == [10]


@pytest.mark.parametrize("name", sorted(DECAYING))
def test_a_group_keeps_the_decay_and_the_rate_it_says(name: str) -> None:
    model = net()
    groups = [
        {"params": model[0].parameters(), "lr": 0.5},
        {"params": model[1].parameters(), "weight_decay": 0.3},
        {"params": [*model[3].parameters(), *model[4].parameters(), *model[5].parameters()]},
    ]
    made = optimizers[name](groups, lr=0.25, **{k: v for k, v in DECAYING[name].items() if k != "companion_lr"})
    of = {id(p): g for g in made.param_groups for p in g["params"]}
    found = {n: (of[id(p)]["lr"], of[id(p)]["weight_decay"]) for n, p in model.named_parameters()}
    assert found == {
        "0.weight": (0.5, 0.1), "0.bias": (0.5, 0.0), "1.weight": (0.25, 0.3), "1.bias": (0.25, 0.3),
        "3.weight": (0.25, 0.1), "3.bias": (0.25, 0.0), "4.weight": (0.25, 0.0), "4.bias": (0.25, 0.0),
        "5.weight": (0.25, 0.1), "5.bias": (0.25, 0.0),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(DECAYING))
def test_every_optimizer_resumes_bit_for_bit_from_its_own_state(name: str) -> None:
    whole, begun, resumed = net(), net(), net()
    steps(whole, optimizers[name](whole.parameters(), **DECAYING[name]), 0, 100)
    first = optimizers[name](begun.parameters(), **DECAYING[name])
    steps(begun, first, 0, 37)
    second = optimizers[name](resumed.parameters(), **DECAYING[name])
    resumed.load_state_dict(begun.state_dict())
    second.load_state_dict(first.state_dict())
    steps(resumed, second, 37, 63)
    assert all(map(torch.equal, whole.parameters(), resumed.parameters()))


@pytest.mark.parametrize("name", sorted(DECAYING))
def test_every_optimizer_resumes_bit_for_bit_from_a_checkpoint(name: str, tmp_path: Path) -> None:
    def begun() -> TrainState:
        model = net()
        return TrainState.of(model, optimizers[name](model.parameters(), **DECAYING[name]))

    whole, first, second = begun(), begun(), begun()
    scheduled(whole, 0, 100)
    scheduled(first, 0, 37)
    second.load_state_dict(checkpoint.load(checkpoint.save(first.state_dict(), tmp_path, 37)))
    scheduled(second, 37, 63)
    assert all(map(torch.equal, whole.model.parameters(), second.model.parameters()))


def scheduled(state: TrainState, first: int, n: int) -> None:
    """Steps whose rate changes all the time, as a schedule changes it."""
    for step in range(first, first + n):
        for group in state.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * (1 - step / 150)
        steps(state.model, state.optimizer, step, 1)


@pytest.mark.parametrize("name", sorted(DECAYING))
def test_every_group_has_a_base_rate_for_the_schedule(name: str) -> None:
    model = net()
    made = optimizers[name](model.parameters(), **DECAYING[name])
    TrainState.of(model, made)
    for group in made.param_groups:
        assert group["initial_lr"] == group["lr"]
        group["lr"] = 0.0
    before = [p.detach().clone() for p in model.parameters()]
    steps(model, made, 0, 1)
    assert all(map(torch.equal, before, model.parameters()))  # a rate of 0 moves nothing, decay included


@pytest.mark.parametrize("name", ["lion", "muon"])
def test_weights_without_a_gradient_stay_and_sparse_gradients_are_told(name: str) -> None:
    one, other = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    made = optimizers[name]([one, other], **DECAYING[name])
    made.step()
    one.grad = torch.ones(2, 2)
    made.step()
    assert (one != 1).all()
    assert (other == 1).all()
    one.grad = torch.ones(2, 2).to_sparse()
    with pytest.raises(UserError, match="sparse"):
        made.step()


@pytest.mark.parametrize("name", ["lion", "muon"])
def test_a_closure_is_called_with_gradients_and_its_loss_returned(name: str) -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    made = optimizers[name]([weight], **DECAYING[name])

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return float(loss.detach())

    assert made.step(closure) == 4.0
    assert (weight < 1).all()
