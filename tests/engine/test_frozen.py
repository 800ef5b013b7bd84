"""Weights that rest: no optimizer touches them, and they awake when they should."""

from __future__ import annotations

import torch
from torch import nn

from trainwright.core.batch import Batch
from trainwright.core.task import Loss, Progress
from trainwright.engine.frozen import Frozen
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import train_step


class Squares:
    """The smallest task."""

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        return Loss(((model(batch.inputs["x"])[:, 0] - 1) ** 2).sum())


def moved(until: dict[str, int | None], steps: int) -> list[set[str]]:
    """Names of what changed in each step of a net with norms, under a decay that moves all it may."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    frozen = Frozen(net, until)
    learning = [p for p in net.parameters() if p.requires_grad]
    state = TrainState.of(net, torch.optim.AdamW(learning, lr=0.1, weight_decay=0.1))
    state.frozen = frozen
    net.train()
    out = []
    for step in range(steps):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        before = {k: v.clone() for k, v in net.state_dict().items()}
        train_step(state, Squares(), [Batch({"x": x}, {}, torch.tensor(8.0), torch.arange(8), 8)], Runtime())  # type: ignore[arg-type]
        out.append({k for k, v in net.state_dict().items() if not torch.equal(v, before[k])})
    return out


EVERYTHING = {"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"} | {
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
}


def test_what_never_learns_keeps_its_weights_and_its_running_statistics() -> None:
    until = dict.fromkeys(["0.weight", "0.bias", "1.weight", "1.bias"])
    assert moved(until, 3) == [{"2.weight", "2.bias"}] * 3


def test_what_rests_until_a_step_awakes_at_that_step() -> None:
    until: dict[str, int | None] = {"0.weight": 2, "0.bias": 2, "1.weight": 2, "1.bias": 2}
    assert moved(until, 4) == [{"2.weight", "2.bias"}] * 2 + [EVERYTHING] * 2


def test_a_norm_half_of_which_rests_goes_on_measuring() -> None:
    statistics = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert statistics <= moved({"1.weight": None}, 1)[0]


def test_frozen_weights_ask_for_no_gradient_and_resting_ones_do() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    Frozen(net, {"0.weight": None, "1.weight": 3})
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]
