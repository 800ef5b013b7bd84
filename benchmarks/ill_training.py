"""Trainings that are ill in what they do, and what a finding about them looks like."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainwright as tw
from benchmarks.ill_chart import BLUE, GREY, HEIGHT, ORANGE, RED, WIDTH, Chart, cells, picture, words
from benchmarks.ill_data import Shown, evidence, fitted, said
from trainwright.core.events import Found
from trainwright.engine.scale import LossScale

RNG = np.random.default_rng(0)
X = torch.from_numpy(RNG.normal(size=(1024, 8)).astype(np.float32))
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).long()


def _model(*more: nn.Module, outputs: int = 2, dropout: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    rest = [nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3)] if dropout else [nn.ReLU()]
    return nn.Sequential(nn.Linear(8, 32), *rest, nn.Linear(32, outputs), *more)


def _loop(
    model: nn.Module,
    optimizer: Any,
    epochs: int,
    each: Callable[[int], object] = lambda step: None,
    clear: bool = True,
    target: Tensor = Y,
    after: Callable[[], object] = lambda: None,
) -> tuple[Any, list[float]]:
    """(what `tw.watch` saw, the losses) of a loop of one's own."""
    losses: list[float] = []
    generator = torch.Generator().manual_seed(0)
    with tw.watch(model, optimizer, per_epoch=32, quiet=True) as seen:
        for _ in range(epochs):
            for rows in torch.randperm(1024, generator=generator).split(32):
                if clear:
                    optimizer.zero_grad()
                loss = F.cross_entropy(model(X[rows]), target[rows])
                loss.backward()
                each(len(losses))
                optimizer.step()
                losses.append(float(loss.detach()))
            after()
    return seen, losses


def _seen(watch: Any, rule: str) -> tuple[int, Any]:
    """(step, finding) of a watched loop."""
    found = said([Found(step, finding) for step, finding in watch.checkup.found], rule)
    return found.step, found.finding


def _rows(y: tuple[float, float], steps: int, log: str = "") -> Chart:
    """A field of steps."""
    low, high = y
    chart = Chart((0, steps), y, log=log)
    return chart.ticks([(s, f"{s:,}") for s in (0, steps // 2, steps)], [(low, f"{low:.2g}"), (high, f"{high:.2g}")])


def asleep_while_training(place: Path) -> str:
    """model.eval() for a validation, and never back."""
    model, modes = _model(dropout=True).train(), []
    seen, losses = _loop(
        model,
        torch.optim.Adam(model.parameters(), 0.01),
        6,
        lambda s: modes.append(model[3].training),
        after=model.eval,
    )
    step, _ = _seen(seen, "asleep_while_training")
    total = len(losses)
    strip = cells([[BLUE if awake else RED for awake in modes[::4]]], (46, 34, WIDTH - 18, 44))
    chart = Chart((0, total), (0, max(losses)), (46, 52, WIDTH - 18, HEIGHT - 26))
    chart.ticks([(s, str(s)) for s in range(0, total + 1, 32)], [(0, "0"), (max(losses), f"{max(losses):.2g}")])
    chart.upright(step).line(enumerate(losses, 1))
    title = "above: dropout and batch norm, awake (blue) or in evaluation mode (red)\n"
    title += f"below: the loss, which says nothing of it; said at step {step}"
    return picture(title, "step; an epoch has 32, and model.eval() is called behind the first", strip, chart)


def gradients_not_cleared(place: Path) -> str:
    """zero_grad() is forgotten; beside it the same loop with it."""
    sizes: dict[bool, list[float]] = {}
    steps: dict[bool, Any] = {}
    for clear in (True, False):
        model, sizes[clear] = _model(), []

        def size(step: int, model: nn.Module = model, clear: bool = clear) -> None:
            sizes[clear].append(float(torch.stack([p.grad.norm() for p in model.parameters()]).norm()))  # type: ignore[union-attr]

        steps[clear], _ = _loop(model, torch.optim.SGD(model.parameters(), 0.1), 2, size, clear)
    step, _ = _seen(steps[False], "gradients_not_cleared")
    every = sizes[True] + sizes[False]
    chart = _rows((min(every), max(every)), len(sizes[True]), "y")
    chart.line(enumerate(sizes[True], 1), GREY).line(enumerate(sizes[False], 1)).upright(step)
    chart.say("never cleared", 40, sizes[False][39], "end", BLUE, 6).say(
        "cleared each step", 60, sizes[True][59], "end", "#555", 8
    )
    title = f"norm of the gradient that a step follows (logarithmic); said at step {step}"
    return picture(title, "step", chart)


def not_in_optimizer(place: Path) -> str:
    """The optimizer has the weights of the head alone."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    first = {n: p.detach().clone() for n, p in model.named_parameters()}
    slopes: dict[str, float] = {}

    def slope(step: int) -> None:
        for n, p in model.named_parameters():
            slopes[n] = max(slopes.get(n, 0.0), float(p.grad.norm()))  # type: ignore[union-attr]

    seen, _ = _loop(model, torch.optim.Adam(model[4].parameters(), 0.01), 2, slope)
    _, found = _seen(seen, "not_in_optimizer")
    names = [n for n, _ in model.named_parameters()]
    moved = [float((p.detach() - first[n]).norm()) for n, p in model.named_parameters()]
    charts = []
    for left, values, title, colour in (
        (8, [slopes[n] for n in names], "largest gradient", BLUE),
        (222, moved, "way that was moved", ORANGE),
    ):
        high = max(values)
        for i, value in enumerate(values):
            y, end = 40 + 17 * i, left + 56 + 110 * value / high
            charts.append(
                f'<rect x="{left + 56}" y="{y}" width="{max(0.5, end - left - 56):.1f}" height="11" fill="{colour}"/>'
            )
            charts.append(words(names[i], left + 52, y + 9, "end"))
            charts.append(words(f"{value:.2g}", round(end + 4, 1), y + 9, colour=RED if value == 0 else "#333"))
        charts.append(words(title, left + 56, 32))
    share = found.evidence["share"]
    title = f"{100 * share:.0f} % of the weights are in no group of the optimizer: a gradient, and no step"
    return picture(title, "64 steps of Adam", *charts)


def output_contradicts_loss(place: Path) -> str:
    """A softmax before a loss that has one; beside it the same network without."""
    target = X[:, :3].argmax(1)
    runs = {}
    for twice in (False, True):
        model = _model(*([nn.Softmax(1)] if twice else []), outputs=3)
        runs[twice] = _loop(model, torch.optim.Adam(model.parameters(), 0.01), 8, target=target)
    step, _ = _seen(runs[True][0], "output_contradicts_loss")
    floor = math.log(math.e + 2) - 1
    steps = len(runs[True][1])
    chart = _rows((0, 1.2), steps)
    chart.line(enumerate(runs[False][1], 1), GREY).line(enumerate(runs[True][1], 1)).level(floor, RED)
    chart.say(f"softmax twice: no loss below {floor:.2f} is possible", steps, floor, "end", RED, -12)
    chart.say("without the softmax", steps, 0.22, "end", "#555", 4)
    return picture(f"loss of a network with a softmax (blue; said at step {step}), and without it", "step", chart)


class Rounded(nn.Module):
    """Gives whole numbers, as a person may want them."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) -> (N, F)."""
        return x.round()


def no_gradient(place: Path) -> str:
    """An output that is rounded: stairs, which are flat wherever one stands."""
    target = (2 * X[:, :1] - X[:, 1:2]).numpy()
    model = nn.Sequential(*_model(outputs=1), Rounded())
    run = fitted(place, model, (X.numpy(), target), loss="mse", epochs=2)
    evidence(run, "no_gradient")
    weight = model[2].weight
    before = float(weight[0, 3].detach())
    ways = np.linspace(-1.5, 1.5, 301)
    y = torch.from_numpy(target)
    flat, smooth = [], []
    with torch.no_grad():
        for way in ways:
            weight[0, 3] = before + way
            flat.append(float(F.mse_loss(model(X[:12]), y[:12])))
            smooth.append(float(F.mse_loss(model[:-1](X[:12]), y[:12])))
        weight[0, 3] = before
    low, high = min(flat + smooth), max(flat + smooth)
    chart = Chart((-1.5, 1.5), (low, high))
    chart.ticks([(v, f"{v:+g}" if v else "0") for v in (-1, 0, 1)], [(low, f"{low:.2g}"), (high, f"{high:.2g}")])
    chart.upright(0, dashed=True).line(zip(ways, smooth, strict=True), GREY).line(zip(ways, flat, strict=True))
    chart.say("rounded: stairs", -0.75, flat[75], "start", BLUE, -12).say(
        "not rounded", 0.1, smooth[180], "start", "#555", -16
    )
    return picture(
        "loss of twelve samples while one weight is moved; its slope at 0 is exactly 0", "change of the weight", chart
    )


def exploding_gradient(place: Path) -> str:
    """Some samples are sixteen times as large as the others, and their labels are drawn."""
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(size=(1200, 6)), -3, 3).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    far = rng.choice(1200, 60, replace=False)
    x[far] *= 16
    y[far] = rng.integers(0, 2, 60)
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    run = fitted(place, net, (x, y), optimizer="sgd", lr=3e-3, epochs=4, batch_size=8)
    step, found = evidence(run, "exploding_gradient")
    told, norms = found.evidence, {s: v for s, v in run.view.norms.items() if math.isfinite(v)}
    last = max(norms)
    chart = _rows((min(norms.values()), max(norms.values())), last, "y")
    chart.line(norms.items()).level(told["usual"], "#555").level(10 * told["usual"], RED)
    chart.dots([(s, v) for s, v in norms.items() if v > 10 * told["usual"]], RED, 2.2)
    chart.say("ten times the usual", last, 10 * told["usual"], "end", RED, 3)
    title = f"norm of each step's gradient (logarithmic): {told['leaps']:.0f} of {told['steps looked at']:.0f} leap"
    return picture(title, f"step; said at {step}", chart)


def noisy_steps(place: Path) -> str:
    """One sample a step."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    y = (x[:, :1] + 1.5 * rng.normal(size=(400, 1))).astype(np.float32)
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    run = fitted(place, net, (x, y), loss="mse", optimizer="sgd", lr=0.04, epochs=1, batch_size=1)
    step, found = evidence(run, "noisy_steps")
    told, losses = found.evidence, list(run.view.losses.items())
    high = float(np.quantile([v for _, v in losses], 0.98))
    chart = _rows((0, high), losses[-1][0])
    chart.line(losses).level(told["loss of guessing"], "#555").upright(step)
    return picture(
        f"loss of each step of one sample: it swings by {told['deviation of the loss']:.2g} around {told['loss']:.2g}; "
        "dashed, guessing", f"step; said at {step}", chart,
    )  # fmt: skip


def saturated_units(place: Path) -> str:
    """Biases so large that the sigmoids give nearly 1, whatever comes."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(8, 32), nn.Sigmoid(), nn.Linear(32, 32), nn.Sigmoid(), nn.Linear(32, 2))
    with torch.no_grad():
        net[2].bias.fill_(7.0)
        net[2].weight.mul_(0.5)
    run = fitted(place, net, (X.numpy(), Y.numpy()), optimizer="sgd", lr=1e-3, epochs=20)
    step, found = evidence(run, "saturated_units")
    with torch.no_grad():
        given = (
            run.model[:4](X).flatten().numpy() if isinstance(run.model, nn.Sequential) else net[:4](X).flatten().numpy()
        )
    counts, edges = np.histogram(given, 50, (0, 1))
    chart = Chart((0, 1), (0, float(counts.max())))
    chart.ticks([(0, "0"), (0.5, "0.5"), (1, "1")], [(0, "0"), (float(counts.max()), f"{counts.max():,}")])
    chart.bars([(0, 0.01, counts.max()), (0.99, 1, counts.max())], RED, faint=True)
    chart.bars([(float(a), float(b), float(c)) for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True) if c])
    share = 100 * found.evidence["share pinned"]
    title = f"what the sigmoids of layer {found.where} give: {share:.0f} % lie in the flat ends (red)"
    return picture(title, f"said at step {step}", chart)


def loss_scale_falls(place: Path) -> str:
    """float16, and a rate at which the gradient grows from step to step."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(512, 6)).astype(np.float32)
    y = (x @ np.arange(1, 7)[:, None] / 600).astype(np.float32)
    torch.manual_seed(0)
    given = {"loss": "mse", "optimizer": "sgd", "lr": 0.96, "epochs": 20, "batch_size": 128, "precision": "float16"}
    scales: list[float] = []
    original = LossScale.update

    def kept(scale: LossScale, finite: bool) -> None:
        original(scale, finite)
        scales.append(scale.scale)

    with patch.object(LossScale, "update", kept):
        run = fitted(place, nn.Linear(6, 1), (x, y), **given)
    step, found = evidence(run, "loss_scale_falls")
    losses, norms = run.view.losses, run.view.norms
    lost = [s for s in norms if not math.isfinite(norms[s]) and math.isfinite(losses[s])]
    last = min(max(norms), step + 10)
    chart = Chart((0, last), (1, 2**17), log="y")
    chart.ticks([(s, str(s)) for s in range(0, last + 1, 20)], [(1, "1"), (256, "256"), (65536, "65,536")])
    chart.line([p for s, v in enumerate(scales[:last], 1) for p in ((s - 1, v), (s, v))], wide=1.8)
    chart.dots([(s, 2**17) for s in lost if s <= last], RED, 2.2).upright(step)
    told = found.evidence
    title = (
        f"the loss scale (logarithmic); red: steps that were not taken, {told['steps lost']:.0f} of the latest "
        f"{told['steps looked at']:.0f}"
    )
    return picture(title, f"step; said at {step}", chart)


class Slow(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Each sample takes some milliseconds to be read."""

    def __len__(self) -> int:
        return 320

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        time.sleep(0.015 if i % 7 else 0.03)
        return X[i], Y[i]


def waiting_for_data(place: Path) -> str:
    """A decoder that is slower than the network."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(8, 700), nn.ReLU(), nn.Linear(700, 700), nn.ReLU(), nn.Linear(700, 2))
    loader = torch.utils.data.DataLoader(Slow(), batch_size=8, shuffle=True)
    run = fitted(place, net, loader, epochs=2, log_every=1)
    step, found = evidence(run, "waiting_for_data")
    steps = run.view.steps[2:22]
    high = 1000 * max(e.seconds for e in steps)
    chart = Chart((steps[0].step - 0.5, steps[-1].step + 0.5), (0, high), (46, 34, WIDTH - 18, HEIGHT - 26))
    chart.ticks([(e.step, str(e.step)) for e in steps[::4]], [(0, "0 ms"), (high, f"{high:.0f} ms")])
    chart.bars([(e.step - 0.4, e.step + 0.4, 1000 * e.seconds) for e in steps])
    chart.bars([(e.step - 0.4, e.step + 0.4, 1000 * e.waited) for e in steps], ORANGE)
    told = found.evidence
    title = "time of each step: waiting for data (orange), computing (blue)\n"
    title += f"the median step waits {100 * told['share']:.0f} % of its {1000 * told['seconds a step']:.0f} ms"
    return picture(title, f"step; said at {step}", chart)


TRAINING: dict[str, Shown] = {
    "asleep_while_training": Shown(
        "A real loop: what the network's dropout and batch norm did while it learned.", asleep_while_training
    ),
    "gradients_not_cleared": Shown(
        "Two real loops, alike but for one line: the gradient that each step follows.", gradients_not_cleared
    ),
    "not_in_optimizer": Shown(
        "A real loop: every weight is told where to go, and most are never moved.", not_in_optimizer
    ),
    "output_contradicts_loss": Shown("Two real loops, alike but for a softmax.", output_contradicts_loss),
    "no_gradient": Shown(
        "The network of a real run: a loss made of stairs has no slope that a step could follow.", no_gradient
    ),
    "exploding_gradient": Shown(
        "The gradients of a real run; those in red are more than ten times the usual.", exploding_gradient
    ),
    "noisy_steps": Shown("The loss of a real run, step by step.", noisy_steps),
    "saturated_units": Shown("What hidden units gave in a real run.", saturated_units),
    "loss_scale_falls": Shown(
        "The loss scale of a real run in float16: each step that overflows halves it.", loss_scale_falls
    ),
    "waiting_for_data": Shown("The steps of a real run, and what they spent their time on.", waiting_for_data),
}
