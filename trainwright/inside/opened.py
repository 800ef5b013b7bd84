"""A run that is looked into: its network, its data and the state of its checkpoints, on the CPU, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from trainwright.core.errors import UserError
from trainwright.core.kinds import optimizers, schedules, tasks
from trainwright.core.responsive import Responsive
from trainwright.core.task import Task
from trainwright.data.part import Part
from trainwright.engine import checkpoint
from trainwright.engine.multiplier import multiplier
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import Counters, TrainState, Weights
from trainwright.runs.assemble import build_model
from trainwright.runs.begin import freeze, moving
from trainwright.runs.directory import (
    CAPTURES,
    CHECKPOINTS,
    CONFIG,
    EVENTS,
    MANIFEST,
    PROCESSOR,
    owner,
    read_manifest,
    read_view,
)
from trainwright.runs.gathered import Data, gather_data
from trainwright.runs.inspect.taken import Stand
from trainwright.runs.learned import put_back, read_learned
from trainwright.runs.recipe import Recipe, read
from trainwright.runs.stored import stored_config

LARGE = 8_000_000  # weights, above which no update is computed and large tensors are told by summaries
OWN = "this run trained a module of your own ({}), which its files cannot name"
FIRST = 0  # the step of the weights that the run began with


class Opened:
    """A run of a recipe.

    Args:
        folder: of the run.

    Raises UserError where the studio cannot build the network, or may not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        must_hold_no_links(folder)
        self.manifest = read_manifest(folder)
        if self.manifest["kind"] == "own":
            raise UserError(str(folder), OWN.format(self.manifest["model"].get("class", "")))
        if stored_config(folder / CONFIG).get("plugins"):  # before the recipe is read, which would run them
            raise UserError(str(folder), "this run was trained with plugins, programs that the studio does not run")
        self.recipe: Recipe = read(folder)

    @cached_property
    def task(self) -> Task[Any]:
        """With its fitted processor."""
        found: Task[Any] = tasks.make(self.recipe.config.task["name"], self.recipe.task)
        put_back(found.processor, read_learned(self.folder / PROCESSOR))
        return found

    @cached_property
    def data(self) -> Data:
        """The run's records, divided as they were."""
        learned = self.task.processor.state_dict()
        known = self.manifest["data"].get("bad_samples", {}).get("records", [])
        report = partial(_quiet)
        return gather_data(self.recipe, self.task, Runtime(), report, learned, known)

    @property
    def parts(self) -> Mapping[str, Part]:
        """The same, encoded."""
        return self.data.parts

    @property
    def large(self) -> bool:
        """Whether the network is told by summaries."""
        return int(self.manifest["model"].get("parameters", 0)) > LARGE

    def steps(self) -> list[int]:
        """Of the checkpoints there are; 0, the first weights, where they can be made again."""
        kept = checkpoint.steps(self.folder / CHECKPOINTS)
        config = self.recipe.config
        anew = config.init["name"] == "auto" and not config.init_from and not self.large
        return ([FIRST] if anew and FIRST not in kept else []) + kept

    def at(self, step: int) -> Stand:
        """The state after so many steps."""
        config = self.recipe.config
        model = self._built()
        freeze(model, config)
        budget = self.budget
        if self.large:
            self._put(model, step)
            state = TrainState({"model": Weights(model), "counters": Counters()})  # an optimizer loads a compiler first
            model.requires_grad_(False)  # their gradients would be as large as they are
            return Stand(state, 0.0, budget, light=True)
        optimizer = moving(
            model, config.rates, partial(optimizers.make, config.optimizer["name"], self.recipe.optimizer)
        )
        state = TrainState.of(model, optimizer)
        share = 1.0
        if step in checkpoint.steps(self.folder / CHECKPOINTS):
            kept = checkpoint.load(checkpoint.at(self.folder / CHECKPOINTS, step), owner(self.folder))
            for name in ("model", "optimizer", "counters"):
                state.parts[name].load_state_dict(kept[name])
            share = state.counters.share
        schedule = schedules.make(config.schedule["name"], self.recipe.schedule)
        if isinstance(schedule, Responsive) and step:
            schedule.load_state_dict(kept["schedule"])
        return Stand(state, multiplier(schedule, min(step, budget - 1), budget) * share, budget, light=False)

    @cached_property
    def budget(self) -> int:
        """Steps of the whole run, as its last attempt has them."""
        attempts = read_view(self.folder).attempts
        return max(1, attempts[-1].steps) if attempts else 1

    def _built(self) -> nn.Module:
        """The network; a large one without drawing weights that are read anyway."""
        if not self.large:
            return build_model(self.recipe, self.task)
        with _Undrawn():
            return build_model(self.recipe, self.task)

    def _put(self, model: nn.Module, step: int) -> None:
        """The weights as they lie in the file, without a copy; those that are shared stay shared."""
        path = checkpoint.at(self.folder / CHECKPOINTS, step)
        shared: dict[int, list[str]] = {}
        for name, weight in model.named_parameters(remove_duplicate=False):
            shared.setdefault(id(weight), []).append(name)
        model.load_state_dict(checkpoint.load_part(path, "model", owner(self.folder)), assign=True)
        for first, *others in shared.values():
            for other in others:
                holder, _, leaf = other.rpartition(".")
                setattr(model.get_submodule(holder), leaf, model.get_parameter(first))


class _Undrawn(TorchFunctionMode):
    """Leaves first weights undrawn: they are read from a file anyway."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what is asked, but draw nothing."""
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or func.__name__ in ("normal_", "uniform_"):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def must_hold_no_links(folder: Path) -> None:
    """UserError where a file of the run is a link: it would show what lies elsewhere."""
    kept = folder / CHECKPOINTS
    files = [folder / name for name in (CONFIG, MANIFEST, PROCESSOR, EVENTS, CHECKPOINTS, CAPTURES)]
    files += [*kept.glob("*"), *kept.glob("*/*")] if not kept.is_symlink() else []
    files += list((folder / CAPTURES).glob("*"))
    if links := [p for p in files if p.is_symlink()]:
        raise UserError(str(links[0]), "is a link, which is not followed", "put the file itself in its place")


def _quiet(what: str, done: int, total: int) -> None:
    """Nobody waits for this report."""
