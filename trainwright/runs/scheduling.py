"""A schedule as `tw.fit` takes it: a name, a spec, a function of (step, steps), or one of torch's schedulers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, final

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from trainwright.core.config import split_spec
from trainwright.core.errors import UserError
from trainwright.core.kinds import Schedule, schedules
from trainwright.core.schema import check

ScheduleSpec: TypeAlias = str | Mapping[str, Any] | Schedule | Callable[[Optimizer], LRScheduler]


def schedule_of(given: ScheduleSpec, optimizer: Optimizer) -> Schedule:
    """Multipliers of the base rates by step.

    Args:
        given: a name; a spec; a function (step, steps) -> multiplier; or a function (optimizer) -> LRScheduler.
        optimizer: whose base rates one of torch's schedulers begins with. It is not changed.
    """
    if isinstance(given, str | Mapping):
        name, options = split_spec({"name": given} if isinstance(given, str) else given, "schedule")
        made: Schedule = schedules.make(name, check(schedules[name], options, "schedule"))
        return made
    if isinstance(given, LRScheduler):
        name = type(given).__name__
        what = f"this {name} steps an optimizer by itself"
        raise UserError("schedule", what, f"give a function that makes it: lambda optimizer: {name}(optimizer, …)")
    if not callable(given):
        what = f"{given!r} is no schedule"
        raise UserError("schedule", what, "give a name such as 'cosine', or a function (step, steps) -> multiplier")
    if _takes(given) == 1:
        return Theirs(given, optimizer)  # type: ignore[arg-type]
    return given  # type: ignore[return-value]


def written(given: ScheduleSpec) -> dict[str, Any]:
    """The same as config.toml has it."""
    if isinstance(given, str):
        return {"name": given}
    return dict(given) if isinstance(given, Mapping) else {"name": "own"}


@final
class Theirs:
    """A scheduler of torch's as a function of the step: it moves a stand-in, and its rates are remembered.

    Only the rate is followed; a scheduler that changes the momentum as well does so in vain.
    """

    def __init__(self, make: Callable[[Optimizer], LRScheduler], optimizer: Optimizer) -> None:
        self._base = [float(g.get("initial_lr", g["lr"])) for g in optimizer.param_groups]
        groups = [{"params": [nn.Parameter(torch.zeros(()))], "lr": lr} for lr in self._base]
        self._stand_in = torch.optim.SGD(groups, momentum=0.9)
        self._scheduler = make(self._stand_in)
        if isinstance(self._scheduler, ReduceLROnPlateau):
            raise UserError("schedule", "ReduceLROnPlateau waits for evaluations", "write schedule='plateau'")
        if not isinstance(self._scheduler, LRScheduler):
            what = f"made a {type(self._scheduler).__name__} of the optimizer"
            raise UserError("schedule", what, "return one of torch's schedulers, or give a function (step, steps)")
        self._known: list[float] = []

    def __call__(self, step: int, steps: int) -> float:
        """The multiplier at ``step``."""
        while len(self._known) <= step:
            if self._known:
                self._stand_in.step()
                self._scheduler.step()
            self._known.append(self._now())
        return self._known[step]

    def _now(self) -> float:
        shares = [g["lr"] / lr if lr else 1.0 for g, lr in zip(self._stand_in.param_groups, self._base, strict=True)]
        if not all(math.isclose(share, shares[0], rel_tol=1e-9) for share in shares):
            what = f"{type(self._scheduler).__name__} moves the groups of weights apart"
            raise UserError("schedule", what, "give each group its base rate (rates=…), and all one schedule")
        return float(shares[0])


def _takes(function: Callable[..., Any]) -> int:
    """How many arguments a function must be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        return 2
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in plain if p.default is p.empty]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or len(needed) == 2 or len(plain) < 1:
        return 2
    if isinstance(function, type) and issubclass(function, LRScheduler):
        return 1
    return max(1, len(needed))
