"""Torch's optimizers and backward pass without what torch puts around them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainwright.engine import unwrapped

KINDS = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad)


class Halving(torch.optim.Optimizer):
    """A person's own, which needs gradients within its step."""

    def __init__(self, params: list[nn.Parameter]) -> None:
        super().__init__(params, {"lr": 1.0})

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Halves every weight, by a gradient."""
        for weight in self.param_groups[0]["params"]:
            (slope,) = torch.autograd.grad(weight.square().sum() / 4, weight)
            with torch.no_grad():
                weight -= slope


def weights() -> list[nn.Parameter]:
    dice = torch.Generator().manual_seed(0)
    found = [nn.Parameter(torch.randn(3, 2, generator=dice)), nn.Parameter(torch.randn(2, generator=dice))]
    for weight in found:
        weight.grad = torch.randn(weight.shape, generator=dice)
    return found


@pytest.mark.parametrize("kind", [*KINDS, Halving], ids=lambda kind: kind.__name__)
def test_a_step_moves_the_weights_as_that_of_torch_does(kind: type[torch.optim.Optimizer]) -> None:
    mine, theirs = weights(), weights()
    one, other = kind(mine), kind(theirs)  # type: ignore[call-arg]
    for _ in range(3):
        unwrapped.step(one)
        other.step()
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert not torch.equal(mine[0], weights()[0])
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_torch_wraps_is_found(kind: type[torch.optim.Optimizer]) -> None:
    kind(weights())  # type: ignore[call-arg]
    within, bare = unwrapped._within(kind)
    assert within is not None
    assert within.__qualname__.endswith(".step")
    assert bare


def test_hooks_and_schedulers_hear_of_a_step() -> None:
    optimizer, heard = torch.optim.SGD(weights(), lr=0.1), []
    optimizer.register_step_pre_hook(lambda *_: heard.append("before"))
    optimizer.register_step_post_hook(lambda *_: heard.append("after"))
    unwrapped.step(optimizer)
    assert heard == ["before", "after"]
    other = torch.optim.SGD(weights(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(other, 1)
    unwrapped.step(other)
    scheduler.step()  # warns, which is an error here, where it has not seen a step


def test_a_backward_pass_adds_the_gradient_that_torch_does() -> None:
    begin = torch.tensor(0.25)

    def loss(weight: Tensor) -> Tensor:
        return (weight * torch.arange(6.0).reshape(3, 2)).square().sum()

    one, other = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2))
    for _ in range(2):
        unwrapped.backward(loss(one), begin)
        loss(other).backward(begin)
    assert one.grad is not None
    assert other.grad is not None
    assert torch.equal(one.grad, other.grad)
    assert begin.item() == 0.25


def test_who_listens_to_losses_hears_them(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, theirs = [], torch.autograd.backward
    monkeypatch.setattr(
        torch.autograd, "backward", lambda loss, *args: (heard.append(loss.item()), theirs(loss, *args))
    )
    unwrapped.backward(nn.Parameter(torch.tensor(2.0)).square(), torch.tensor(1.0))
    assert heard == [4.0]


def test_a_hook_before_a_step_may_change_what_it_is_told() -> None:
    optimizer, told = torch.optim.SGD(weights(), lr=0.1), []

    def closure() -> float:
        return told.append("closure") or 1.0

    optimizer.register_step_pre_hook(lambda mine, args, named: (args, {"closure": closure}))
    unwrapped.step(optimizer)
    assert told == ["closure"]


def test_no_compiler_is_loaded_by_a_training(tmp_path: Path) -> None:
    code = f"""
import sys, torch
import trainwright as tw
model, x = torch.nn.Linear(3, 2), torch.randn(40, 3)
tw.fit(
    model, (x, (x[:, 0] > 0).long()), loss="cross_entropy", epochs=2, batch_size=8, device="cpu", quiet=True,
    valid=0.0, out={str(tmp_path / "run")!r},
)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
torch.optim.Adam(model.parameters()).zero_grad()
print("torch._dynamo" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    assert told[:2] == ["[]", "True"]  # afterwards torch is as it was
