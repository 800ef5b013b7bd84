"""Listens to a training loop that is not ours: forward, backward and step, without a change to its code or numbers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.engine.trace import first_tensor_of

_OF_GRAPH: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "MseLossBackward0": F.mse_loss,
    "L1LossBackward0": F.l1_loss,
    "SmoothL1LossBackward0": F.smooth_l1_loss,
    "HuberLossBackward0": F.huber_loss,
    "BinaryCrossEntropyBackward0": F.binary_cross_entropy,
    "BinaryCrossEntropyWithLogitsBackward0": F.binary_cross_entropy_with_logits,
    "NllLossBackward0": F.nll_loss,
}
_TINY = 20  # nodes of a graph that are looked at
_ROWS = 256  # samples that are kept at hand
Given: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]  # arguments by place and by name


class Listener:
    """What happens in a loop, told to three functions.

    Args:
        model: that learns.
        optimizer: that moves it.
        backward: is told the loss, before its gradient is computed.
        before: comes before each step of the optimizer, when all gradients are there.
        after: comes behind it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        backward: Callable[[Tensor], None],
        before: Callable[[], None],
        after: Callable[[], None],
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.backward, self.before, self.after = backward, before, after
        self.recent: deque[Given] = deque(maxlen=_ROWS)  # what the model was last called with, the newest last
        self.said: Any = None  # what it gave
        self._hooks: list[Any] = []
        self._theirs: Any = None

    def begin(self) -> None:
        """Listen from here."""
        self._hooks = [
            self.model.register_forward_hook(self._called, with_kwargs=True),
            self.optimizer.register_step_pre_hook(lambda *_: self.before()),
            self.optimizer.register_step_post_hook(lambda *_: self.after()),
        ]
        theirs = torch.autograd.backward
        self._theirs = theirs

        def heard(tensors: Any, *args: Any, **named: Any) -> Any:
            loss = first_tensor_of(tensors)
            if loss is not None and loss.numel() == 1:
                self.backward(loss)
            return theirs(tensors, *args, **named)

        torch.autograd.backward = heard  # Tensor.backward calls it; no hook of torch's is told of a loss

    def end(self) -> None:
        """No trace is left."""
        for hook in self._hooks:
            hook.remove()
        if self._theirs is not None:
            torch.autograd.backward = self._theirs
        self._hooks, self._theirs = [], None
        self.recent.clear()
        self.said = None

    def _called(self, module: nn.Module, args: Any, named: Any, made: Any) -> None:
        if module.training or torch.is_grad_enabled():
            self.recent.append((args, named))
            self.said = made
            while len(self.recent) > 1 and sum(map(_rows, self.recent)) - _rows(self.recent[0]) >= _ROWS:
                self.recent.popleft()

    def given(self) -> Given:
        """The latest inputs, those of several batches in a row where they fit together, 256 samples or few more."""
        if not self.recent:
            return (), {}
        first = self.recent[-1]
        together = [g for g in self.recent if _alike(g, first)]
        args = tuple(_joined([g[0][i] for g in together]) for i in range(len(first[0])))
        return args, {k: _joined([g[1][k] for g in together]) for k in first[1]}


def _rows(given: Given) -> int:
    x = first_tensor_of(given[0]) if given[0] else first_tensor_of(given[1])
    return len(x) if x is not None and x.ndim else 1


def _alike(one: Given, other: Given) -> bool:
    """Whether samples of both can stand below each other."""
    pairs = [*zip(one[0], other[0], strict=False), *((one[1][k], other[1].get(k)) for k in one[1])]
    if len(one[0]) != len(other[0]) or one[1].keys() != other[1].keys():
        return False
    return all(
        isinstance(a, Tensor) and isinstance(b, Tensor) and a.ndim and a.shape[1:] == b.shape[1:] and a.dtype == b.dtype
        for a, b in pairs
    )


def _joined(values: list[Any]) -> Any:
    return torch.cat([v.detach() for v in values]) if len(values) > 1 else values[0]


Pairs = Callable[[Tensor, Tensor], Tensor]  # (output, target) -> the mean loss


def loss_of_graph(loss: Tensor, output: Tensor) -> tuple[Pairs, Tensor] | None:
    """The function that made a loss (0-d) of the model's output, and its targets, read from the graph, if it is known.

    Only before the graph is freed by a backward pass.
    """
    node = loss.grad_fn
    for _ in range(_TINY):
        if node is None:
            return None
        made = _OF_GRAPH.get(type(node).__name__)
        if made is not None:
            return _rebuilt(node, made, output, float(loss.detach()))
        node = next((n for n, _ in node.next_functions if n is not None), None)
    return None


def targets_of_graph(loss: Tensor) -> Tensor | None:
    """The targets (N, …) of a loss, read from its graph, if it is known."""
    node: Any = loss.grad_fn
    for _ in range(_TINY):
        if node is None:
            return None
        if type(node).__name__ in _OF_GRAPH:
            return _target_of(node)
        node = next((n for n, _ in node.next_functions if n is not None), None)
    return None


def _target_of(node: Any) -> Tensor | None:
    with suppress(Exception):
        target: Tensor = node._saved_target.detach()
        while target.ndim > 1 and len(target) > 1 and target.stride(0) == 0:
            target = target[0]  # as it was before it was spread over the outputs
        return target
    return None


def _rebuilt(node: Any, made: Pairs, output: Tensor, value: float) -> tuple[Pairs, Tensor] | None:
    """The function of output and target that gives this value: itself, or behind what stands between."""
    target = _target_of(node)
    if target is None:
        return None
    ways: list[Pairs] = [made]
    if made is F.nll_loss:
        ways.insert(0, F.cross_entropy)
    if made in (F.mse_loss, F.l1_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        ways.append(lambda o, t: made(o.reshape(t.shape), t))
        ways.append(lambda o, t: made(o.squeeze(-1), t))
    for way in ways:
        with torch.no_grad(), suppress(Exception):
            if math.isclose(float(way(output.detach(), target)), value, rel_tol=1e-4, abs_tol=1e-7):
                return way, target
    return None
