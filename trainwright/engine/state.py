"""Everything that changes while training. Nothing else does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.errors import CheckpointError, UserError, did_you_mean
from trainwright.core.responsive import Responsive
from trainwright.engine.average import Average
from trainwright.engine.before import Buffers, buffers_kept
from trainwright.engine.flat import Flat
from trainwright.engine.frozen import Frozen
from trainwright.engine.moments import Moments
from trainwright.engine.randomness import Randomness, randomness_kept
from trainwright.engine.ranks import Single
from trainwright.engine.runtime import Runtime
from trainwright.engine.scale import LossScale


class Stateful(Protocol):
    """One part of the state. Its state_dict holds tensors, JSON values, and mappings and lists of them."""

    def state_dict(self) -> Mapping[str, Any]:
        """Everything that changes."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """The inverse of `state_dict`."""
        ...


@dataclass(slots=True)
class Counters:
    """How far the training is."""

    step: int = 0
    epoch: int = 0
    samples: int = 0
    skipped: int = 0  # steps not taken, because loss or gradient was not finite; those a loss scale cures left out
    in_a_row: int = 0  # the latest steps not taken, those a loss scale cures among them
    streak: int = 0  # the latest steps that were skipped, without one in between that was not
    rollbacks: int = 0  # how often the run went back to an earlier state
    back: int = 0  # the step it last went back to
    micro: int = 0  # samples computed at once since memory ran out; 0 is as the recipe asks
    asked: int = 0  # what the recipe asked for then; 0 is all
    halvings: int = 0  # of what is computed at once
    home: int = 0  # the step of the newest checkpoint that the recipe asked for and that follows a step that was taken
    share: float = 1.0  # of the rates that schedule and recipe say, since it went back

    def state_dict(self) -> dict[str, Any]:
        """Thirteen numbers."""
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        fresh = Counters()
        for name in self.__slots__:
            setattr(self, name, type(getattr(fresh, name))(state[name]))


@dataclass(slots=True)
class Best:
    """The best evaluation so far: by the monitor, and among equals by the loss; and how long ago that was."""

    value: float | None = None
    loss: float = math.inf
    step: int = 0  # 0 is none: nothing was evaluated yet, or nothing that is a number
    mark: float | None = None  # what the next evaluation has to beat by some change for the wait to end
    waited: int = 0  # evaluations since the mark was set

    def improves(self, value: float, loss: float, better: str) -> bool:
        """Whether an evaluation beats the best; a monitor that is not finite never does, nor one whose loss is NaN."""
        if not math.isfinite(value) or math.isnan(loss):
            return False
        if self.value is None or value == self.value:
            return self.value is None or loss < self.loss
        return value > self.value if better == "higher" else value < self.value

    def wait(self, value: float, better: str, change: float, best: bool) -> int:
        """Evaluations since one beat all before it by more than ``change``; NaN never does.

        Without a change asked for, whatever is the new best does, also by its loss among equals.
        """
        gain = math.inf if self.mark is None else (value - self.mark) * (1 if better == "higher" else -1)
        if best and (change == 0 or gain > change):
            self.mark, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited

    def state_dict(self) -> dict[str, Any]:
        """Five numbers."""
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.value, self.loss, self.step = state["value"], float(state["loss"]), int(state["step"])
        self.mark, self.waited = state["mark"], int(state["waited"])


class Weights:
    """A module as a part of the state: whole tensors under the names its author gave, whatever wraps it."""

    def __init__(self, module: nn.Module, ranks: Single | None = None) -> None:
        self.module, self.ranks = module, ranks or Single()

    def state_dict(self) -> dict[str, Any]:
        """Name -> whole tensor, or within `Ranks.apart` this rank's share of one; every rank must call it."""
        state = self.ranks.bare(self.module).state_dict()
        return {name: self.ranks.kept(x) if isinstance(x, Tensor) else x for name, x in state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse; RuntimeError of torch names missing keys and shapes that differ."""
        bare = self.ranks.bare(self.module)
        now = bare.state_dict()
        bare.load_state_dict({k: self.ranks.like(v, now[k]) if k in now else v for k, v in state.items()})


class TrainState:
    """An open mapping of names to parts; its parts ARE the checkpoint.

    ``model``, ``optimizer``, ``loader``, ``counters``, ``best`` and ``random`` are always there; a run adds what else
    changes: a scaler, averaged weights, a second optimizer, a teacher.

    Args:
        parts: by name; each can give and take back its state.
    """

    def __init__(self, parts: Mapping[str, Stateful]) -> None:
        self.parts: dict[str, Stateful] = dict(parts)
        self.frozen: Frozen | None = None  # which weights rest; a part of the configuration, so it is not saved
        self.moves = 0  # of any optimizer, since the process began
        self.short = False  # memory ran out in the last step, which has left no trace
        self._buffers: tuple[int, Buffers] | None = None
        self._flat: dict[nn.Module, Flat] = {}

    @classmethod
    def of(cls, model: nn.Module, optimizer: Optimizer, runtime: Runtime | None = None) -> TrainState:
        """The smallest state, for a loop of one's own around `train_step`; rates in the optimizer become base rates."""
        runtime = runtime or Runtime()
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        state = cls(
            {
                "model": Weights(model, runtime.ranks),
                "optimizer": Moments(optimizer, model, runtime.ranks),
                "counters": Counters(),
                "best": Best(),
                "random": Randomness(runtime),
            }
        )
        if runtime.precision == "float16":
            state.parts["scaler"] = LossScale()
        return state

    @property
    def model(self) -> nn.Module:
        """The model as the step calls it."""
        part = self.parts["model"]
        assert isinstance(part, Weights)
        return part.module

    @property
    def optimizer(self) -> Optimizer:
        """The first optimizer."""
        part = self.parts["optimizer"]
        assert isinstance(part, Moments)
        return part.optimizer

    def module(self, name: str) -> nn.Module:
        """The module that is the part ``name``, such as a critic or a teacher; UserError where there is none."""
        part = self.parts.get(name)
        if not isinstance(part, Weights):
            known = [n for n, p in self.parts.items() if isinstance(p, Weights)]
            raise UserError("parts", f"no part '{name}' is a module", did_you_mean(name, known))
        return part.module

    def mover(self, name: str) -> Optimizer:
        """The optimizer that is the part ``name``; UserError where there is none."""
        part = self.parts.get(name)
        if not isinstance(part, Moments):
            known = [n for n, p in self.parts.items() if isinstance(p, Moments)]
            raise UserError("parts", f"no part '{name}' is an optimizer", did_you_mean(name, known))
        return part.optimizer

    @property
    def buffers(self) -> Buffers:
        """Those of every module that is a part, to be kept before a step and put back if it is not taken."""
        if self._buffers is None or self._buffers[0] != len(self.parts):
            self._buffers = len(self.parts), Buffers(p.module for p in self.parts.values() if isinstance(p, Weights))
        return self._buffers[1]

    def buffers_kept(self) -> Callable[[], None]:
        """What puts the buffers of every module back as they are now, also those that no checkpoint holds."""
        return buffers_kept(p.module for p in self.parts.values() if isinstance(p, Weights))

    def flat(self, module: nn.Module) -> Flat:
        """The weights of a module of the state, at hand."""
        if module not in self._flat:
            self._flat[module] = Flat(module)
        return self._flat[module]

    @property
    def counters(self) -> Counters:
        """How far the training is."""
        part = self.parts["counters"]
        assert isinstance(part, Counters)
        return part

    @property
    def best(self) -> Best:
        """The best evaluation so far."""
        part = self.parts["best"]
        assert isinstance(part, Best)
        return part

    @property
    def random(self) -> Randomness:
        """The global generators."""
        part = self.parts["random"]
        assert isinstance(part, Randomness)
        return part

    @property
    def scaler(self) -> LossScale | None:
        """The loss scale of float16."""
        part = self.parts.get("scaler")
        assert part is None or isinstance(part, LossScale)
        return part

    @property
    def ema(self) -> Average | None:
        """The running average of the weights."""
        part = self.parts.get("ema")
        assert part is None or isinstance(part, Average)
        return part

    @property
    def responsive(self) -> Responsive | None:
        """The schedule, where it answers to evaluations."""
        part = self.parts.get("schedule")
        return part if isinstance(part, Responsive) else None

    @contextmanager
    def served(self) -> Iterator[None]:
        """The model holds the weights that are judged and served: the average, where there is one."""
        with nullcontext() if self.ema is None else self.ema.applied():
            yield

    def state_dict(self) -> dict[str, Mapping[str, Any]]:
        """Every part's state; every rank must call it."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """All parts or none: CheckpointError where a part is missing or unknown."""
        if differing := self.parts.keys() ^ state.keys():
            missing = ", ".join(sorted(differing))
            raise CheckpointError(f"checkpoint and run do not have the same parts of the state: {missing}")
        for name, part in self.parts.items():
            try:
                part.load_state_dict(state[name])
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
                why = " ".join(str(error).split())
                raise CheckpointError(f"the checkpoint's '{name}' does not fit this run: {why[:300]}") from error

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Evaluate, sample or probe without leaving a trace: randomness, buffers and modes are put back."""
        device = self.random.runtime.device
        modes = {m: m.training for m in self.model.modules()}
        back = buffers_kept([self.model])
        try:
            with randomness_kept(device):
                yield
        finally:
            back()
            for module, training in modes.items():
                module.training = training
