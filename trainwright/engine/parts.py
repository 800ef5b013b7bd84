"""What changes beside the model: further modules and optimizers as parts of the state, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import nn
from torch.optim import Optimizer

from trainwright.core.errors import UserError
from trainwright.engine.moments import Moments
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import Stateful, TrainState, Weights

StatePart: TypeAlias = nn.Module | Optimizer | Stateful

_OURS = ("model", "optimizer", "loader", "counters", "best", "random", "scaler", "schedule", "ema")


def add_parts(state: TrainState, parts: Mapping[str, StatePart], runtime: Runtime) -> None:
    """Modules are placed like the model, optimizers keyed by the names of the weights they move; all are saved.

    Anything else must have ``state_dict`` and ``load_state_dict`` of plain values and tensors. UserError for a name
    that is taken or no name, and for an optimizer of weights that no module here has.
    """
    for name, part in parts.items():
        _must_be_named(name, state)
        if isinstance(part, nn.Module):
            state.parts[name] = Weights(_placed(part, name, runtime), runtime.ranks)
    for name, part in parts.items():
        if isinstance(part, Optimizer):
            for group in part.param_groups:
                group.setdefault("initial_lr", group["lr"])
            state.parts[name] = Moments(part, _owner(state, part, name, runtime), runtime.ranks)
        elif not isinstance(part, nn.Module):
            state.parts[name] = _stateful(part, name)


def _must_be_named(name: str, state: TrainState) -> None:
    if name in _OURS or name in state.parts:
        raise UserError(f"parts.{name}", "is the name of a part that every run has", "choose another name")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError("parts", f"{name!r} is no name of a part", "write lower-case letters, digits and _")


def _placed(module: nn.Module, name: str, runtime: Runtime) -> nn.Module:
    """On the device, in the precision; wrapped for the ranks where it learns."""
    if not any(p.requires_grad for p in module.parameters()):
        return module.to(runtime.device, runtime.dtype)
    if runtime.ranks.mode == "fsdp":
        raise UserError(f"parts.{name}", "learns, and cannot be sharded beside the model", 'write parallel = "ddp"')
    return runtime.place(module)


def _owner(state: TrainState, optimizer: Optimizer, name: str, runtime: Runtime) -> nn.Module:
    """The module whose weights an optimizer moves."""
    moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for part in state.parts.values():
        if isinstance(part, Weights) and moved <= {id(p) for p in runtime.ranks.bare(part.module).parameters()}:
            return part.module
    what = "moves weights that are not all of one module"
    raise UserError(f"parts.{name}", what, "give the module as a part too, and each module its own optimizer")


def _stateful(part: Any, name: str) -> Stateful:
    for method in ("state_dict", "load_state_dict"):
        if not callable(getattr(part, method, None)):
            what = f"is a {type(part).__name__} without {method}()"
            raise UserError(f"parts.{name}", what, "give a module, an optimizer, or what can be saved and loaded")
    kept: Stateful = part
    return kept
