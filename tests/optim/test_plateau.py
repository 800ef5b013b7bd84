"""The plateau cuts the rate where torch's ReduceLROnPlateau does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainwright.core.kinds import schedules

SCORES = st.lists(st.floats(-10, 10, width=32) | st.just(float("nan")), min_size=1, max_size=40)


@given(
    scores=SCORES,
    better=st.sampled_from(["higher", "lower"]),
    patience=st.integers(0, 4),
    cooldown=st.integers(0, 3),
    change=st.sampled_from([0.0, 0.5]),
)
def test_it_cuts_where_torch_does(
    scores: list[float], better: str, patience: int, cooldown: int, change: float
) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        "max" if better == "higher" else "min",
        factor=0.5,
        patience=patience,
        threshold=change,
        threshold_mode="abs",
        cooldown=cooldown,
        min_lr=0.1,
        eps=0.0,
    )
    ours: Any = schedules["plateau"](factor=0.5, patience=patience, min_change=change, cooldown=cooldown, final=0.1)
    for step, score in enumerate(scores):
        ours.judged(score, better)
        theirs.step(score)
        assert ours(step, 100) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_the_warm_up_comes_before() -> None:
    ours: Any = schedules["plateau"](warmup=4.0, factor=0.5, patience=0)
    assert [ours(step, 100) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    ours.judged(1.0, "lower")
    ours.judged(2.0, "lower")
    assert ours(50, 100) == 0.5


def test_another_schedules_memory_is_no_memory() -> None:
    ours: Any = schedules["plateau"]()
    ours.load_state_dict({})
    assert ours(0, 10) == 1
