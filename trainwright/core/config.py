"""What a recipe says: the sections, their defaults, and how one key of it is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from trainwright.core.errors import UserError
from trainwright.core.schema import validate
from trainwright.core.span import Span

_UNITS = {
    "epoch": ("epochs", 1.0),
    "step": ("steps", 1.0),
    "second": ("seconds", 1.0),
    "minute": ("seconds", 60.0),
    "hour": ("seconds", 3600.0),
    "day": ("seconds", 86400.0),
}


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount of training: epochs, optimizer steps, or seconds."""

    amount: float
    unit: Literal["epochs", "steps", "seconds"]

    @classmethod
    def read(cls, text: str) -> Budget:
        """``"10 epochs"``, ``"500 steps"``, ``"1.5 hours"``; ValueError otherwise."""
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?\d+)?)\s*([a-z]+?)s?\s*", text.lower())
        if not found or found.group(2) not in _UNITS:
            raise ValueError(f"{text!r} is not an amount of training; write '10 epochs', '500 steps' or '30 minutes'")
        unit, factor = _UNITS[found.group(2)]
        amount = float(found.group(1)) * factor
        if amount > 1e12:
            raise ValueError(f"{text!r} is more than any run can take; write '10 epochs', '500 steps' or '30 minutes'")
        if amount <= 0 or (unit == "steps" and amount != int(amount)):
            raise ValueError(f"{text!r}: the amount must be above 0" + (" and whole" if unit == "steps" else ""))
        return cls(amount, unit)  # type: ignore[arg-type]

    def steps(self, per_epoch: int) -> int:
        """The same amount in optimizer steps; seconds have none before they are measured."""
        assert self.unit != "seconds"
        return max(1, round(self.amount * per_epoch) if self.unit == "epochs" else int(self.amount))


Spec = dict[str, Any]  # {"name": …, options…}


class Plan(BaseModel):
    """How a run is carried out beside what it computes: the recipe's table ``[pace]``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    pool_first: Annotated[
        bool, Field(description="a max-pool behind a ReLU is computed before it; no number changes")
    ] = False
    channels_last: Annotated[
        bool, Field(description="weights of convolutions over pictures lie with the channels last; one process only")
    ] = False
    fused: Annotated[bool, Field(description="the optimizer updates each tensor in one pass over memory")] = False
    quick_dropout: Annotated[
        bool, Field(description="the masks of dropout are drawn as sixteen bits a number, so they are other masks")
    ] = False
    bfloat16: Annotated[
        bool, Field(description="forward and backward pass in bfloat16, where `precision` leaves that open")
    ] = False
    threads: Annotated[
        int, Field(ge=0, description="of a CPU that compute one operation together, where there are more; 0 takes all")
    ] = 0
    compiled: Annotated[
        bool,
        Field(description="the model's repeated blocks, or all of it, run through torch's compiler in training steps"),
    ] = False


class RunConfig(BaseModel):
    """Everything a recipe may say at its top level."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())

    format: Literal[1] = Field(1, description="version of the recipe's format")
    name: str = Field("", description="label in the run folder's name; the task's name when empty")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="of the split, the initial weights, the order and the augmentation"
    )
    plugins: list[str] = Field(default_factory=list, description="Python files that register tasks, models, losses, …")
    task: Spec = Field(description="the problem: {name, options}; see `trainwright explain task`")
    data: Spec = Field(
        description="where records come from and how they are split: {source, options, valid, test}, or a set's name"
    )
    model: Spec = Field(
        default_factory=dict, description="the network: {name, options}; the task's default when left out"
    )
    init: Spec = Field(
        default_factory=lambda: {"name": "auto"},
        description="how the first weights are drawn: {name, options}; 'auto' leaves it to the model",
    )
    optimizer: Spec = Field(default_factory=lambda: {"name": "adamw"}, description="the update rule: {name, options}")
    schedule: Spec = Field(
        default_factory=lambda: {"name": "constant"},
        description="how the rate changes over the budget: {name, options}",
    )
    step: Spec = Field(
        default_factory=lambda: {"name": "standard"},
        description="what a step does: {name, options}; see docs/howto/own-step.md",
    )
    batch_size: Annotated[int, Field(ge=1), Span(16, 512, log=True)] | Literal["all"] = Field(
        64, description="samples per optimizer step over all ranks; 'all' is batch gradient descent, 1 stochastic"
    )
    micro_batch: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        "all",
        description="samples a rank computes at once; smaller saves memory and changes nothing else; halved by itself "
        "where memory runs out",
    )
    budget: str = Field("10 epochs", description="how long to train: '10 epochs', '500 steps', '30 minutes'")
    eval_every: str = Field("1 epoch", description="how often the validation part is evaluated")
    save_every: str = Field("1 epoch", description="how often a checkpoint is saved")
    keep_last: Annotated[int, Field(ge=1)] = Field(1, description="newest checkpoints that are kept, beside the best")
    keep_every: str = Field(
        "none", description="checkpoints at multiples of this are kept for good, such as '10 epochs'; 'none' are"
    )
    on_save_failure: Literal["warn", "stop"] = Field(
        "warn",
        description="when three checkpoints in a row cannot be written, as on a full disk: go on, or stop the run",
    )
    log_every: Annotated[int, Field(ge=1)] = Field(10, description="steps between two waits for the device")
    clip: Annotated[float, Field(gt=0)] | Literal["none"] = Field(
        "none", description="largest norm of the whole gradient"
    )
    clip_value: Annotated[float, Field(gt=0)] | Literal["none"] = Field(
        "none", description="largest absolute value of each number of the gradient; clipped before the norm is"
    )
    on_nan: Literal["recover", "skip", "stop"] = Field(
        "recover",
        description="a step whose loss or gradient is NaN or infinite is never taken; 'recover' skips it, goes back to "
        "an earlier checkpoint with half the learning rate when they are too many, and ends the run when that does not "
        "help; 'skip' never goes back; 'stop' ends the run at the first one",
    )
    nan_skips: Annotated[int, Field(ge=0)] = Field(
        3,
        description="steps in a row that may be skipped because they are not finite; in all, so many as well, at least "
        "3, or 1 % of the budget",
    )
    nan_rollbacks: Annotated[int, Field(ge=0)] = Field(
        2, description="how often a run may go back because of steps that are not finite, each time with half the rate"
    )
    l1: Annotated[float, Field(ge=0)] = Field(
        0.0, description="penalty: times the sum of |w| over matrices and kernels; logged apart from the loss"
    )
    l2: Annotated[float, Field(ge=0)] = Field(
        0.0, description="penalty: times the sum of w² over matrices and kernels; logged apart from the loss"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | Literal["none"] = Field(
        "none",
        description="share that a running average of the weights keeps of itself at each step, such as 0.999; the "
        "average is then evaluated, kept as the best, and served",
    )
    monitor: Annotated[str, Field(min_length=1)] = Field(
        "auto",
        description="what says which weights are best, and is waited for by patience: 'loss', or the name of a metric "
        "that each evaluation measures; 'auto' leaves it to the task",
    )
    patience: Annotated[int, Field(ge=1)] | Literal["none"] = Field(
        "none",
        description="early stopping: evaluations in a row without an improvement of the monitor that end the "
        "training; the best weights are what is scored and served, with or without it",
    )
    min_change: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="early stopping: an improvement of the monitor is more than this; at 0 a lower loss "
        "counts as well where the monitor stays the same",
    )
    rates: dict[str, Annotated[float, Field(ge=0, le=1e6)]] = Field(
        default_factory=dict,
        description='pattern of weight names -> multiplier of their learning rate, such as { "stem.*" = 0.1 }; the '
        "first pattern that fits a name counts, other weights have 1",
    )
    freeze: list[str] = Field(
        default_factory=list, description='patterns of weight names, such as "stem.*", that do not learn'
    )
    unfreeze: dict[str, str] = Field(
        default_factory=dict,
        description="pattern of weight names -> amount of training after which they begin to learn, such as "
        '{ "stem.*" = "2 epochs" }',
    )
    init_from: Spec = Field(
        default_factory=dict,
        description="weights to begin with: a run folder, a checkpoint or a .safetensors file, or a table { path, map "
        '= { "their prefix" = "prefix here" }, skip = [patterns of names] }; what is taken is reported',
    )
    metrics: dict[str, Spec] = Field(
        default_factory=dict,
        description='what is measured beside what the task measures: names, such as ["balanced_accuracy"], or a table '
        'of them, such as { top3 = { name = "top_k_accuracy", k = 3 } }',
    )
    observers: list[Spec] = Field(
        default_factory=list,
        description="who is told every event, and may ask to stop: names, or tables {name, options}, such as [{ name = "
        '"goal", metric = "accuracy", above = 0.95 }]',
    )
    shuffle: bool = Field(True, description="a new order of the training samples each epoch")
    precision: Literal["auto", "float32", "bfloat16", "float16", "float64"] = Field(
        "auto",
        description="of the forward and backward pass; float16 scales the loss; 'auto' is float32, unless `pace` finds "
        "that bfloat16 gives the same losses faster",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps, xpu, xla")
    ranks: Annotated[int, Field(ge=1)] = Field(1, description="processes that train together")
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp", description="with several ranks: copies of the model (ddp) or shards of it (fsdp)"
    )
    recompute: bool = Field(
        False,
        description="activation checkpointing: the blocks of the model keep only what they are given, and compute "
        "again what their gradient needs; less memory for a third more time, and the same numbers",
    )
    sync_batch_norm: bool = Field(
        True,
        description="with several ranks: batch norms see the samples of all of them, as one process would; without "
        "it each rank's alone, which saves an exchange per layer and learns something else",
    )
    store: Literal["auto", "memory", "device", "file"] = Field(
        "auto", description="where encoded samples are kept: memory, on the device, or a memory-mapped file"
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="processes that encode records; 0 is this process"
    )
    worker_timeout: Annotated[float, Field(gt=0)] = Field(
        60.0,
        description="seconds without a word of a process that encodes or fetches records; it is then ended and started "
        "again, at most three times in a row",
    )
    on_bad_sample: Literal["error", "skip"] = Field(
        "error", description="a record that cannot be used ends the run, or is passed over, listed and counted"
    )
    bad_samples: Annotated[float, Field(ge=0, lt=1)] | Annotated[int, Field(ge=0)] = Field(
        0.001,
        description="how many may be skipped: a share of all records (at least one), or a number",
    )
    doctor: Spec = Field(
        default_factory=lambda: {"mode": "advise"},
        description='who looks whether something is wrong: { mode = "advise" } examines before the first step, probes '
        'while it trains, says what it finds and changes nothing; "heal" tries what may help on branches of the run, '
        'and goes on with what won; "off" is nobody',
    )
    repairs: list[Spec] = Field(
        default_factory=list,
        description="changes of the model, in their order, such as those that the doctor made: names, or tables {name, "
        'options}, such as [{ name = "standard_inputs", layer = "0" }]',
    )
    score: Literal["all", "valid", "none"] = Field(
        "all",
        description="what the finished model is scored on: 'all' is the validation and the test part, with intervals, "
        "beside simple models; 'valid' is the validation part alone, and no curves are drawn, as in the trials of a "
        "search, for which the test part stays unseen; 'none' scores nothing",
    )
    tune: Spec = Field(
        default_factory=dict,
        description='what `trainwright tune` searches, and how: { space = { "optimizer.lr" = "1e-5..1e-1:log" }, '
        "trials = 40 }; a training does not read it; see docs/howto/tune.md",
    )
    pace: Literal["auto", "plain"] | Plan = Field(
        "auto",
        description="how the run is carried out: 'auto' measures before the first step what is faster and gives the "
        "same losses, within 2 % of the training's time; 'plain' runs everything as it is written; a table such as "
        "{ fused = true } is what an earlier run found, and is followed",
    )

    @field_validator("task", "model", "init", "optimizer", "schedule", "step", mode="before")
    @classmethod
    def _named(cls, value: Any, info: ValidationInfo) -> Any:
        """A bare name stands for a spec without options; options without a name are those of the default."""
        if isinstance(value, Mapping) and info.field_name in ("optimizer", "schedule", "step"):
            return {**cls.model_fields[info.field_name].get_default(call_default_factory=True), **value}
        return {"name": value} if isinstance(value, str) else value

    @field_validator("metrics", mode="before")
    @classmethod
    def _labelled(cls, value: Any) -> Any:
        """A list of names or specs as a table."""
        if isinstance(value, Mapping):
            return {k: {"name": v} if isinstance(v, str) else v for k, v in value.items()}
        one = [value] if isinstance(value, str) else value
        if not isinstance(one, list | tuple):
            return value
        specs = [{"name": v} if isinstance(v, str) else v for v in one]
        if not all(isinstance(v, Mapping) and isinstance(v.get("name"), str) for v in specs):
            raise ValueError(f"{value!r} is no list of names; write a name, or {{ label = {{ name = …, … }} }}")
        return {v["name"]: v for v in specs}

    @field_validator("observers", "repairs", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        one = [value] if isinstance(value, str | Mapping) else value
        return [{"name": v} if isinstance(v, str) else v for v in one] if isinstance(one, list | tuple) else one

    @field_validator("data", mode="before")
    @classmethod
    def _sourced(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @field_validator("init_from", mode="before")
    @classmethod
    def _begun(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) and value else value

    @field_validator("doctor", mode="before")
    @classmethod
    def _attended(cls, value: Any) -> Any:
        return {"mode": value} if isinstance(value, str) else value

    @field_validator("keep_every", mode="after")
    @classmethod
    def _kept(cls, value: str) -> str:
        if value != "none" and Budget.read(value).unit == "seconds":
            raise ValueError(f"{value!r} is no number of steps; write '10 epochs' or '500 steps'")
        return value

    @field_validator("unfreeze", mode="after")
    @classmethod
    def _awoken(cls, value: dict[str, str]) -> dict[str, str]:
        for amount in value.values():
            if Budget.read(amount).unit == "seconds":
                raise ValueError(f"{amount!r} is no number of steps; write '2 epochs' or '500 steps'")
        return value

    @field_validator("budget", "eval_every", "save_every", mode="before")
    @classmethod
    def _amount(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError(f"{value!r} has no unit; write '{value} epochs', '{value} steps' or '{value} minutes'")
        if isinstance(value, str):
            Budget.read(value)
        return value


def read_recipe(recipe: Mapping[str, Any], where: str = "recipe") -> RunConfig:
    """A checked, complete top level; UserError names the key."""
    if not isinstance(recipe, Mapping):
        raise UserError(
            where, f"a recipe is a table of keys, not {type(recipe).__name__}", "see `trainwright explain recipe`"
        )
    if isinstance(pace := recipe.get("pace"), Mapping):  # else the table as a whole would be said to be wrong
        validate(Plan, pace, "pace" if where == "recipe" else f"{where}.pace")
    validate(RunConfig, recipe, "" if where == "recipe" else where)
    return RunConfig.model_validate(dict(recipe))


def patched(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the recipe with dotted keys set: ``{"optimizer.lr": 3e-4}``."""
    out = deepcopy(dict(recipe))
    for key, value in changes.items():
        *path, last = key.split(".")
        here = out
        for part in path:
            child = here.get(part)
            if isinstance(child, str):  # a bare name stands for a spec
                child = {{"data": "source", "doctor": "mode"}.get(part, "name"): child}
            if child is not None and not isinstance(child, Mapping):
                raise UserError(key, f"'{part}' is {child!r}, not a table", f"set '{part}' itself")
            here[part] = dict(child or {})
            here = here[part]
        if not last or not all(path):
            raise UserError(key or "(empty)", "not a key of a recipe", "write a key such as optimizer.lr")
        here[last] = value
    return out


def split_spec(spec: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """A spec's name and its options."""
    name = spec.get("name")
    if not isinstance(name, str) or not name:
        raise UserError(where, "has no name", f'write {where} = {{ name = "…" }}; see `trainwright explain {where}`')
    return name, {k: v for k, v in spec.items() if k != "name"}
