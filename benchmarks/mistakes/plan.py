"""A small training in the words of no system, and the networks of torch that it describes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SEED = 0
ROWS, HELD, COLUMNS, CLASSES = 512, 256, 12, 4


@dataclass(frozen=True)
class Plan:
    """What is trained on what, and how.

    Args:
        kind: what the network shall say: "classes", "number", "yes" (one column of 0 and 1) or "several" (columns).
        train: (x, y).
        valid: likewise.
        test: rows on which the scoreboard itself judges the network; no system sees them.
        layers: "dense 12 32", "relu", "sigmoid", "softmax", "softmax over rows", "norm 32", "dropout 0.3", "detached",
            "rows mixed".
        start: what the first weights are, where they are not the usual ones: "zeros" or "dead" (a bias of -100).
        spare: a layer that is made and never called.
        resting: all layers but the last are kept from learning.
        loss: "cross_entropy", "mse", "bce" (takes probabilities), "bce_logits", "nll" or "risen" (minus cross-entropy).
        known: the optimizer is given "all" weights, or those of the "head" alone.
        rate: of "sgd" or "adam".
        schedule: "" or "halved": the rate is halved with each epoch, as is meant, or "halved each step".
        clip: largest norm of the gradient; 0 is none.
        order: "drawn" or "as given".
        loop: "", "kept" (gradients are not cleared) or "asleep" (evaluation mode while training).
    """

    kind: str
    train: tuple[Array, Array]
    valid: tuple[Array, Array]
    test: tuple[Array, Array]
    layers: tuple[str, ...]
    loss: str
    rate: float
    optimizer: str = "sgd"
    momentum: float = 0.0
    decay: float = 0.0
    batch: int = 32
    epochs: int = 15
    start: str = ""
    spare: bool = False
    resting: bool = False
    known: str = "all"
    schedule: str = ""
    clip: float = 0.0
    order: str = "drawn"
    loop: str = ""

    @property
    def per_epoch(self) -> int:
        """Steps."""
        return math.ceil(len(self.train[0]) / self.batch)

    @property
    def steps(self) -> int:
        """In all."""
        return self.epochs * self.per_epoch


@dataclass
class Held:
    """What a system was given to train and what is left of it, also where it ended with an exception."""

    weights: Callable[[], list[Array]] = list
    predict: Callable[[Array], Array] = lambda x: x
    steps: int = 0  # that were taken
    messages: list[str] | None = None  # what it said, where it keeps that itself; else its output is read
    first: list[Array] = field(default_factory=list)  # weights before the first step


def network(plan: Plan) -> Any:
    """The same module for every system of torch, with the same first weights."""
    import torch
    from torch import nn

    class Detached(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.detach()

    class RowsMixed(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.reshape(x.shape[1], x.shape[0]).transpose(0, 1)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(SEED)
            self.layers = nn.Sequential(*map(made, plan.layers))
            if plan.spare:
                self.spare = nn.Linear(32, 32)

        def forward(self, x: Any) -> Any:
            return self.layers(x)

    def made(text: str) -> nn.Module:
        word, *numbers = text.split()
        match word:
            case "dense":
                return nn.Linear(int(numbers[0]), int(numbers[1]))
            case "norm":
                return nn.BatchNorm1d(int(numbers[0]))
            case "dropout":
                return nn.Dropout(float(numbers[0]))
            case "softmax":
                return nn.Softmax(dim=0 if numbers else 1)
        return {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "detached": Detached, "rows": RowsMixed}[
            word
        ]()

    net = Network()
    dense = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        if plan.start == "dead":
            dense[0].bias.fill_(-100.0)
        for layer in dense if plan.start == "zeros" else ():
            layer.weight.zero_()
            layer.bias.zero_()
    for layer in dense[:-1] if plan.resting else ():
        layer.requires_grad_(False)
    return net


def lost(plan: Plan) -> Any:
    """(output, target) -> the loss, of torch's own parts."""
    import torch
    from torch import nn

    class Risen(nn.Module):
        def forward(self, output: Any, target: Any) -> Any:
            return -torch.nn.functional.cross_entropy(output, target)

    return {
        "cross_entropy": nn.CrossEntropyLoss,
        "mse": nn.MSELoss,
        "bce": nn.BCELoss,
        "bce_logits": nn.BCEWithLogitsLoss,
        "nll": nn.NLLLoss,
        "risen": Risen,
    }[plan.loss]()


def optimizer(plan: Plan, net: Any) -> Any:
    """Of torch."""
    import torch

    known = net.layers[-1] if plan.known == "head" else net
    weights = [p for p in known.parameters() if p.requires_grad]
    if plan.optimizer == "adam":
        return torch.optim.Adam(weights, plan.rate, weight_decay=plan.decay)
    return torch.optim.SGD(weights, plan.rate, momentum=plan.momentum, weight_decay=plan.decay)


def tensors(part: tuple[Array, Array]) -> tuple[Any, Any]:
    """(x, y) for torch: float32 and int64."""
    import torch

    return torch.from_numpy(part[0]), torch.from_numpy(part[1])


def hold(plan: Plan, net: Any, held: Held) -> None:
    """A module of torch as what is judged at the end; its steps are counted by its calls with a gradient."""
    import torch

    def count(module: Any, args: Any, made: Any) -> None:
        held.steps += bool(torch.is_grad_enabled())

    def predict(x: Array) -> Array:
        hook.remove()
        net.eval()
        with torch.no_grad():
            found: Array = net(torch.from_numpy(x)).numpy()
        return found

    hook = net.register_forward_hook(count)
    held.weights = lambda: [p.detach().cpu().numpy().copy() for p in net.parameters()]
    held.predict = predict
    held.first = held.weights()


def loaders(plan: Plan) -> tuple[Any, Any]:
    """DataLoaders of the training and the validation part."""
    from torch.utils.data import DataLoader, TensorDataset

    train = DataLoader(TensorDataset(*tensors(plan.train)), plan.batch, shuffle=plan.order == "drawn")
    return train, DataLoader(TensorDataset(*tensors(plan.valid)), 64)


def drawn(kind: str, rows: int, part: int) -> tuple[Array, Array]:
    """Rows of one of the four healthy problems, none of which a linear model solves.

    Args:
        kind: as of a `Plan`.
        rows: how many.
        part: 0 training, 1 validation, 2 test.
    """
    rng, world = np.random.default_rng([SEED, part]), np.random.default_rng(7)
    x = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    bent = np.tanh(x @ world.normal(size=(COLUMNS, 6)) * 0.6)
    if kind == "classes":
        scores = bent @ world.normal(size=(6, CLASSES)) * 3 + x[:, :CLASSES] ** 2 - 1
        return x, scores.argmax(1).astype(np.int64)
    score = 1.5 * bent @ world.normal(size=(6, 1)) + x[:, :1] * x[:, 1:2]
    if kind == "number":
        return x, (score + 0.1 * rng.normal(size=score.shape)).astype(np.float32)
    if kind == "yes":
        return x, (score > 0).astype(np.float32)
    several = bent @ world.normal(size=(6, CLASSES)) + x[:, 4 : 4 + CLASSES]
    return x, (several > 0.3).astype(np.float32)
