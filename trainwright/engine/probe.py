"""Statistics of the layers between two steps: what they give, the gradients they get, and how far their weights move.

Between probes nothing of it is there: no hook, no copy. A probe changes no weight, no buffer and no randomness.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.events import Probed
from trainwright.engine.trace import traced, without_dropout

SHARE = 0.02  # of the training's time that probes and rules may take
_GRID = 100  # probes of a run, at most
_ALWAYS = 4  # of them are taken whatever they cost: a quarter, a half, three quarters, the end
_FEW = 20  # probes of a run on several ranks
_NUMBERS = 2**16  # of a weight that are looked at
_LAYERS = 256  # that are told apart


@dataclass(slots=True)
class Pace:
    """When to probe: on a grid of steps, as often as its share of the time allows.

    Args:
        steps: of the whole budget.
        clocked: by the time it takes; else by the number of steps alone, which is the same on every rank.
        clock: seconds.
    """

    steps: int
    clocked: bool = True
    clock: Callable[[], float] = time.perf_counter
    spent: float = 0.0  # seconds, of this attempt
    probes: int = 0  # that were taken
    latest: float = 0.0  # seconds that the last probe took
    began: float = -1.0

    def due(self, step: int) -> bool:
        """Whether the step that comes is to be probed; asked once before each, from 1."""
        if self.began < 0:
            self.began = self.clock()
        part = -(-step * _ALWAYS // self.steps)  # which of the quarters it lies in; the last step of each is taken
        if step == self.steps * part // _ALWAYS:
            return True
        if not self.clocked:
            return step >= 5 and step % max(1, self.steps // _FEW) == 0
        if step < 5 or step % max(1, self.steps // _GRID):
            return False
        trained = self.clock() - self.began - self.spent
        return self.spent + self.latest <= SHARE * trained

    def paid(self, seconds: float) -> None:
        """What a probe took."""
        self.latest = seconds
        self.spent += seconds
        self.probes += 1

    def judged(self, seconds: float) -> None:
        """What the rules took that read it."""
        self.latest += seconds
        self.spent += seconds

    def besides(self, seconds: float) -> None:
        """What the rules took that read something else, between two steps."""
        self.spent += seconds if self.began >= 0 else 0.0

    @property
    def share(self) -> float:
        """Of the time since the first step, evaluations and checkpoints included, without its own; 0 before."""
        trained = self.clock() - self.began - self.spent if self.began >= 0 else 0.0
        return self.spent / trained if trained > 0 else 0.0


class Probe:
    """Measures one optimizer step: arm it before, read it after.

    Args:
        model: as its author wrote it.
        optimizer: the one whose steps are measured.
        look: runs the model on a few hundred training samples; None where only gradients and weights are looked at.
        aside: protects randomness, buffers and modes meanwhile.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        look: Callable[[], object] | None,
        aside: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.model, self.optimizer, self.look, self.aside = model, optimizer, look, aside
        self._hooks: list[Any] = []
        self._before: dict[str, Tensor] = {}
        self._figures: dict[str, Tensor] = {}
        self.seconds = 0.0

    def arm(self) -> None:
        """The optimizer's next step is measured."""
        began = time.perf_counter()
        self.disarm()
        self._hooks = [
            self.optimizer.register_step_pre_hook(lambda *_: self.before_step()),
            self.optimizer.register_step_post_hook(lambda *_: self.after_step()),
        ]
        self.seconds = time.perf_counter() - began

    def disarm(self) -> None:
        """No trace is left."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._before, self._figures = [], {}, {}

    def read(self, step: int) -> Probed:
        """What was measured: one wait for the device.

        Of a layer ``gradient`` (root mean square over its weights, as it reached the optimizer), ``update`` (size of
        the step relative to the weights), ``weight`` (root mean square); ``mean``, ``deviation``, ``zeros``, ``dead``
        and ``pinned`` as in `core.facts.LayerFacts`.
        """
        began = time.perf_counter()
        figures = dict(self._figures)
        if self.look is not None:
            with torch.no_grad(), self.aside():
                back = without_dropout(self.model)
                try:
                    figures |= self._seen()
                finally:
                    back()
        names = list(figures)
        values = torch.stack([figures[n].to(torch.float32) for n in names]).tolist() if names else []
        told: dict[str, dict[str, float]] = {}
        for name, value in zip(names, values, strict=True):
            layer, _, figure = name.rpartition("/")
            told.setdefault(layer, {})[figure] = value
        self.disarm()
        self.seconds += time.perf_counter() - began
        return Probed(step, told)

    def _seen(self) -> dict[str, Tensor]:
        assert self.look is not None
        with traced(self.model) as calls:
            self.look()
        out: dict[str, Tensor] = {}
        for call in calls[:_LAYERS]:
            for name, value in zip(("mean", "deviation", "zeros", "dead", "pinned"), call.figures, strict=True):
                out.setdefault(f"{call.name}/{name}", value)
        return out

    def before_step(self) -> None:
        """All gradients are there; called by the optimizer where `arm` was."""
        began = time.perf_counter()
        for layer, matrix in self._matrices().items():
            if matrix.grad is not None:
                self._figures[f"{layer}/gradient"] = _part(matrix.grad).square().mean().sqrt()
            self._before[layer] = _part(matrix).clone()
        self.seconds += time.perf_counter() - began

    def after_step(self) -> None:
        """The weights have moved."""
        began = time.perf_counter()
        for layer, matrix in self._matrices().items():
            if layer in self._before:
                was, now = self._before[layer], _part(matrix)
                self._figures[f"{layer}/weight"] = now.square().mean().sqrt()
                self._figures[f"{layer}/update"] = (now - was).norm() / was.norm().clamp_min(1e-30)
        self.seconds += time.perf_counter() - began

    def _matrices(self) -> Mapping[str, Tensor]:
        """The first weight of each layer that can learn, by the layer's name."""
        found: dict[str, Tensor] = {}
        for name, weight in self.model.named_parameters():
            layer = name.rpartition(".")[0]
            if weight.requires_grad and weight.ndim >= 2 and layer not in found and len(found) < _LAYERS:
                found[layer] = weight
        return found


@torch.no_grad()
def _part(x: Tensor) -> Tensor:
    """(M,) float32 numbers of a tensor: all, or evenly spread ones of a large one."""
    flat = x.detach().reshape(-1)
    step = max(1, flat.numel() // _NUMBERS)
    return flat[::step].float()
