"""The composition root: the one place where names become objects and objects meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from trainwright.core.batch import Batch, seed_of
from trainwright.core.config import Budget, RunConfig
from trainwright.core.errors import TrainwrightError, UserError, did_you_mean
from trainwright.core.finding import Finding
from trainwright.core.kinds import Schedule, models, optimizers, schedules, steps, tasks
from trainwright.core.model import Noted
from trainwright.core.registry import failed
from trainwright.core.responsive import Responsive, Unchanging
from trainwright.core.rows import Encoded, Rows
from trainwright.core.schema import options, required
from trainwright.core.task import Metric, Progress, Task
from trainwright.data.bad import Bad
from trainwright.data.loader import Loader, batches
from trainwright.data.part import Part
from trainwright.engine.average import Average
from trainwright.engine.evaluate import evaluate
from trainwright.engine.loop import Groups
from trainwright.engine.memory import ran_out
from trainwright.engine.multiplier import look_ahead
from trainwright.engine.parts import StatePart, add_parts
from trainwright.engine.randomness import randomness_kept
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import StepFn, WholeStep, train_step
from trainwright.runs.begin import freeze, moving, resting
from trainwright.runs.gathered import Data, Report, gather_data
from trainwright.runs.measures import by_name, fitting_names
from trainwright.runs.mended import mend
from trainwright.runs.recipe import Recipe
from trainwright.runs.summary import layers_of, watched

PARTS = ("train", "valid", "test")
_TRIED = 8  # samples; more than one for batch norm's sake


@dataclass(slots=True)
class Pieces:
    """Everything one attempt needs, assembled."""

    config: RunConfig
    runtime: Runtime
    task: Task[Any]
    state: TrainState
    groups: Groups
    schedule: Schedule
    evaluations: Mapping[str, Callable[[], Iterable[Batch]]]  # by part
    first: Callable[[], Batch]  # a few training samples, to try the model on
    some: Callable[[int], Batch]  # so many training samples, or as many as are at hand, without augmentation
    unpacked: bool = False  # samples are decoded each time they are asked for
    encoded: Mapping[str, Encoded] = field(default_factory=dict)  # by part, where baselines can be fitted
    facts: dict[str, Any] = field(default_factory=dict)  # of the data, for the manifest
    layers: list[dict[str, Any]] = field(default_factory=list)  # of the model and what they give, once it was tried
    findings: list[Finding] = field(default_factory=list)
    bad: Mapping[str, Sequence[Bad]] = field(default_factory=dict)  # samples that are passed over, by part
    close: Callable[[], None] = lambda: None
    place: Callable[[int], str] = lambda record: f"record {record}"  # of a training record, for messages
    step: StepFn = train_step
    more: Mapping[str, Metric] = field(default_factory=dict)  # metrics beside the task's own
    pace: list[str] = field(default_factory=list)  # what was found about how to run, a line each
    data: Data | None = None  # what they were made of, where it can be shared

    @property
    def metrics(self) -> dict[str, Metric]:
        """Whatever is measured, by name."""
        return {**self.task.metrics(), **self.more}

    def monitor(self) -> tuple[str, str]:
        """What decides which weights are best, and whether "higher" or "lower" is; UserError where it is not there."""
        asked, known = self.config.monitor, {n: m.better for n, m in self.metrics.items() if m.when == "each"}
        name = self.task.monitor if asked == "auto" else asked
        if name not in known and name != "loss":
            told = f"'{name}' is not measured at each evaluation"
            more = f', or measure it as well: metrics = ["{name}"]' if name in fitting_names(self.task) else ""
            raise UserError("monitor", told, f"choose one of: {', '.join(['loss', *known])}{more}")
        return name, known.get(name, "lower")

    @property
    def per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return self.groups.steps_per_epoch


@contextmanager
def closed_where_it_fails(pieces: Pieces) -> Iterator[None]:
    """What fails in the block, before an attempt begins, which closes them, leaves nothing as the plan has it."""
    try:
        yield
    except BaseException:
        pieces.close()
        raise


def assemble(
    recipe: Recipe,
    runtime: Runtime,
    report: Report,
    learned: Mapping[str, Any] | None = None,
    known: Sequence[int] | None = None,
    like: Pieces | None = None,
) -> Pieces:
    """Names become objects: the whole of a recipe, ready for its first step.

    Args:
        recipe: what is trained.
        runtime: device, precision, ranks.
        report: is told how far reading and encoding are.
        learned: the processor's state of an earlier attempt.
        known: records that are passed over.
        like: pieces whose task and data these share; both must be as in this recipe.
    """
    config = recipe.config
    if like is not None and like.data is not None:
        task, data = like.task, like.data
    else:
        task = tasks.make(config.task["name"], recipe.task)
        data = gather_data(recipe, task, runtime, report, learned, known)
    built = build_model(recipe, task)
    freeze(built, config)
    model = runtime.place(built, again=config.recompute)
    make = partial(optimizers.make, config.optimizer["name"], recipe.optimizer)
    optimizer = moving(runtime.ranks.bare(model), config.rates, make)
    schedule = schedules.make(config.schedule["name"], recipe.schedule)
    pieces = joined(config, runtime, task, data, model, optimizer, schedule)
    pieces.more = by_name(recipe.metrics, task)
    take_step(pieces, steps.make(config.step["name"], recipe.step))
    if models.tags(config.model["name"]).get("speaks") is Noted:
        pieces.facts["notes"] += cast(Noted, built).notes
    return pieces


def joined(
    config: RunConfig,
    runtime: Runtime,
    task: Task[Any],
    data: Data,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: Schedule,
) -> Pieces:
    """A loader over the training part, evaluations over the others, and the state they all move."""
    rank, world, device = runtime.ranks.rank, runtime.ranks.world, runtime.device
    loader = Loader(
        data.parts["train"],
        task.processor,
        batch_size=config.batch_size,
        micro=config.micro_batch,
        seed=config.seed,
        shuffle=config.shuffle,
        rank=rank,
        world=world,
        device=device,
    )

    state = state_of(config, runtime, model, optimizer, schedule, loader)

    def over(name: str) -> Callable[[], Iterable[Batch]]:
        part, samples = data.parts[name], len(data.parts["train"])

        def given() -> Iterable[Batch]:
            size = state.counters.micro or evaluation_size(config, samples)
            return batches(part, task.processor, batch_size=size, rank=rank, world=world, device=device)

        return given

    return Pieces(
        config=config,
        runtime=runtime,
        task=task,
        state=state,
        groups=loader,
        schedule=schedule,
        evaluations={name: over(name) for name in data.parts if name != "train"},
        first=lambda: task.processor.batch(data.parts["train"].rows(0, _TRIED), None),
        some=lambda count: task.processor.batch(spread(data.parts["train"], count), None),
        unpacked=any(c.kind == "bytes" for c in task.processor.columns().values()),
        encoded=data.parts,
        facts={**data.facts(), "resume": "exact", "notes": [*data.notes(), *task.processor.notes()]},
        findings=data.findings,
        bad=data.bad,
        close=loader.close,
        place=data.source.where,
        data=data,
    )


def spread(part: Part, count: int) -> Rows:
    """So many samples of a part, all where there are fewer; which ones is drawn, and always the same."""
    positions = part.positions()
    drawn = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))[:count]
    return part.gather(positions[drawn.sort().values], torch.device("cpu"))


def state_of(
    config: RunConfig, runtime: Runtime, model: nn.Module, optimizer: Optimizer, schedule: Schedule, groups: Groups
) -> TrainState:
    """Everything that changes in a run of this configuration; the groups are a part of it."""
    state = TrainState.of(model, optimizer, runtime)
    state.parts["loader"] = groups
    state.parts["schedule"] = schedule if isinstance(schedule, Responsive) else Unchanging()
    if config.ema != "none":
        state.parts["ema"] = Average(model, config.ema, runtime.ranks)
    state.frozen = resting(runtime.ranks.bare(model), config, groups.steps_per_epoch)
    return state


def take_step(pieces: Pieces, step: StepFn, parts: Mapping[str, StatePart] | None = None) -> None:
    """The step of this run, with the parts of the state that it or the caller brings.

    The usual one is told what is done with gradients beside clipping by norm; one of the user's own does that itself.
    """
    config, runtime = pieces.config, pieces.runtime
    clip_value = None if config.clip_value == "none" else config.clip_value
    add_parts(pieces.state, parts or {}, runtime)
    if step is train_step:
        pieces.step = partial(train_step, clip_value=clip_value, l1=config.l1, l2=config.l2)
        return
    for key, asked in (("clip_value", clip_value), ("l1", config.l1), ("l2", config.l2)):
        if asked:
            raise UserError(key, "is done by the usual step, not by one of your own", "leave it out, or do it there")
    if isinstance(step, WholeStep):
        with randomness_kept(torch.device("cpu")):  # alike on every rank, whatever was drawn before
            torch.manual_seed(seed_of(config.seed, "parts") % 2**63)
            add_parts(pieces.state, step.parts(runtime.ranks.bare(pieces.state.model), pieces.task), runtime)
    pieces.step = _told(step)


def _told(step: StepFn) -> StepFn:
    """A person's own step, whose mistakes are told as such."""

    def guarded(*given: Any, **named: Any) -> Any:
        try:
            return step(*given, **named)
        except (TrainwrightError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise failed("step_fn", error) from error

    return guarded


def try_first(pieces: Pieces) -> None:
    """Compute the loss of a few samples before anything is written; UserError where model and data do not fit.

    Nothing is left of it but what each layer gave: no gradient, no randomness, no buffer. The schedule is tried too.
    """
    pieces.monitor()
    if (amount := Budget.read(pieces.config.budget)).unit != "seconds":
        look_ahead(pieces.schedule, 0, amount.steps(pieces.per_epoch))
    state, runtime = pieces.state, pieces.runtime
    bare = runtime.ranks.bare(state.model)
    if pieces.config.step["name"] == "standard":
        _refuse_sparse(bare)
    with state.aside(), torch.set_grad_enabled(runtime.ranks.world == 1), runtime.autocast():
        state.model.train()  # with its graph, which tells what was cut off from it
        batch = runtime.take(pieces.first())
        try:
            with watched(bare) as given:
                pieces.task.loss(state.model, batch, Progress())
            pieces.layers = layers_of(bare, given)
        except TrainwrightError:
            raise
        except Exception as error:
            if ran_out(error):  # fewer at once may do: the first step finds out
                return
            shapes = ", ".join(f"{name} {str(t.dtype)[6:]} {tuple(t.shape)}" for name, t in batch.inputs.items())
            what = f"cannot compute the first batch: {type(error).__name__}: {error}"
            raise UserError("model", what, f"it was given {shapes}") from error


def _refuse_sparse(model: nn.Module) -> None:
    """Torch has no norm of a sparse gradient, by which a step is known to be sound."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse and module.weight.requires_grad:
            raise UserError("model", f"'{name}' gives sparse gradients, whose norm torch does not tell", "sparse=False")


def try_metrics(pieces: Pieces) -> None:
    """Measure the untrained model once on a whole part, with code of a person's own; UserError where that fails."""
    if not pieces.evaluations:
        return
    state, over = pieces.state, next(iter(pieces.evaluations.values()))
    with state.aside():
        evaluate(state.model, pieces.task, over(), pieces.runtime, metrics=pieces.more, final=True)


def build_model(recipe: Recipe, task: Task[Any]) -> nn.Module:
    """The network, with what it must know of the data; its first weights depend on the seed alone."""
    name = recipe.config.model["name"]
    factory, sizes = models[name], task.sizes()
    if missing := [n for n in required(factory) if n not in sizes]:
        fitting = [m for m in models.names() if set(required(models[m])) <= set(sizes)]
        raise UserError(
            "model",
            f"'{name}' needs {', '.join(missing)}, which the task '{recipe.config.task['name']}' does not give",
            f"choose one of: {', '.join(fitting)}" if fitting else did_you_mean(name, models.names()),
        )
    known = options(factory)
    fitted = {k: v for k, v in sizes.items() if k in known}
    if lost := [n for n in task.essential if n not in known]:
        able = [m for m in models.names() if set(task.essential) <= options(models[m]).keys()]
        fitting = [m for m in able if set(required(models[m])) <= set(sizes)]
        raise UserError("model", f"'{name}' does not look at what is {lost[0]}", f"choose one of: {', '.join(fitting)}")
    if given := [k for k in fitted if k in recipe.config.model]:
        raise UserError(f"model.{given[0]}", "follows from the data", "leave it out")
    with randomness_kept(torch.device("cpu")):  # alike on every rank, whatever was drawn before
        torch.manual_seed(seed_of(recipe.config.seed, "weights") % 2**63)
        try:
            made = cast(nn.Module, models.make(name, {**recipe.model, **fitted}))
        except (RuntimeError, MemoryError) as error:
            if "allocate" not in str(error) and not isinstance(error, MemoryError):
                raise
            raise UserError("model", "does not fit into memory", "make it smaller") from error
        mend(made, recipe.config)
    return made


def evaluation_size(config: RunConfig, samples: int) -> int:
    """Samples of an evaluation batch per rank: as many as a training step computes at once, without gradients."""
    whole = samples if config.batch_size == "all" else config.batch_size
    micro = whole if config.micro_batch == "all" else min(config.micro_batch, whole)
    return max(1, min(2 * micro, 1024) if micro < 1024 else micro)


def in_steps(text: str, per_epoch: int, seconds_per_step: float | None) -> int:
    """An amount of training in optimizer steps."""
    amount = Budget.read(text)
    if amount.unit != "seconds":
        return amount.steps(per_epoch)
    assert seconds_per_step is not None
    return max(1, int(amount.amount / seconds_per_step))
