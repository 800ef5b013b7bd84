"""What a call of `tw.fit` was given, made into the pieces of a run: once, and again with settings changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainwright.core.config import RunConfig, patched, read_recipe, split_spec
from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.kinds import optimizers
from trainwright.core.registry import failed
from trainwright.core.schema import check
from trainwright.core.task import Task
from trainwright.data.reach import kept
from trainwright.engine.parts import StatePart
from trainwright.engine.runtime import Runtime
from trainwright.engine.step import StepFn
from trainwright.runs.assemble import Pieces, take_step, try_first, try_metrics
from trainwright.runs.attempt import Attempt
from trainwright.runs.begin import freeze as freeze_weights
from trainwright.runs.begin import learnable, moving
from trainwright.runs.changed import changed
from trainwright.runs.decided import over
from trainwright.runs.gathered import Report
from trainwright.runs.initial import InitSpec, begin, rule_of, take
from trainwright.runs.keras import original
from trainwright.runs.measures import is_own, metrics_of
from trainwright.runs.mended import learn, mend
from trainwright.runs.mine import own_parts
from trainwright.runs.own import Asked, array_pieces, foreign_pieces
from trainwright.runs.planning import follow, plan
from trainwright.runs.private import safe
from trainwright.runs.recipe import plain
from trainwright.runs.recorded import rewrite
from trainwright.runs.run import Run
from trainwright.runs.scheduling import ScheduleSpec, schedule_of
from trainwright.runs.workshop import Workshop

_ALL = ("optimizer_of_all", "learn_all")  # repairs after which the optimizer knows all weights


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments, checked; ``config`` is what of them a file can say."""

    config: RunConfig
    runtime: Runtime
    model: nn.Module
    data: Any
    loss: Any
    valid: Any
    test: Any
    optimizer: Any
    schedule: ScheduleSpec
    init: InitSpec | None
    measured: Mapping[str, Any]
    step_fn: StepFn
    parts: Mapping[str, StatePart] | None
    unpack: Callable[[Any], tuple[Any, Any]] | None
    workers: int
    report: Report
    learned: Mapping[str, Any] | None  # the processor's state of an earlier attempt


class OfCall(Workshop):
    """A run of a module of the caller's own.

    Args:
        call: what was given.
        keys: dotted keys that are set beside it.
        heals: keep what is needed to make it again: the module as it is, and the optimizer over it.
    """

    def __init__(self, call: Call, keys: Mapping[str, Any] | None = None, heals: bool = False) -> None:
        super().__init__(keys or {})
        self.call = call
        self._origin: nn.Module | None = None
        self._optimizer: Optimizer | None = None
        self._first: Pieces | None = None
        if heals or self.keys:
            self._remember()

    def _remember(self) -> None:
        try:
            self._origin = copy.deepcopy(self.call.model)
            if isinstance(self.call.optimizer, Optimizer):
                self._optimizer = _over(self.call.optimizer, self.call.model, self._origin)
        except Exception as error:
            what = f"cannot be copied, so nothing can be tried on a copy of it ({type(error).__name__}: {error})"
            raise UserError("model", what, 'write doctor = "advise"') from error

    @property
    def config(self) -> RunConfig:
        """As it is now."""
        return self._config(self.keys)

    @property
    def loss(self) -> Any:
        """The caller's, or the one that was put in its place."""
        return self._loss(self.config)

    def first(self, *, fresh: bool) -> Pieces:
        """The pieces over the caller's own module.

        Args:
            fresh: its first weights are what it begins with, not those of a checkpoint.
        """
        if self.keys:
            return self._over_mine(fresh)
        pieces = self._pieces(self.config, self.call.model, self.call.optimizer, fresh)
        if fresh:
            plan(pieces)
        else:
            follow(pieces, self.call.config.pace)
        self._first = pieces
        return pieces

    def build(self, keys: Mapping[str, Any], *, seed: int | None = None) -> Pieces:
        """For a branch, over a copy of the module."""
        config = self._config(over(self.keys, keys))
        config = config if seed is None else config.model_copy(update={"seed": seed})
        with ExitStack() as held:
            if is_foreign(self.call.data):
                held.enter_context(kept(self.call.data))
            model, optimizer = self._copied(config)
            pieces = self._pieces(config, model, optimizer, True)
            after, close = held.pop_all(), pieces.close

        def closed() -> None:
            close()
            after.close()

        pieces.close = closed
        return pieces

    def again(self, a: Attempt, keys: Mapping[str, Any], *, resumed: bool) -> Attempt:
        """The next attempt, over the caller's own module."""
        self.keys = dict(keys)
        pieces = self._over_mine(not resumed)
        said = reopening(pieces.task, self.loss)
        before, now = Run(a.folder).config, written_config(pieces.config, said, self.call.model)
        attempts = Run(a.folder).manifest["attempts"]
        return Attempt(
            pieces=pieces,
            folder=a.folder,
            config=lambda steps: rewrite(a.folder, now, len(attempts)),
            facts={
                "kind": "own",
                "attempts": [*attempts, {}],
                "supervised": said,
                "own": own_parts(self.config, said),
            },
            observers=a.observers,
            console=a.console,
            resumed=resumed,
            anew=not resumed,
            changed=changed(before, now),
            treats=a.treats,
            captures=a.captures,
        )

    def _over_mine(self, fresh: bool) -> Pieces:
        """What a copy became is put into the caller's module, so that theirs is the one that learns."""
        model, optimizer = self._copied(self.config)
        self.call.model.__dict__ = model.__dict__
        pieces = self._pieces(self.config, self.call.model, optimizer, fresh)
        self._first = self._first or pieces
        return pieces

    def _config(self, keys: Mapping[str, Any]) -> RunConfig:
        if not keys:
            return self.call.config
        return read_recipe(patched(self.call.config.model_dump(), keys))

    def _loss(self, config: RunConfig) -> Any:
        return config.task.get("loss", self.call.loss)

    def _copied(self, config: RunConfig) -> tuple[nn.Module, Any]:
        """A copy of the module as it was given, repaired; and what makes its optimizer."""
        assert self._origin is not None
        model = copy.deepcopy(self._origin)
        given: Any = self.call.optimizer
        named = config.optimizer["name"] != "own"
        if named:
            given = config.optimizer
        elif self._optimizer is not None:
            given = _over(self._optimizer, self._origin, model)
        mend(model, config)
        if isinstance(given, Optimizer):
            _knows(given, model, self._origin, any(r["name"] in _ALL for r in config.repairs))
            _at(given, config.optimizer)
        elif not named and "lr" in config.optimizer:
            given = _slower(given, config.optimizer)
        return model, given

    def _pieces(self, config: RunConfig, model: nn.Module, optimizer: Any, fresh: bool) -> Pieces:
        call, runtime = self.call, self.call.runtime
        freeze_weights(model, config)
        placed = runtime.place(model, again=config.recompute)
        chosen = optimizer_of(optimizer, runtime.ranks.bare(placed), config)
        by_name = config.schedule["name"] != "own"
        pacing = schedule_of(config.schedule if by_name else call.schedule, chosen)
        loss = self._loss(config)
        same = self._first is not None and "loss" not in config.task
        asked = Asked(
            config, runtime, placed, chosen, pacing, loss, call.valid, call.test, call.report, call.learned,
            call.config.seed, self._first if same else None,
        )  # fmt: skip
        data = _as_classes(call.data) if loss == "cross_entropy" and "loss" in config.task else call.data
        if is_foreign(data):
            pieces = foreign_pieces(data, asked, unpack=call.unpack, workers=call.workers)
        else:
            pieces = array_pieces(data, asked)
        take_step(pieces, call.step_fn, call.parts)
        pieces.more = metrics_of(call.measured, pieces.task)
        try_first(pieces)
        if any(map(is_own, call.measured.values())):
            try_metrics(pieces)
        begin(pieces, *rule_of(call.init if config.init == call.config.init else config.init))
        if fresh:
            take(pieces)
            learn(pieces)
        if self._first is not None or self.keys:
            follow(pieces, self._first.config.pace if self._first is not None else self.call.config.pace)
        return pieces


def _over(optimizer: Optimizer, old: nn.Module, new: nn.Module) -> Optimizer:
    """The same optimizer over another copy of the module."""
    memo: dict[int, Any] = {id(p): q for p, q in zip(old.parameters(), new.parameters(), strict=True)}
    return copy.deepcopy(optimizer, memo)


def _knows(optimizer: Optimizer, model: nn.Module, origin: nn.Module, every: bool) -> None:
    """Takes weights that the repaired module has not any more, and gives those that are new, or all that learn."""
    there = set(map(id, model.parameters()))
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if id(p) in there]
    known = {id(p) for g in optimizer.param_groups for p in g["params"]}
    names = {name: tuple(p.shape) for name, p in origin.named_parameters()}
    for name, weight in model.named_parameters():
        new = names.get(name) != tuple(weight.shape)
        if id(weight) not in known and weight.requires_grad and (every or new):
            optimizer.param_groups[0]["params"].append(weight)


def _at(optimizer: Optimizer, spec: Mapping[str, Any]) -> None:
    """The rate and the decay that were set anew; rates of groups keep their proportion."""
    first = float(optimizer.param_groups[0]["lr"])
    for group in optimizer.param_groups:
        if "lr" in spec:
            group["lr"] = spec["lr"] * (float(group["lr"]) / first if first else 1.0)
        if "weight_decay" in spec and "weight_decay" in group:
            group["weight_decay"] = spec["weight_decay"]


def _slower(make: Callable[..., Optimizer], spec: Mapping[str, Any]) -> Callable[..., Optimizer]:
    """What makes the optimizer, with another rate."""

    def made(weights: Any) -> Optimizer:
        optimizer = make(weights)
        _at(optimizer, spec)
        return optimizer

    return made


def _as_classes(data: Any) -> Any:
    """Targets that are class numbers written as numbers, as whole numbers; data of another kind as it is."""
    if not isinstance(data, tuple) or len(data) != 2 or not isinstance(data[1], Tensor | np.ndarray):
        return data
    y = torch.as_tensor(data[1])
    if not y.is_floating_point() or (y.ndim > 1 and y.numel() != len(y)) or not bool((y == y.round()).all()):
        return data
    return data[0], y.reshape(-1).long()


def optimizer_of(given: Any, model: nn.Module, config: RunConfig) -> Optimizer:
    """Over the weights that learn: the caller's own, or one by name or by the caller's function."""
    weights = learnable(model)
    if isinstance(given, Optimizer):
        if config.rates:
            raise UserError("rates", "the optimizer has groups of its own", "leave rates out, or name the optimizer")
        mine = {id(p) for p in weights}
        if any(id(p) not in mine for g in given.param_groups for p in g["params"]):
            raise UserError("optimizer", "moves weights that are not the model's", "make it of model.parameters()")
        return given
    if isinstance(given, str | Mapping):
        name, options = split_spec(config.optimizer, "optimizer")
        return moving(
            model, config.rates, partial(optimizers.make, name, check(optimizers[name], options, "optimizer"))
        )
    return moving(model, config.rates, partial(_made, given))


def _made(given: Callable[..., Any], weights: Any) -> Optimizer:
    """What the caller's function makes of the weights."""
    try:
        made = given(weights)
    except TrainwrightError:
        raise
    except Exception as error:
        raise failed("optimizer", error) from error
    if not isinstance(made, Optimizer):
        raise UserError("optimizer", f"made a {type(made).__name__}", "return a torch.optim.Optimizer")
    closure = signature(made.step).parameters.get("closure")
    if closure is not None and closure.default is Parameter.empty:
        what = f"{type(made).__name__} computes the loss several times in a step"
        raise UserError("optimizer", what, "choose another, or bring a step of your own: docs/howto/own-step.md")
    return made


def is_foreign(data: Any) -> bool:
    """Whether batches come from code of the user's: DataLoaders, Datasets, other iterables of batches."""
    if isinstance(data, DataLoader | Dataset | IterableDataset):
        return True
    if isinstance(data, list) and data and all(isinstance(batch, tuple | Mapping) for batch in data):
        return all(
            isinstance(b, Tensor) for batch in data for b in (batch.values() if isinstance(batch, Mapping) else batch)
        )
    plain_data = isinstance(data, Tensor | tuple | list | Mapping) or type(data).__module__.split(".")[0] == "numpy"
    return isinstance(data, Iterable) and not plain_data


def written_config(config: RunConfig, again: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """config.toml of a run whose module, and perhaps data and loss, no file can name."""
    values = config.model_dump()
    values["model"] = {"name": "own", "class": type(original(model)).__name__}
    values["task"] = {"name": "supervised", **again}
    written: dict[str, Any] = plain(values)
    return safe(written)


def reopening(task: Task[Any], loss: Any) -> dict[str, Any]:
    """The options that make the task again when the run is opened; a loss that is the user's own has no name."""
    shape = {"inputs": list(task.inputs), "targets": list(task.targets), "call": task.call}  # type: ignore[attr-defined]
    return {"loss": named_loss(loss), **shape}


def named_loss(loss: Any) -> str | dict[str, Any] | None:
    """A loss as a file can say it; None for code."""
    return loss if isinstance(loss, str) else dict(loss) if isinstance(loss, Mapping) else None
