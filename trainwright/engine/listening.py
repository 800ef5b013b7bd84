"""Listens to a training loop that is not ours: forward, backward and step, without a change to its code or numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

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
        self.given: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})  # what the model was last called with
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
        self.given, self.said = ((), {}), None

    def _called(self, module: nn.Module, args: Any, named: Any, made: Any) -> None:
        if module.training or torch.is_grad_enabled():
            self.given, self.said = (args, named), made


def loss_of_graph(loss: Tensor, output: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor] | None:
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


def _rebuilt(
    node: Any, made: Callable[[Tensor, Tensor], Tensor], output: Tensor, value: float
) -> tuple[Callable[[Tensor], Tensor], Tensor] | None:
    """The function of the output that gives this value: itself, or behind what stands between."""
    target = None
    with suppress(Exception):
        target = node._saved_target.detach()
    if target is None:
        return None
    ways: list[Callable[[Tensor], Tensor]] = [lambda o: made(o, target)]
    if made is F.nll_loss:
        ways.insert(0, lambda o: F.cross_entropy(o, target))
    if made in (F.mse_loss, F.l1_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        ways.append(lambda o: made(o.reshape(target.shape), target))
        ways.append(lambda o: made(o.squeeze(-1), target))
    for way in ways:
        with torch.no_grad(), suppress(Exception):
            if math.isclose(float(way(output.detach())), value, rel_tol=1e-4, abs_tol=1e-7):
                return way, target
    return None
