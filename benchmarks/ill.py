"""Trainings broken on purpose, one for each finding that a small network can have, and pictures of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import trainwright as tw
from benchmarks.ill_chart import HEIGHT, ORANGE, WIDTH, Chart
from benchmarks.ill_chart import picture as framed
from benchmarks.ill_data import DATA, NotFound, Shown
from benchmarks.ill_training import TRAINING
from benchmarks.ill_trials import TRIALS
from trainwright.core.errors import TrainwrightError
from trainwright.core.events import View

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)).astype(np.float32)
KIND = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
VALUE = (X[:, :1] * 2 - X[:, 1:2]).astype(np.float32)


def net(outputs: int = 2, *more: nn.Module, act: type[nn.Module] = nn.ReLU, deep: int = 1) -> nn.Sequential:
    """An MLP over six numbers, drawn alike each time."""
    torch.manual_seed(1)
    hidden = [m for _ in range(deep - 1) for m in (nn.Linear(16, 16), act())]
    return nn.Sequential(nn.Linear(6, 16), act(), *hidden, nn.Linear(16, outputs), *more)


def numb(model: nn.Module) -> nn.Module:
    """The model with first units that give 0 for every sample."""
    with torch.no_grad():
        next(m for m in model.modules() if isinstance(m, nn.Linear)).bias.fill_(-100.0)
    return model


class Mixed(nn.Module):
    """Each sample is answered beside the mean of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x - x.mean(0))  # type: ignore[no-any-return]


class Idle(nn.Module):
    """Has a layer that nothing goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.unused = net(), nn.Linear(6, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)  # type: ignore[no-any-return]


def changed(model: nn.Module, how: Callable[[Tensor], object]) -> nn.Module:
    """The model with its matrices changed."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                how(weight)
    return model


def _wide() -> np.ndarray[Any, Any]:
    x = X.copy()
    x[:, 3] *= 1e5
    return x


def _near() -> tuple[Any, Any]:
    return X[:100] + 1e-4 * RNG.normal(size=(100, 6)).astype(np.float32), KIND[:100]


def _apart() -> np.ndarray[Any, Any]:
    x = X.copy()
    x[:, :2] += np.where(KIND, 1, -1)[:, None]
    return x


COIN = RNG.integers(0, 2, 400)
WRONG = RNG.random(400) < 0.15
SGD = {"optimizer": "sgd"}
MSE: dict[str, Any] = {"y": VALUE, "loss": "mse"}
ILL: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "rate_too_high": (net, {**SGD, "lr": 15.0, "epochs": 40}),
    "rate_too_low": (net, {"lr": 1e-9, "epochs": 40}),
    "momentum_too_high": (net, {"optimizer": {"name": "sgd", "momentum": 0.999}, "lr": 0.3, "epochs": 40}),
    "weights_out_of_scale": (
        lambda: changed(net(deep=4, act=nn.Tanh), lambda w: w.mul_(200)),
        {**SGD, "lr": 1e-5, "epochs": 40},
    ),
    "symmetric_weights": (lambda: changed(net(), lambda w: w.fill_(0.1)), {"lr": 1e-2, "epochs": 15}),
    "vanishing_gradient": (lambda: net(deep=12, act=nn.Sigmoid), {"lr": 1e-3, "epochs": 40}),
    "inputs_not_scaled": (lambda: net(act=nn.Sigmoid), {"x": _wide(), **SGD, "lr": 1e-3, "epochs": 40, "y": KIND}),
    "target_not_scaled": (lambda: net(1), {**MSE, "y": VALUE * 1e-3 + 500, "lr": 1e-3, "epochs": 40}),
    "constant_target": (net, {"y": KIND * 0, "epochs": 10}),
    "constant_input": (net, {"x": np.repeat(X[:1], 400, 0), "epochs": 20}),
    "no_signal": (net, {"y": COIN, "lr": 1e-4, "epochs": 40}),
    "conflicting_targets": (net, {"x": np.repeat(X[:, :1] > 0, 6, 1).astype(np.float32), "y": COIN, "epochs": 40}),
    "shapes_spread": (lambda: net(1), {"loss": lambda o, t: ((o - t.float()) ** 2).mean(), "epochs": 15}),
    "softmax_axis": (
        lambda: net(1, nn.Softmax(1)),
        {"loss": lambda o, t: ((o.squeeze(1) - t.float()) ** 2).mean(), "epochs": 15},
    ),
    "target_out_of_reach": (lambda: net(1, nn.ReLU()), {**MSE, "epochs": 15}),
    "unreached_weights": (Idle, {"epochs": 10}),
    "rows_mixed": (Mixed, {"epochs": 10}),
    "linear_stack": (lambda: net(act=nn.Identity), {"epochs": 10}),
    "overfitting": (
        lambda: net(deep=3),
        {"x": X[:60], "y": RNG.integers(0, 2, 60), "valid": (X[60:], KIND[60:]), "lr": 1e-2, "epochs": 60},
    ),
    "penalty_too_strong": (net, {"l2": 10.0, "epochs": 40}),
    "weights_at_rest": (net, {"freeze": ["*.weight"], "lr": 1e-3, "epochs": 40}),
    "near_copies": (net, {"valid": _near(), "epochs": 15}),
    "unbalanced_classes": (
        net,
        {"y": (X[:, 4] > 1.6).astype(np.int64), "lr": 1e-4, "epochs": 15, "metrics": ["balanced_accuracy"]},
    ),
    "below_linear": (net, {"lr": 2e-4, "epochs": 8}),
    "batch_norm_of_few": (lambda: net(2, nn.BatchNorm1d(2)), {"batch_size": 2, "y": COIN, "lr": 1e-3, "epochs": 2}),
    "not_finite_steps": (lambda: net(1), {**MSE, **SGD, "lr": 3.0, "epochs": 20}),
    "loss_misfits_target": (lambda: net(1), {"y": KIND[:, None].astype(np.float32), "loss": "mse", "epochs": 15}),
    "dead_units": (lambda: numb(net()), {**SGD, "lr": 1e-2, "epochs": 40}),
    "too_much_dropout": (
        lambda: nn.Sequential(net(16), nn.Dropout(0.97), nn.Linear(16, 16), nn.Dropout(0.97), nn.Linear(16, 2)),
        {"lr": 1e-3, "epochs": 40},
    ),
    "rate_spent": (net, {**SGD, "lr": 0.1, "epochs": 40, "schedule": {"name": "step", "every": 3, "factor": 0.1}}),
    "stopped_early": (net, {"lr": 3e-3, "epochs": 20}),
    "not_learning": (lambda: net(deep=2), {"y": (X > 0).sum(1) % 2, "lr": 1e-4, "epochs": 60}),
    "noisy_labels": (net, {"x": _apart(), "y": np.where(WRONG, 1 - KIND, KIND), "epochs": 40}),
}

SHOWN: dict[str, Shown] = {**DATA, **TRAINING, **TRIALS}  # drawn in a way of their own


def train(name: str, out: Path) -> tw.Run:
    """The run that is ill; one that ended with an error is opened again."""
    make, more = ILL[name]
    given: dict[str, Any] = {"loss": "cross_entropy", "lr": 1e-2, "quiet": True, "seed": 0, **more}
    x, y = given.pop("x", X), given.pop("y", KIND)
    try:
        return tw.fit(make(), (x, y), out=out, **given)
    except TrainwrightError:
        return tw.open(out)


def said_at(view: View, name: str) -> int | None:
    """The step at which it was found, by itself or as a consequence of another."""
    return next((f.step for f in view.findings if f.finding.rule == name), None)


def draw_all(folder: Path, names: Sequence[str] = ()) -> None:
    """A picture of each that is really found, or of these; the others are named, and their old pictures removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or (*ILL, *SHOWN):
        target = folder / f"{name}.svg"
        with tempfile.TemporaryDirectory() as place:
            try:
                drawn = SHOWN[name].draw(Path(place)) if name in SHOWN else curve(name, Path(place) / "run")
            except NotFound as error:
                target.unlink(missing_ok=True)
                print(f"{name}: {error}")
                continue
            except Exception as error:
                print(f"{name}: {type(error).__name__}: {error}")
                continue
        target.write_text(drawn, encoding="utf-8")


def curve(name: str, place: Path) -> str:
    """The loss of a run, and where it was found."""
    view = train(name, place).view
    step = said_at(view, name)
    if step is None:
        raise NotFound(f"not found; said were {sorted({f.finding.rule for f in view.findings})}")
    guess = view.examined.facts.loss.guess if view.examined else float("nan")
    valid = [(e.step, e.metrics["loss"]) for e in view.evals if e.part == "valid" and "loss" in e.metrics]
    return picture(list(view.losses.items()), valid, guess, step)


def picture(losses: Sequence[tuple[int, float]], valid: Sequence[tuple[int, float]], guess: float, said: int) -> str:
    """A small SVG: training loss, validation loss (dots), guessing (dashed), the step of the finding (upright)."""
    known = [(s, v) for s, v in losses if np.isfinite(v) and v > 0][:: max(1, len(losses) // 200)]
    dots = [(s, v) for s, v in valid if np.isfinite(v) and v > 0]
    level = [guess] if np.isfinite(guess) and guess > 0 else []
    values = [v for _, v in known + dots] + level or [1.0]
    low, high, last = min(values), max(values), max([s for s, _ in losses] + [1])
    wide = high > 30 * low
    chart = Chart((0, last), (low, high), (8, 22, WIDTH - 8, HEIGHT - 18), "y" if wide else "").upright(said)
    for value in level:
        chart.level(value)
    chart.line(known).dots(dots, ORANGE, 2.5)
    title = f"loss {low:.3g} to {high:.3g}{', logarithmic' if wide else ''}"
    return framed(title, f"{last} steps; said at {said}", chart)
