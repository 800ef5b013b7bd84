"""The kinds of thing a person can add, each in one file of its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from trainwright.core.criterion import Criterion
from trainwright.core.registry import Registry
from trainwright.core.task import Task

Schedule = Callable[[int, int], float]  # (step, steps of the whole budget) -> multiplier of the base rates

tasks: Registry[Callable[..., Task[Any]]] = Registry("task", "trainwright.tasks")
models: Registry[Callable[..., nn.Module]] = Registry("model", "trainwright.models")
losses: Registry[Callable[..., Criterion]] = Registry("loss", "trainwright.optim")
optimizers: Registry[Callable[..., Optimizer]] = Registry("optimizer", "trainwright.optim")
schedules: Registry[Callable[..., Schedule]] = Registry("schedule", "trainwright.optim")
sources: Registry[Callable[..., Any]] = Registry("source", "trainwright.data")

KINDS: Mapping[str, Registry[Any]] = {r.kind: r for r in (tasks, models, losses, optimizers, schedules, sources)}
