"""What a loop that is not ours compares with what: the loss as a function, and the targets of many batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.facts import Facts
from trainwright.engine.examine import target_of
from trainwright.engine.listening import Listener, Pairs, loss_of_graph, targets_of_graph
from trainwright.engine.nature import Measure, facts_of
from trainwright.engine.trace import first_tensor_of

_FEW = 4096  # samples whose targets are looked at
_ENOUGH, _STEPS = 512, 200  # of them, or so many steps, before the loss of guessing is known


class Compared:
    """Gathers until there is enough.

    Args:
        listener: knows what the model was called with, and what it said.
        loss: a module (output, target) -> mean loss, where it is not made of torch's own.
    """

    def __init__(self, listener: Listener, loss: nn.Module | None) -> None:
        self.listener, self.own = listener, loss
        self.pairs: Pairs | None = loss
        self.latest: tuple[Tensor, Tensor] | None = None  # output and target of the step that is on
        self.samples: list[tuple[Tensor, Tensor]] = []  # inputs and targets of the first batches
        self._first: tuple[Tensor, Tensor] | None = None
        self._targets: list[Tensor] = []
        self._done = False
        self._hook: Any = None

    def begin(self) -> None:
        """Listen to the loss."""
        if self.own is not None:
            self._hook = self.own.register_forward_hook(self._lost)

    def end(self) -> None:
        """No trace is left."""
        if self._hook is not None:
            self._hook.remove()

    def hear(self, loss: Tensor, step: int) -> None:
        """A backward pass begins: what was compared, as long as that is not known well enough."""
        if self._done:
            return
        output = first_tensor_of(self.listener.said)
        if step == 0 and self.pairs is None and output is not None:
            found = loss_of_graph(loss, output)
            if found is not None:
                self.pairs, self.latest = found[0], (output.detach(), found[1])
        elif self.latest is None and self.pairs is not None and output is not None:
            target = targets_of_graph(loss)
            self.latest = None if target is None else (output.detach(), target)
        if self.latest is not None:
            self._targets.append(self.latest[1])
            self._keep(self.latest[1])

    @property
    def enough(self) -> bool:
        """Whether guessing can be judged."""
        return bool(self._targets) and (sum(map(len, self._targets)) >= _ENOUGH or len(self._targets) >= _STEPS)

    def first(self) -> tuple[Measure | None, Tensor | None]:
        """The loss of outputs of the first batch, and its targets, as far as they are known."""
        self._first, pairs = self.latest, self.pairs
        if self._first is None or pairs is None:
            return None, None
        target = self._first[1]
        return (lambda o: pairs(o, target)), target

    def widened(self, facts: Facts) -> Facts | None:
        """The facts with what guessing reaches for all targets until now; None where that is not known, or done."""
        done, self._done = self._done, True
        pairs, first = self.pairs, self._first
        same = [t for t in self._targets if first is not None and t.shape[1:] == first[1].shape[1:]]
        self._targets = []
        if done or pairs is None or first is None or not same:
            return None
        target = torch.cat(same)[:_FEW]
        told = facts_of(
            lambda o: pairs(o, first[1]),
            first[0],
            first[1],
            facts.loss.start,
            wide=(target, lambda o: pairs(o, target)),
        )
        output = facts.output
        if target.is_floating_point():
            low, high = output.reach
            beyond = ((target < low - 1e-6) | (target > high + 1e-6)).float().mean()
            output = replace(output, missed=float(beyond))
        told = replace(told, deaf=facts.loss.deaf, broadcast=facts.loss.broadcast or told.broadcast)
        return replace(facts, loss=told, target=target_of(target), output=output, samples=len(target))

    def _lost(self, module: nn.Module, args: Any, value: Any) -> None:
        """A loss that is a module was computed."""
        if len(args) == 2 and all(isinstance(x, Tensor) and x.ndim for x in args):
            self.latest = (args[0].detach(), args[1].detach())

    def _keep(self, target: Tensor) -> None:
        """Inputs beside their targets, where one tensor goes in."""
        args, named = self.listener.recent[-1] if self.listener.recent else ((), {})
        alone = args[0] if len(args) == 1 and not named else None
        if not isinstance(alone, Tensor) or not alone.ndim or len(alone) != len(target):
            return
        first = self.samples[0] if self.samples else (alone, target)
        if first[0].shape[1:] == alone.shape[1:] and first[1].shape[1:] == target.shape[1:]:
            self.samples.append((alone.detach(), target))
