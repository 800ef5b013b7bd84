"""Lion and Muon beyond their papers' steps: Muon beside torch's own, its companion, its groups, other precisions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import optimizers
from trainwright.optim.muon import orthogonal

Array = npt.NDArray[np.float64]


def gradient(step: int) -> Array:
    """Not a function of the weights, so that two trajectories are compared, not a minimum they both find."""
    return np.asarray(np.random.default_rng(100 + step).normal(size=6) * (1 + step % 5))


@pytest.mark.parametrize("shape", [(16, 16), (40, 8), (8, 40)])
def test_muon_is_torchs_up_to_the_bfloat16_of_theirs(shape: tuple[int, int]) -> None:
    weights = [nn.Parameter(torch.zeros(shape)) for _ in range(2)]
    mine = optimizers["muon"](weights[:1], lr=0.1, scaling="original", weight_decay=0.1)
    theirs = torch.optim.Muon(weights[1:], lr=0.1, weight_decay=0.1)
    for step in range(10):
        g = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        for p in weights:
            p.grad = g.clone()
        mine.step()
        theirs.step()
    assert (weights[0] - weights[1]).norm() < 0.02 * weights[1].norm()


def test_the_companion_is_torchs_adamw() -> None:
    a, b = (nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64)) for _ in range(2))
    mine = optimizers["muon"]([a], lr=0.01, betas=(0.8, 0.95), weight_decay=0.2, decay_all=True)
    theirs = torch.optim.AdamW([b], lr=0.01, betas=(0.8, 0.95), weight_decay=0.2)
    for step in range(100):
        g = torch.tensor(gradient(step))
        a.grad, b.grad = g.clone(), g.clone()
        mine.step()
        theirs.step()
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_singular_values_come_near_1_whatever_they_were() -> None:
    r = np.random.default_rng(3)
    for rows, columns in ((10, 10), (30, 6), (6, 30)):
        x = torch.tensor(r.normal(size=(rows, columns)) * 1e3)
        s = torch.linalg.svdvals(orthogonal(x, 5))
        assert float(s.min()) > 0.3
        assert float(s.max()) < 1.3
    assert torch.equal(orthogonal(torch.zeros(3, 2), 5), torch.zeros(3, 2))


def test_a_group_may_say_that_its_matrices_follow_adamw() -> None:
    table, layer = (nn.Parameter(torch.ones(3, 2)) for _ in range(2))
    groups = [{"params": [layer]}, {"params": [table], "rule": "adamw"}]
    made = optimizers["muon"](groups, lr=0.01, companion_lr=0.5, weight_decay=0.0)
    assert [(g["rule"], g["lr"]) for g in made.param_groups] == [("muon", 0.01), ("adamw", 0.5)]
    table.grad = layer.grad = torch.ones(3, 2)
    made.step()
    torch.testing.assert_close(table.detach(), torch.full((3, 2), 0.5))  # AdamW's first step is the whole rate
    assert (layer > 0.9).all()


def test_rules_that_do_not_fit_are_told() -> None:
    with pytest.raises(UserError, match="rule 'newton'"):
        optimizers["muon"]([{"params": [nn.Parameter(torch.ones(2, 2))], "rule": "newton"}])
    with pytest.raises(UserError, match="holds a vector"):
        optimizers["muon"]([{"params": [nn.Parameter(torch.ones(2))], "rule": "muon"}])


def test_a_group_added_later_follows_adamw_unless_it_says_otherwise() -> None:
    made = optimizers["muon"]([nn.Parameter(torch.ones(2, 2))])
    made.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    assert [g["rule"] for g in made.param_groups] == ["muon", "adamw"]


@pytest.mark.parametrize("name", ["lion", "muon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_other_precision_keep_it(name: str, dtype: torch.dtype) -> None:
    weights = [nn.Parameter(torch.ones(3, 2, dtype=dtype)), nn.Parameter(torch.ones(3, dtype=dtype))]
    made = optimizers[name](weights, lr=0.1)
    for p in weights:
        p.grad = torch.ones_like(p)
    made.step()
    assert all(p.dtype == dtype and (p < 1).all() for p in weights)


def test_the_errors_of_a_fit_fall_under_both() -> None:
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    y = x @ torch.randn(5, 3, generator=torch.Generator().manual_seed(1)) + 0.5
    for name, lr in (("lion", 0.05), ("muon", 0.05)):
        torch.manual_seed(0)
        model = nn.Linear(5, 3)
        made = optimizers[name](model.parameters(), lr=lr, weight_decay=0.0)
        for step in range(400):
            made.param_groups[0]["lr"] = lr * (1 - step / 400)
            made.zero_grad()
            (loss := (model(x) - y).square().mean()).backward()
            made.step()
        assert loss.item() < 1e-2, name
