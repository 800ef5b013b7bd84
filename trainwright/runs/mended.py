"""The repairs that a configuration names, made on a model before its first step, and once more where it is reopened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainwright.core.config import RunConfig, split_spec
from trainwright.core.kinds import repairs
from trainwright.core.repair import Repair
from trainwright.core.schema import check
from trainwright.core.task import Progress

if TYPE_CHECKING:
    from trainwright.runs.assemble import Pieces

_SAMPLES = 1024  # that pass through the model
_DONE = "_repairs_made"  # attribute of a model: how many, so that none is made twice
_TARGETS = 4096  # that are read


def repairs_of(config: RunConfig | Mapping[str, Any]) -> list[Repair]:
    """Those that a configuration names, in their order."""
    specs = config.repairs if isinstance(config, RunConfig) else config.get("repairs", [])
    named = [split_spec(spec, "repairs") for spec in specs]
    return [repairs.make(name, check(repairs[name], given, f"repairs.{name}")) for name, given in named]


def mend(model: nn.Module, config: RunConfig | Mapping[str, Any]) -> nn.Module:
    """Change the model in place; what the changes measure must be learned, or come out of a checkpoint."""
    done = model.__dict__.get(_DONE, 0)
    chosen = repairs_of(config)
    for repair in chosen[done:]:
        repair.change(model)
    if chosen:
        model.__dict__[_DONE] = len(chosen)
    return model


def learn(pieces: Pieces) -> None:
    """What the repairs measure on training samples, once, before the first step; randomness and modes stay."""
    chosen = repairs_of(pieces.config)
    if not chosen:
        return
    model = pieces.runtime.ranks.bare(pieces.state.model)
    with pieces.state.aside():
        target = _targets(pieces)
    for repair in chosen:
        modes = {m: m.training for m in model.modules()}
        model.eval()
        repair.learn(model, lambda: _run(pieces), target)
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def _run(pieces: Pieces) -> None:
    batch = pieces.runtime.take(pieces.some(_SAMPLES))
    with pieces.runtime.autocast():
        pieces.task.loss(pieces.runtime.ranks.bare(pieces.state.model), batch, Progress())


def _targets(pieces: Pieces) -> Tensor | None:
    targets = list(pieces.some(_TARGETS).targets.values())
    return targets[0] if len(targets) == 1 else None
