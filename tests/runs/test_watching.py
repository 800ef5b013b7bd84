"""The doctor beside a loop that is not ours."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainwright as tw

X = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] + X[:, 1] > 0).long()
Loss = Callable[[Tensor, Tensor], Tensor]


def net(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, outputs))


def loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss = F.cross_entropy,
    *,
    clear: bool = True,
    wake: bool = True,
    epochs: int = 12,
    scheduler: Any = None,
    watched: bool = True,
    y: Tensor = Y,
) -> Any:
    """As a person writes it."""
    torch.manual_seed(1)
    with tw.watch(model, optimizer, quiet=True) if watched else nullcontext() as seen:
        for epoch in range(epochs):
            if wake or not epoch:
                model.train()
            for rows in torch.randperm(len(X)).split(32):
                if clear:
                    optimizer.zero_grad()
                loss(model(X[rows]), y[rows]).backward()
                optimizer.step()
                if scheduler:
                    scheduler.step()
            model.eval()
            with torch.no_grad():
                model(X[:50])
    return seen


def adam(model: nn.Module, lr: float = 1e-2) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr)


def test_a_healthy_loop_is_left_alone_to_the_last_bit() -> None:
    weights = []
    backward = torch.autograd.backward
    for watched in (True, False):
        model = net()
        seen = loop(model, adam(model), watched=watched)
        weights.append([p.detach().clone() for p in model.parameters()])
        if watched:
            assert seen.verdict == "HEALTHY"
            assert seen.checkup.facts.loss.name == "cross_entropy"
            assert seen.checkup.notes == ()
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert torch.autograd.backward is backward


def rules(seen: Any) -> set[str]:
    return {f.rule for f in seen.findings if f.severity != "note"}


def test_gradients_that_are_not_cleared_are_named_within_three_steps() -> None:
    model = net()
    seen = loop(model, adam(model), clear=False, epochs=1)
    found = next(f for f in seen.checkup.found if f[1].rule == "gradients_not_cleared")
    assert found[0] <= 3
    assert "zero_grad" in found[1].fixes[0].what


def test_an_accumulation_of_gradients_is_no_fault() -> None:
    model = net()
    optimizer = adam(model)
    with tw.watch(model, optimizer, quiet=True) as seen:
        for i, rows in enumerate(torch.arange(len(X)).split(16)):
            F.cross_entropy(model(X[rows]), Y[rows]).backward()
            if i % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    assert not rules(seen)


def test_a_mode_that_nobody_put_back_is_named() -> None:
    model = net()
    assert "asleep_while_training" in rules(loop(model, adam(model), wake=False))


def test_weights_without_an_optimizer_are_named() -> None:
    model = net()
    assert "not_in_optimizer" in rules(loop(model, adam(model[3]), epochs=1))


def test_a_schedule_for_epochs_that_is_stepped_per_batch_is_named() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    half = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    assert "rate_spent" in rules(loop(model, optimizer, scheduler=half, y=torch.randint(0, 2, (512,))))


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_shapes_that_spread_are_named() -> None:
    model = net(1)
    seen = loop(model, adam(model), lambda o, t: F.mse_loss(o, t.float()), epochs=1)
    told = next(f.what for f in seen.findings if f.rule == "shapes_spread")
    assert re.search(r"\((\d+), 1\) and \(\1,\) became \(\1, \1\)", told)


def test_a_loop_that_raises_raises_its_own_error() -> None:
    model = net()
    with pytest.raises(ZeroDivisionError), tw.watch(model, adam(model), quiet=True):
        raise ZeroDivisionError
    assert not model._forward_hooks


class Small(nn.Module):
    """Takes eight batches at once at most, and none once it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.broken = net(), False

    def forward(self, x: Tensor) -> Tensor:
        if self.broken or len(x) > 256:
            raise RuntimeError("out of memory")
        made: Tensor = self.body(x)
        return made


@pytest.mark.parametrize("broken", [False, True])
def test_the_last_look_takes_batches_as_they_were_and_ends_nothing_but_the_doctor(broken: bool) -> None:
    model = Small()
    optimizer, noise = adam(model), torch.randint(0, 2, (512,), generator=torch.Generator().manual_seed(5))
    with tw.watch(model, optimizer, quiet=True) as seen:
        for _ in range(4):
            for rows in torch.randperm(len(X)).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(X[rows]), noise[rows]).backward()
                optimizer.step()
        model.broken = broken
    assert seen.verdict
    assert bool(seen.checkup.notes) == broken


def test_what_is_found_is_said_at_once_with_what_to_do() -> None:
    out, model = io.StringIO(), net()
    optimizer = adam(model)
    with tw.watch(model, optimizer, stream=out):
        for _ in range(4):
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
    assert "error: when the backward pass begins" in out.getvalue()
    assert "try: call optimizer.zero_grad()" in out.getvalue()
    assert "doctor: FAILED after 4 steps" in out.getvalue()


def test_one_batch_is_examined_before_any_loop() -> None:
    model = nn.Sequential(nn.Linear(8, 2), nn.Softmax(0))
    found = tw.doctor(model, F.cross_entropy, adam(model), (X[:64], Y[:64]))
    assert found.verdict == "FAILED"
    assert found.findings[0].rule == "softmax_axis"
    assert "[softmax_axis]" in str(found)
    assert tw.doctor(net(), F.cross_entropy, None, (X[:64], Y[:64])).verdict == "HEALTHY"
