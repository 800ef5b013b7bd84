"""What other tools look at, noted after each epoch of a plain run: one batch's values and gradients, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.doctor.activations import Exponential
from benchmarks.doctor.judge import judged
from benchmarks.doctor.programs import Program

ROWS = 256  # at most, of the one batch
JUDGED = 1000  # rows that accuracy is measured on
EPOCHS = 200  # of longer runs every second, third, … epoch is noted
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softmax, Exponential)


@dataclass(frozen=True, slots=True)
class Known:
    """What can be read from a program before it runs."""

    hidden: tuple[str, ...]  # kinds of the activations before the last layer with weights, "linear" where there is none
    last: str  # kind of the output's activation
    loss: str
    logits: bool
    rate: float
    dropout: float  # the largest
    inputs: tuple[float, float, float]  # least, most, mean
    shape: tuple[int, ...]
    targets: tuple[float, float]
    counts: tuple[int, ...]  # rows of each class
    epochs: int


@dataclass(slots=True)
class Layer:
    """An activation's values on the batch."""

    kind: str
    mean: float
    large: float  # mean of |output|
    below: float  # share of outputs <= 0
    dead: float  # share of units that are 0 on 99 % of the rows
    beyond5: float  # share of inputs with |x| >= 5
    saturated: float  # share of inputs beyond the limits of SageMaker Debugger


@dataclass(slots=True)
class Weight:
    """A parameter, its gradient on the batch, and how it moved since the last note."""

    mean: float
    variance: float
    norm: float
    finite: bool
    zero: bool
    grad_norm: float
    grad_mean: float  # of |g|
    grad_zeros: float  # share of entries that are exactly 0
    grad_range: float  # between the 5th and the 95th percentile
    moved: float  # norm of the change
    kernel: bool


@dataclass(slots=True)
class Note:
    """One epoch."""

    epoch: int
    loss: float
    accuracy: float
    valid_loss: float
    valid_accuracy: float
    output: tuple[float, float, float]  # least, most, mean over rows of the sum of |output|
    layers: list[Layer] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)


class Observer:
    """Told (epoch, model, loss) by a plain run; changes neither the weights nor the random state."""

    def __init__(self, program: Program) -> None:
        self.program, self.notes = program, list[Note]()
        self.every = max(1, math.ceil(program.epochs / EPOCHS)) if program.steps is None else 1
        self._before: list[Tensor] = []

    def __call__(self, epoch: int, model: nn.Module, loss: float) -> None:
        if epoch == 1 or epoch % self.every == 0:
            with torch.random.fork_rng():
                self.notes.append(self._note(epoch, model, loss))

    def _note(self, epoch: int, model: nn.Module, loss: float) -> Note:
        data, program = self.program.arrays(), self.program
        modes = {module: module.training for module in model.modules()}
        model.eval()
        layers, output, grads = batch_of(program, model)
        weights = self._weights(model, grads)
        accuracy = self._accuracy(model, data.x, data.y)
        valid_loss, valid_accuracy = math.nan, math.nan
        if data.x_valid is not None and data.y_valid is not None:
            with torch.no_grad():
                valid_loss = float(program.loss(model(data.x_valid[:JUDGED]), data.y_valid[:JUDGED]))
            valid_accuracy = self._accuracy(model, data.x_valid, data.y_valid)
        for module, training in modes.items():
            module.training = training
        span = (float(output.min()), float(output.max()), float(output.abs().sum(-1).mean()))
        return Note(epoch, loss, accuracy, valid_loss, valid_accuracy, span, layers, weights)

    def _accuracy(self, model: nn.Module, x: Tensor, y: Tensor) -> float:
        """Of regression 0: the tools compare numbers for equality there."""
        if self.program.metric != "accuracy":
            return 0.0
        value = judged(model, x[:JUDGED], y[:JUDGED], "accuracy", self.program.logits).metric
        return value if math.isfinite(value) else 0.0

    def _weights(self, model: nn.Module, grads: Sequence[Tensor | None]) -> list[Weight]:
        weights = [p.detach().clone() for p in model.parameters()]
        before = self._before or weights
        self._before = weights
        return [_weight(w, b, g) for w, b, g in zip(weights, before, grads, strict=True)]


def batch_of(program: Program, model: nn.Module) -> tuple[list[Layer], Tensor, list[Tensor | None]]:
    """Layers, output and gradients of the first batch."""
    data = program.arrays()
    size = ROWS if program.batch_size == "all" else min(ROWS, program.batch_size)
    layers: list[Layer] = []
    handles = [
        module.register_forward_hook(lambda m, given, out: layers.append(_layer(m, given[0], out)))
        for module in model.modules()
        if isinstance(module, _ACTIVATIONS)
    ]
    try:
        output = model(data.x[:size])
    finally:
        for handle in handles:
            handle.remove()
    weights = [p for p in model.parameters() if p.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(weights)
    if output.requires_grad:
        found = torch.autograd.grad(program.loss(output, data.y[:size]), weights, allow_unused=True)
    by_weight = {id(w): g for w, g in zip(weights, found, strict=True)}
    return layers, output.detach(), [by_weight.get(id(p)) for p in model.parameters()]


def known(program: Program, model: nn.Module) -> Known:
    """What a program shows before it runs."""
    data = program.arrays()
    kinds = _kinds(model)
    labels = data.y.argmax(-1) if data.y.is_floating_point() and data.y.dim() > 1 and data.y.shape[-1] > 1 else data.y
    classes = program.metric == "accuracy" and bool((labels >= 0).all())
    counts = labels.flatten().long().bincount().tolist() if classes else []
    x = data.x.float()
    return Known(
        hidden=tuple(kinds[:-1]),
        last=kinds[-1],
        loss=program.loss_name,
        logits=program.logits,
        rate=float(program.optimizer(model).param_groups[0]["lr"]),
        dropout=max((m.p for m in model.modules() if isinstance(m, nn.Dropout)), default=0.0),
        inputs=(float(x.min()), float(x.max()), float(x.mean())),
        shape=tuple(data.x.shape),
        targets=(float(data.y.min()), float(data.y.max())),
        counts=tuple(count for count in counts if count),
        epochs=program.epochs,
    )


def _kinds(model: nn.Module) -> list[str]:
    """The kind of activation after each layer with a kernel."""
    kinds: list[str] = []
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            kinds.append("linear")
        elif isinstance(module, _ACTIVATIONS) and kinds:
            kinds[-1] = _kind(module)
        elif isinstance(module, nn.LogSoftmax) and kinds:
            kinds[-1] = "log_softmax"
        elif isinstance(module, nn.RNNBase):
            kinds.append("tanh")
    return kinds or ["linear"]


def _kind(module: nn.Module) -> str:
    return type(module).__name__.lower()


_LIMITS: Mapping[str, tuple[float, float]] = {"tanh": (-9.4999, 9.4999), "sigmoid": (-23, 16.99999)}


def _layer(module: nn.Module, given: Tensor, out: Tensor) -> Layer:
    given, out = given.detach(), out.detach()
    low, high = _LIMITS.get(_kind(module), (-math.inf, math.inf))
    units = (out == 0).flatten(1).double().mean(0)
    return Layer(
        kind=_kind(module),
        mean=float(out.mean()),
        large=float(out.abs().mean()),
        below=float((out <= 0).double().mean()),
        dead=float((units >= 0.99).double().mean()),
        beyond5=float((given.abs() >= 5).double().mean()),
        saturated=float(((given < low) | (given > high)).double().mean()),
    )


def _weight(weight: Tensor, before: Tensor, grad: Tensor | None) -> Weight:
    g = torch.zeros_like(weight) if grad is None else grad.detach()
    finite = bool(weight.isfinite().all() and g.isfinite().all())
    ends: Any = g.flatten()[:100_000].double().quantile(torch.tensor([0.05, 0.95], dtype=torch.double))
    return Weight(
        mean=float(weight.mean()),
        variance=float(weight.var()) if weight.numel() > 1 else 0.0,
        norm=float(weight.norm()),
        finite=finite,
        zero=bool((weight == 0).all()),
        grad_norm=float(g.norm()),
        grad_mean=float(g.abs().mean()),
        grad_zeros=float((g == 0).double().mean()),
        grad_range=float(ends[1] - ends[0]),
        moved=float((weight - before).norm()),
        kernel=weight.dim() > 1,
    )
