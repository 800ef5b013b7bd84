"""Update rules by name do what torch's do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import optimizers
from trainwright.core.schema import check

CASES: list[tuple[str, dict[str, Any], type[torch.optim.Optimizer], dict[str, Any]]] = [
    ("sgd", {"lr": 0.1}, torch.optim.SGD, {"lr": 0.1}),
    (
        "sgd",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "decay_all": True},
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    ("adam", {"betas": [0.8, 0.9], "amsgrad": True}, torch.optim.Adam, {"betas": (0.8, 0.9), "amsgrad": True}),
    ("adamw", {"weight_decay": 0.1, "decay_all": True}, torch.optim.AdamW, {"weight_decay": 0.1}),
    (
        "rmsprop",
        {"centered": True, "momentum": 0.5},
        torch.optim.RMSprop,
        {"lr": 1e-3, "centered": True, "momentum": 0.5},
    ),
    (
        "adagrad",
        {"initial": 0.1, "lr_decay": 0.01},
        torch.optim.Adagrad,
        {"initial_accumulator_value": 0.1, "lr_decay": 0.01},
    ),
]


def trajectory(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> list[torch.Tensor]:
    seen = []
    for step in range(100):
        optimizer.zero_grad()
        ((weight - step % 7) ** 2 * torch.tensor([1.0, 5.0, 0.1])).sum().backward()
        optimizer.step()
        seen.append(weight.detach().clone())
    return seen


@pytest.mark.parametrize(("name", "options", "theirs", "same"), CASES, ids=[f"{c[0]}-{len(c[1])}" for c in CASES])
def test_a_hundred_steps_are_torchs(
    name: str, options: dict[str, Any], theirs: type[torch.optim.Optimizer], same: dict[str, Any]
) -> None:
    a, b = (nn.Parameter(torch.tensor([1.0, -2.0, 3.0])) for _ in range(2))
    mine = trajectory(optimizers[name]([a], **check(optimizers[name], options, "optimizer")), a)
    assert all(map(torch.equal, mine, trajectory(theirs([b], **same), b)))  # type: ignore[call-arg]


@pytest.mark.parametrize("name", optimizers.names())
def test_groups_keep_their_own_rates(name: str) -> None:
    groups = [{"params": [nn.Parameter(torch.ones(1))]}, {"params": nn.Parameter(torch.ones(1)), "lr": 0.5}]
    made = optimizers[name](groups, lr=0.25)
    assert [g["lr"] for g in made.param_groups] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sgd", {"lr": -1.0}, r"optimizer\.lr: -1\.0 is out of range"),
        ("sgd", {"momentum": 1.0}, r"optimizer\.momentum"),
        ("adam", {"betas": [0.9, 1.5]}, r"optimizer\.betas"),
        ("adamw", {"learning_rate": 1e-3}, r"optimizer\.learning_rate: unknown option"),
    ],
)
def test_options_out_of_range_are_told(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check(optimizers[name], options, "optimizer")


def test_nesterov_without_momentum_is_told() -> None:
    with pytest.raises(UserError, match=r"optimizer\.nesterov: needs momentum above 0"):
        optimizers["sgd"]([nn.Parameter(torch.ones(1))], nesterov=True)
