"""A module that its owner compiled takes the same steps as it does uncompiled, at once and in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.engine.invariance import invariance

DRAWN = torch.Generator().manual_seed(0)
X = torch.randn(24, 5, generator=DRAWN)
Y = torch.randint(0, 3, (24,), generator=DRAWN)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """What was compiled is forgotten."""
    yield
    torch.compiler.reset()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def compiled(model: nn.Module) -> nn.Module:
    """Traced and differentiated ahead of time, without a compiler of C++, which takes a minute."""
    made = torch.compile(model, backend="aot_eager", dynamic=True)
    assert isinstance(made, nn.Module)
    return made


@pytest.mark.parametrize("micro", ["all", 5])
def test_a_compiled_module_takes_the_steps_of_the_plain_one(micro: Any, tmp_path: Path) -> None:
    losses = []
    for name, model in (("plain", net()), ("compiled", compiled(net()))):
        run = tw.fit(
            model, (X, Y), valid=0, test=0, loss="cross_entropy", optimizer="sgd", lr=0.1, batch_size=12, epochs=2,
            micro_batch=micro, out=tmp_path / name, quiet=True, doctor="off",
        )  # fmt: skip
        losses.append(list(run.view.losses.values()))
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_the_gradient_of_a_compiled_module_is_that_of_the_plain_one() -> None:
    plain, made = net(), compiled(net())

    def over(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        return nn.functional.cross_entropy(model(X), Y, reduction="sum"), torch.tensor(24.0)

    def other(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        made.load_state_dict({f"_orig_mod.{k}": v for k, v in model.state_dict().items()})
        mine = torch.autograd.grad(over(made)[0], list(made.parameters()))
        total = sum((p * g).sum() for p, g in zip(model.parameters(), mine, strict=True))
        assert isinstance(total, torch.Tensor)
        return total, torch.tensor(24.0)  # its gradient is the compiled one's

    found = invariance(plain, over, [other])
    assert found.cut < 1e-6
