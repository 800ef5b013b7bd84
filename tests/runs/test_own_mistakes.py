"""Mistakes in what a person brings to `tw.fit`: one message each, before or instead of a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.optim.losses import criterion_of

X = torch.linspace(-1, 1, 240).reshape(40, 6)
Y = (X[:, 0] > 0).long()


def net(*end: nn.Module, outputs: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, outputs), *end)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer(x)).squeeze(1)


def told(tmp_path: Path, message: str, model: Any = None, **given: Any) -> None:
    arguments = {"loss": "cross_entropy", "data": (X, Y), "epochs": 1, "quiet": True, "out": tmp_path / "run", **given}
    with pytest.raises(UserError, match=message):
        tw.fit(net() if model is None else model, **arguments)


def raising(*given: Any, **named: Any) -> Any:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("message", "given"),
    [
        (
            r"optimizer: raised ZeroDivisionError: division by zero; .*test_own_mistakes\.py",
            {"optimizer": raising},
        ),
        (r"optimizer: raised TypeError", {"optimizer": lambda p, q: None}),
        (r"optimizer: LBFGS computes the loss several times", {"optimizer": torch.optim.LBFGS}),
        (r"step_fn: raised ZeroDivisionError: division by zero; .*test_own_mistakes\.py", {"step_fn": raising}),
        (r"step_fn: raised TypeError", {"step_fn": lambda state: None}),
        (r"observers: <lambda> is one function, not a list", {"observers": lambda event: None}),
        (r"lr: contradicts optimizer\.lr, which is 0\.001", {"optimizer": {"name": "sgd", "lr": 1e-3}, "lr": 0.1}),
        (r"task\.loss: <lambda> returned .* cut off", {"loss": lambda o, t: F.cross_entropy(o, t).detach()}),
        (r"task\.loss: <lambda> returned .* do not depend", {"loss": lambda o, t: torch.ones(len(t))}),
        (r"task\.loss: <lambda> returned a sum", {"loss": lambda o, t: F.cross_entropy(o, t, reduction="sum")}),
        (r"epochs: '2' is not a number", {"epochs": "2"}),
    ],
)
def test_a_mistake_in_a_part_is_told(message: str, given: dict[str, Any], tmp_path: Path) -> None:
    told(tmp_path, message, **given)


def squares(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((output - target) ** 2).mean()


def squares_of_rows(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output.flatten() - target.flatten()) ** 2


@pytest.mark.parametrize("turned", [False, True])
def test_outputs_that_a_metric_compares_each_with_all_targets_are_told(turned: bool, tmp_path: Path) -> None:
    model, y = net(outputs=1), X[:, 0]
    if turned:
        model, y = net(nn.Flatten(0), outputs=1), X[:, :1]
    given: dict[str, Any] = {"model": model, "data": (X, y)}
    own: dict[str, Any] = {"loss": squares_of_rows, "metrics": {"own": squares}}
    told(tmp_path, r"metrics\.own: compares .* each with all others", **given, **own)
    run = tw.fit(
        loss=squares_of_rows, metrics={"own": lambda o, t: squares_of_rows(o, t).mean()}, epochs=1, quiet=True,
        out=tmp_path / "run", **given,
    )  # fmt: skip
    assert run.metrics["valid/own"] == pytest.approx(run.metrics["valid/loss"], rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", nn.CrossEntropyLoss(), F.cross_entropy])
def test_a_softmax_that_the_loss_would_apply_again_is_told(loss: Any, tmp_path: Path) -> None:
    told(tmp_path, "model: ends in a softmax, which the loss applies by itself", net(nn.Softmax(1)), loss=loss)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("loss", [nn.BCELoss(), F.binary_cross_entropy])
def test_raw_outputs_where_the_loss_takes_probabilities_are_told(loss: Any, tmp_path: Path) -> None:
    message = r"model: gives numbers from -\d.* to -?\d.*takes probabilities; take loss = 'binary_cross_entropy'"
    raw = net(outputs=1)
    nn.init.ones_(raw[0].weight)
    told(tmp_path, message, raw, loss=loss, data=(X, Y.float().unsqueeze(1)))
    assert not (tmp_path / "run").exists()


def test_outputs_that_are_not_finite_make_a_loss_that_is_not_finite_and_no_error() -> None:
    each = criterion_of(nn.BCELoss(), "loss").each(torch.tensor([[0.5], [torch.nan]]), torch.ones(2, 1))
    assert not bool(each.isfinite().all())


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_focal", nn.BCEWithLogitsLoss()])
@pytest.mark.parametrize("model", [lambda: net(nn.Sigmoid(), outputs=1), Functional])
def test_a_sigmoid_that_the_loss_would_apply_again_is_told(loss: Any, model: Any, tmp_path: Path) -> None:
    told(tmp_path, "model: ends in a sigmoid, which the loss applies", model(), loss=loss, data=(X, Y.float()))


@pytest.mark.parametrize(
    ("loss", "end", "outputs"),
    [
        (nn.BCELoss(), [nn.Sigmoid(), nn.Flatten(0)], 1),
        ("hinge", [nn.Softmax(1)], 2),
        ("nll", [nn.LogSoftmax(1)], 2),
        ("cross_entropy", [nn.LogSoftmax(1)], 2),
        ("cross_entropy", [nn.Softmax(1), nn.Linear(2, 2)], 2),
        (lambda o, t: F.nll_loss(o.log(), t), [nn.Softmax(1)], 2),
    ],
)
def test_what_is_applied_once_is_left_alone(loss: Any, end: list[nn.Module], outputs: int, tmp_path: Path) -> None:
    y = Y.float() if isinstance(loss, nn.BCELoss) else Y
    run = tw.fit(net(*end, outputs=outputs), (X, y), loss=loss, epochs=1, quiet=True, out=tmp_path / "run")
    assert run.state == "finished"


def test_a_list_of_batches_is_read_as_batches(tmp_path: Path) -> None:
    for number, batches in enumerate(
        ([(X[:20], Y[:20]), (X[20:], Y[20:])], [{"x": X[:20], "y": Y[:20]}, {"x": X[20:], "y": Y[20:]}])
    ):
        unpack = None if number == 0 else lambda batch: (batch["x"], batch["y"])
        run = tw.fit(
            net(), batches, loss="cross_entropy", epochs=2, unpack=unpack, quiet=True, out=tmp_path / str(number)
        )
        assert run.view.step == 4
