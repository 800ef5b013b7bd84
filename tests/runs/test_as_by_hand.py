"""A training is what a loop written by hand would be, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainwright as tw
from trainwright.core.batch import seed_of

STEPS, BATCH, SAMPLES = 200, 100, 230  # the last batch of an epoch has 30


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def data() -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(2)
    x = torch.randn(SAMPLES, 8, generator=dice)
    return x, x[:, :3].argmax(1)


@pytest.fixture(scope="module")
def by_hand() -> dict[str, Tensor]:
    """Weights after so many steps of the usual loop, its order and its dropout drawn as those of a run are."""
    model, (x, y) = net(), data()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    torch.manual_seed(seed_of(0, "global", 0) % 2**63)
    step = epoch = 0
    while step < STEPS:
        dice = torch.Generator().manual_seed(seed_of(0, epoch, "order"))
        for rows in torch.randperm(SAMPLES, generator=dice).split(BATCH)[: STEPS - step]:
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            step += 1
        epoch += 1
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("doctor", ["off", "advise"])
def test_weights_after_200_steps_are_those_of_the_loop(doctor: str, by_hand: dict[str, Tensor], tmp_path: Path) -> None:
    model = net()
    tw.fit(
        model, data(), loss="cross_entropy", valid=0.0, budget=f"{STEPS} steps", batch_size=BATCH, optimizer="adam",
        lr=1e-2, pace="plain", doctor=doctor, device="cpu", out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    now = model.state_dict()
    assert now.keys() == by_hand.keys()
    differing = [name for name, value in by_hand.items() if not torch.equal(now[name], value)]
    assert not differing
