"""The kinds of thing a person can add, each in one file of its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.batch import Draw
from trainwright.core.criterion import Criterion
from trainwright.core.events import Observer
from trainwright.core.finding import Rule
from trainwright.core.registry import Registry
from trainwright.core.repair import Repair
from trainwright.core.task import Metric, Task
from trainwright.core.tokenizer import Tokenizer

Schedule = Callable[[int, int], float]  # (step, steps of the whole budget) -> multiplier of the base rates

# Fills a matrix or kernel (outputs, inputs, *window) in place, for the gain of the activation behind it
Init = Callable[[Tensor, float, torch.Generator], object]


class Place(NamedTuple):
    """Where a layer of a declared list stands."""

    shape: tuple[int, ...]  # of one sample that comes in
    activation: str | None  # that follows, past norms, pools and dropout; its initial weights may fit it


Layer = Callable[[Place], nn.Module]  # UserError with an empty place where it cannot stand there

# Images (N, C, H, W) of 0 to 255, each changed in its own way; all randomness is the draw's.
Change = Callable[[Tensor, Draw], Tensor]
# (height, width) -> (N, 3, 3): where each pixel (x, y, 1) of the new image comes from, in pixels from the middle.
Warp = Callable[[tuple[int, int], Draw], Tensor]

tasks: Registry[Callable[..., Task[Any]]] = Registry(
    "task", "trainwright.tasks", "a tw.Task", lambda made: isinstance(made, Task)
)
models: Registry[Callable[..., nn.Module]] = Registry(
    "model", "trainwright.models", "an nn.Module", lambda made: isinstance(made, nn.Module)
)
layers: Registry[Callable[..., Layer]] = Registry(
    "layer", "trainwright.models", "a function (place) -> nn.Module", callable
)
losses: Registry[Callable[..., Criterion]] = Registry(
    "loss", "trainwright.optim", "a tw.Criterion", lambda made: isinstance(made, Criterion)
)
# a factory's first argument is what the task compares; its tag says which: @metrics.add("accuracy", of=Classes)
metrics: Registry[Callable[..., Metric]] = Registry(
    "metric", "trainwright.metrics", "a tw.Metric", lambda made: isinstance(made, Metric)
)
augmentations: Registry[Callable[..., Change | Warp]] = Registry(
    "augmentation", "trainwright.data", "a function (images, draw) -> images", callable
)
optimizers: Registry[Callable[..., Optimizer]] = Registry(
    "optimizer", "trainwright.optim", "a torch.optim.Optimizer", lambda made: isinstance(made, Optimizer)
)
schedules: Registry[Callable[..., Schedule]] = Registry(
    "schedule", "trainwright.optim", "a function (step, steps) -> multiplier", callable
)
steps: Registry[Callable[..., Callable[..., Any]]] = Registry(
    "step", "trainwright.engine", "a function (state, task, group, runtime, …) -> tw.Step", callable
)
inits: Registry[Callable[..., Init | None]] = Registry(
    "init", "trainwright.models", "a function (weight, gain, generator)", lambda made: made is None or callable(made)
)
observers: Registry[Callable[..., Observer]] = Registry(
    "observer", "trainwright.observers", "a function (event) -> tw.Stop or None", callable
)
# a factory's first argument is the special pieces that the task needs
tokenizers: Registry[Callable[..., Tokenizer]] = Registry(
    "tokenizer", "trainwright.data.tokenizers", "a tw.Tokenizer", lambda made: isinstance(made, Tokenizer)
)
sources: Registry[Callable[..., Any]] = Registry("source", "trainwright.data")
sets: Registry[Callable[[], Any]] = Registry("set", "trainwright.data.sets")
rules: Registry[Callable[..., Rule]] = Registry(
    "rule", "trainwright.rules", "a tw.Rule", lambda made: isinstance(made, Rule)
)
# its tag ``consent`` says whether it changes what a person designed, and so is only taken where they said yes
repairs: Registry[Callable[..., Repair]] = Registry(
    "repair", "trainwright.engine.repairs", "a tw.Repair", lambda made: isinstance(made, Repair)
)

_ALL = (
    *(tasks, models, layers, losses, metrics, augmentations, optimizers, schedules, steps, inits, observers),
    *(tokenizers, sources, sets, rules, repairs),
)
KINDS: Mapping[str, Registry[Any]] = {r.kind: r for r in _ALL}
