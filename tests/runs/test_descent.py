"""The three forms of gradient descent are one number: batch, mini-batch and stochastic differ by `batch_size` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from trainwright.core.batch import Batch
from trainwright.core.task import Progress, Task
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import Step, train_step

N, LR = 20, 0.05
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 3)).astype(np.float32), RNG.normal(size=(N, 1)).astype(np.float32)


@pytest.mark.parametrize(("size", "micro"), [("all", "all"), ("all", 3), (1, "all"), (7, "all"), (7, 2)])
def test_a_step_is_the_gradient_of_the_mean_over_its_samples(
    size: int | Literal["all"], micro: int | Literal["all"], tmp_path: Path
) -> None:
    seen: list[tuple[Tensor, Tensor, Tensor]] = []  # weights before, weights after, samples

    def step(
        state: TrainState, task: Task[Any], group: Sequence[Batch], runtime: Runtime, /, *,
        clip: float | None, multiplier: float, progress: Progress,
    ) -> Step:  # fmt: skip
        (weight,) = state.model.parameters()
        before = weight.detach().clone()
        done = train_step(state, task, group, runtime, clip=clip, multiplier=multiplier, progress=progress)
        seen.append((before, weight.detach().clone(), torch.cat([batch.ids for batch in group])))
        return done

    tw.fit(
        nn.Linear(3, 1, bias=False), (X, Y), valid=0, loss="mse", optimizer="sgd", lr=LR, batch_size=size,
        micro_batch=micro, precision="float64", epochs=2, step_fn=step, out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    many = {"all": [N], 1: [1] * N, 7: [7, 7, 6]}[size]
    assert [len(ids) for _, _, ids in seen] == many * 2
    for epoch in (seen[: len(many)], seen[len(many) :]):
        assert sorted(torch.cat([ids for _, _, ids in epoch]).tolist()) == list(range(N))
    for before, after, ids in seen:
        x, y = torch.tensor(X)[ids].double(), torch.tensor(Y)[ids].double()
        gradient = 2 * (x @ before.T - y).T @ x / len(ids)  # of the mean of (w x - y)²
        torch.testing.assert_close(after, before - LR * gradient, rtol=1e-10, atol=1e-12)
