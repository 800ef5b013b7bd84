"""Update rules by name: groups and options. That they do what their papers say is in test_references.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import optimizers
from trainwright.core.schema import check


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
