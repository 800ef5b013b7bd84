"""Training a module of the user's own on data of the user's own, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import Dataset

from trainwright.core.config import RunConfig, read_recipe, split_spec
from trainwright.core.errors import UserError
from trainwright.core.events import Observer
from trainwright.core.kinds import optimizers
from trainwright.core.schema import check
from trainwright.engine.parts import StatePart
from trainwright.engine.randomness import randomness_kept
from trainwright.engine.runtime import Runtime
from trainwright.engine.step import StepFn, train_step
from trainwright.engine.unwrapped import no_compiler
from trainwright.runs import options
from trainwright.runs.assemble import Pieces, closed_where_it_fails
from trainwright.runs.attempt import Attempt, attempt
from trainwright.runs.called import Call, OfCall, named_loss, reopening, written_config
from trainwright.runs.changed import changed
from trainwright.runs.decided import Decided, Record, decided
from trainwright.runs.directory import CONFIG, PROCESSOR
from trainwright.runs.edited import must_be_as_written
from trainwright.runs.gathered import same_data
from trainwright.runs.healed import healing, must_heal
from trainwright.runs.holes import whole
from trainwright.runs.initial import InitSpec, remember, rule_of, written
from trainwright.runs.keras import adapted, original
from trainwright.runs.learned import read_learned
from trainwright.runs.measures import MetricSpecs, by_label
from trainwright.runs.measures import written as metrics_written
from trainwright.runs.mine import own_parts, same_parts, same_settings
from trainwright.runs.notes import lost_of
from trainwright.runs.planning import as_it_ran
from trainwright.runs.quiet import Speaker, speaker
from trainwright.runs.recipe import write
from trainwright.runs.recorded import rewrite, silent
from trainwright.runs.run import Run, open_run
from trainwright.runs.scheduling import ScheduleSpec
from trainwright.runs.scheduling import written as schedule_written
from trainwright.runs.train import agreed_folder, finished, spent

Plain: TypeAlias = Any  # a NumPy array, a tensor, or a tuple or dict of them
Data: TypeAlias = "tuple[Plain, Plain] | Plain | Iterable[Any] | Dataset[Any]"


@no_compiler()
def fit(
    model: nn.Module,
    data: Data,
    *,
    loss: Any,
    valid: Data | float | None = None,
    test: Data | float | None = None,
    epochs: float | None = None,
    budget: str | None = None,
    batch_size: int | Literal["all"] = 64,
    optimizer: str | Mapping[str, Any] | Optimizer | Callable[..., Optimizer] = "adamw",
    lr: float | None = None,
    schedule: ScheduleSpec = "constant",
    clip: float | Literal["none"] = "none",
    clip_value: float | Literal["none"] = "none",
    on_nan: Literal["recover", "skip", "stop"] = "recover",
    nan_skips: int = 3,
    nan_rollbacks: int = 2,
    l1: float = 0.0,
    l2: float = 0.0,
    ema: float | Literal["none"] = "none",
    monitor: str = "auto",
    patience: int | Literal["none"] = "none",
    min_change: float = 0.0,
    rates: Mapping[str, float] | None = None,
    freeze: Sequence[str] = (),
    unfreeze: Mapping[str, str] | None = None,
    init_from: str | Path | Mapping[str, Any] | None = None,
    micro_batch: int | Literal["all"] = "all",
    seed: int = 0,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto",
    pace: Literal["auto", "plain"] | Mapping[str, Any] = "auto",
    parallel: Literal["ddp", "fsdp"] = "ddp",
    eval_every: str = "1 epoch",
    save_every: str = "1 epoch",
    log_every: int = 10,
    workers: int = 0,
    worker_timeout: float = 60.0,
    unpack: Callable[[Any], tuple[Any, Any]] | None = None,
    init: InitSpec | None = None,
    name: str = "",
    out: str | Path | None = None,
    exist_ok: bool = False,
    resume: str | Path | None = None,
    metrics: MetricSpecs = (),
    observers: Sequence[Observer] = (),
    captures: int = 2,
    step_fn: StepFn = train_step,
    parts: Mapping[str, StatePart] | None = None,
    doctor: str | Mapping[str, Any] = "advise",
    quiet: bool = False,
) -> Run:
    """Train a module, and return the run; the module then holds the weights that were scored: the best ones.

    The module is called with the inputs in their order (``model(x0, x1)``), or by name where they are a dict.

    Args:
        model: any module; its first output is what the loss compares.
        data: ``(x, y)`` of arrays or tensors (N, …), where x may be a tuple or dict of them; a torch DataLoader or
            other iterable of batches; or a torch Dataset. Arrays of the type they are trained in are not copied: leave
            them alone meanwhile.
        loss: a name (``"cross_entropy"``), a spec, a loss module of torch, or a callable (output, target).
        valid: the validation part: data like ``data``, or a share of it. Left out: a tenth of arrays, else none.
        test: the part for the final score, likewise; left out: none.
        epochs: passes over the training data; 10 where neither it nor a budget is given.
        budget: instead of epochs: ``"500 steps"``, ``"30 minutes"``.
        batch_size: samples per step over all ranks, for arrays and Datasets; a DataLoader has its own.
        optimizer: a name, a spec ``{"name": …}``, an optimizer over the model's parameters, or a function that makes
            one of them.
        lr: its learning rate; the optimizer's own default unless given.
        schedule: a name, a spec, a function (step, steps) -> multiplier of the rates, or a function (optimizer) -> one
            of torch's schedulers, which steps once per optimizer step.
        clip: largest norm of the whole gradient.
        clip_value: largest absolute value of each number of the gradient.
        on_nan: what is done about steps whose loss or gradient is NaN or infinite, which are never taken: "recover"
            skips them, and goes back to an earlier checkpoint with half the rate when they are too many; "skip" never
            goes back; "stop" ends the run at the first.
        nan_skips: such steps in a row that may be skipped.
        nan_rollbacks: how often the run may go back because of them.
        l1: penalty: times the sum of |w| over matrices and kernels; logged apart from the loss.
        l2: penalty: times the sum of w² over matrices and kernels; logged apart from the loss.
        ema: share that a running average of the weights keeps at each step; it is then what is judged and served.
        monitor: what says which weights are best: "loss", or a metric that each evaluation measures; "auto" leaves it
            to the loss.
        patience: evaluations in a row without an improvement of the monitor that end the training.
        min_change: an improvement is more than this.
        rates: pattern of weight names -> multiplier of their learning rate.
        freeze: patterns of weight names that do not learn.
        unfreeze: pattern of weight names -> amount of training after which they begin to learn: ``"2 epochs"``.
        init_from: weights to begin with: a run folder, a checkpoint, a .safetensors file, or a table with ``path``,
            ``map`` and ``skip``.
        micro_batch: samples a rank computes at once.
        seed: of the split, the order and the global generators, and of ``init`` (else the module's first weights are
            the caller's).
        device: auto, cpu, cuda, ….
        precision: of the forward and backward pass; "auto" is float32, unless the pace finds bfloat16 as right.
        pace: "auto" measures before the first step how to run faster with the same losses; "plain" does not; a table is
            what an earlier run found: ``{"fused": True}``.
        parallel: with several ranks (start the script with torchrun): ddp or fsdp.
        eval_every: how often the validation part is evaluated.
        save_every: how often a checkpoint is saved.
        log_every: steps between two waits for the device.
        workers: processes that fetch the items of a Dataset.
        worker_timeout: seconds without a word of one that fetches, also of a DataLoader's own; it is then started
            again, at most three times in a row.
        unpack: a batch of the DataLoader or Dataset -> (inputs, targets), where that is not plain.
        init: draws the weights anew before the training: a name (``"orthogonal"``), a spec, or a function (weight,
            gain, generator) that fills a weight (outputs, inputs, …). None leaves the module as it is.
        name: label in the run folder's name; the module's class unless given.
        out: the run folder; ``runs/DATE-NAME-xxxx`` unless given.
        exist_ok: a run that is in ``out`` already is moved aside to ``OUT.1``; without it that is an error.
        resume: the folder of an interrupted run that was called with the same model and data.
        metrics: what is measured beside the loss's own: names, or a table of names, specs and functions (outputs,
            targets) -> number. A function is given all samples of a part at once, the model's first tensor and the
            targets as they are; it may return one number per sample, whose mean is taken. More is better, unless it
            stands in a pair (function, "lower").
        observers: are told every event; may ask to stop.
        captures: samples whose way through the module is kept at checkpoints, with every number of it, so that the
            studio can show it without the module's code: at most 1 % of the training's time, and once at the end; 0
            keeps none.
        step_fn: the step itself; `train_step` is what it is made of.
        parts: what else the step needs and a checkpoint must hold, by name: modules (a critic, a teacher), optimizers.
        doctor: "advise" examines before the first step, probes meanwhile and says what is wrong; "off" does not; "heal"
            tries on copies what may help, and goes on with what won. A table has its options: ``{"mode": "heal", "yes":
            True}`` also takes what changes the module or the loss.
        quiet: say nothing but warnings and errors.
    """
    model = adapted(model)
    if not isinstance(model, nn.Module):
        raise UserError("model", f"is a {type(model).__name__}", "pass an nn.Module, or train a recipe with tw.train")
    if isinstance(data, str | bytes | Path):
        raise UserError(
            "data", f"is the text {str(data)!r}", "pass arrays or a loader, or train a recipe with tw.train"
        )
    if epochs is not None and budget is not None:
        raise UserError("budget", "epochs and budget are both given", "give one of them")
    if isinstance(epochs, bool) or not isinstance(epochs, int | float | None):
        raise UserError("epochs", f"{epochs!r} is not a number", "write epochs=10, or budget='500 steps'")
    measured = by_label(metrics)
    config = _config(
        {
            "name": name or type(original(model)).__name__,
            "seed": seed,
            "schedule": schedule_written(schedule),
            "step": "standard" if step_fn is train_step else "own",
            "init": written(init),
            "metrics": metrics_written(measured),
            "batch_size": batch_size,
            "micro_batch": micro_batch,
            "budget": budget or f"{epochs if epochs is not None else 10:g} epochs",
            "eval_every": eval_every,
            "save_every": save_every,
            "log_every": log_every,
            "clip": _float(clip),
            "clip_value": _float(clip_value),
            "on_nan": on_nan,
            "nan_skips": nan_skips,
            "nan_rollbacks": nan_rollbacks,
            "l1": float(l1),
            "l2": float(l2),
            "ema": ema,
            "monitor": monitor,
            "patience": patience,
            "min_change": float(min_change),
            "rates": {pattern: float(factor) for pattern, factor in (rates or {}).items()},
            "freeze": list(freeze),
            "unfreeze": dict(unfreeze or {}),
            "init_from": {} if init_from is None else str(init_from) if isinstance(init_from, Path) else init_from,
            "precision": precision,
            "pace": dict(pace) if isinstance(pace, Mapping) else pace,
            "device": device,
            "parallel": parallel,
            "worker_timeout": float(worker_timeout),
            "doctor": check(options.doctor, {"mode": doctor} if isinstance(doctor, str) else doctor, "doctor"),
        },
        optimizer,
        lr,
    )
    if not isinstance(captures, int) or captures < 0:
        raise UserError("captures", f"is {captures!r}", "write a number of samples, or 0 for none")
    rule_of(init)  # checked at once
    folder = open_run(resume).path if resume is not None else None
    if folder:
        must_be_as_written(Run(folder).manifest, folder, ("pace", "precision"), Record.read(folder).moving)
        config = as_it_ran(config, Run(folder).config)
    runtime = Runtime.of(config)
    if parallel == "fsdp" and isinstance(optimizer, Optimizer):
        raise UserError("optimizer", "was made before the weights were sharded", "pass its name, or a function")
    heals = must_heal(config, runtime.ranks.world, _own(parts, step_fn))
    learned = read_learned(folder / PROCESSOR) if folder else None
    console = speaker(quiet) if runtime.first else None
    data, left_out = whole(data, "train", config)
    if not isinstance(valid, float):
        valid, more = whole(valid, "valid", config)
        left_out += more
    call = Call(
        config, runtime, model, data, loss, valid, test, optimizer, schedule, init, measured, step_fn, parts, unpack,
        workers, console.progress if console else silent, learned,
    )  # fmt: skip

    try:
        with randomness_kept(runtime.device):
            record = Record.read(folder) if folder else Record()
            begins = decided(folder) if folder else None
            workshop = OfCall(call, record.keys, heals)
            if folder and begins is None:  # else config.toml may have what is repaired as it was before
                same_parts(Run(folder), workshop.config, named_loss(workshop.loss))
            pieces = workshop.first(fresh=folder is None or (begins is not None and begins.anew))
            with closed_where_it_fails(pieces):
                if folder is not None:
                    remember(pieces, open_run(folder).manifest)
                a = _attempt_of(pieces, call, workshop.loss, folder, (out, exist_ok), observers, console, begins)
            a.captures = captures
            if folder is None:
                a.opening = left_out
            else:
                a.begun = record.begun(folder)
            if heals:
                a = healing(a, workshop)
            else:
                attempt(a)
            return finished(a, original(model))
    finally:
        if console:
            console.close()
        runtime.ranks.close()


def _own(parts: Mapping[str, StatePart] | None, step_fn: StepFn) -> list[str]:
    """What trials cannot make again."""
    return [*(parts or {}), *(["a step"] if step_fn is not train_step else [])]


def _attempt_of(
    pieces: Pieces,
    call: Call,
    loss: Any,
    resumed: Path | None,
    place: tuple[str | Path | None, bool],
    observers: Sequence[Observer],
    console: Speaker | None,
    begins: Decided | None,
) -> Attempt:
    """The attempt, in a new folder or in the one that is resumed; of that it begins anew with what was decided."""
    config, runtime = pieces.config, pieces.runtime
    again = reopening(pieces.task, loss)
    attempts: list[dict[str, Any]] = [{}]
    anew = begins is not None and begins.anew
    values = written_config(config, again, call.model)
    if resumed is not None:
        run = Run(resumed)
        before = run.manifest
        if before["kind"] != "own":
            raise UserError(str(resumed), "was trained from a recipe", f"resume it with tw.resume({str(resumed)!r})")
        if begins is None:
            same_settings(run.config, values)
        same_data(before["data"], pieces.facts, resumed)
        if begins is None:
            spent(run, pieces)
        attempts = [*before["attempts"], {}]
    folder, moved = (resumed, "") if resumed else agreed_folder(place[0], config.name, runtime, exist_ok=place[1])
    lost = lost_of(resumed, Run(resumed).view) if resumed else []
    pieces.facts["notes"] = [*pieces.facts.get("notes", []), *([moved] if moved else []), *lost]
    return Attempt(
        pieces=pieces,
        folder=folder,
        config=lambda steps: rewrite(folder, values, len(attempts) - 1) if resumed else write(values, folder / CONFIG),
        facts={"kind": "own", "attempts": attempts, "supervised": again, "own": own_parts(config, again)},
        observers=observers,
        console=console,
        resumed=resumed is not None and not anew,
        anew=anew,
        back=begins.back if begins else 0,
        opening=begins.opening if begins else (),
        changed=changed(Run(resumed).config, values) if resumed else {},
    )


def _config(
    values: dict[str, Any], optimizer: str | Mapping[str, Any] | Optimizer | Callable[..., Optimizer], lr: float | None
) -> RunConfig:
    """The call as a recipe, checked as one; its task, data and model are the caller's own."""
    spec: Any = {"name": optimizer} if isinstance(optimizer, str) else optimizer
    if isinstance(spec, Mapping):
        if lr is not None and spec.get("lr", lr) != lr:
            raise UserError("lr", f"contradicts optimizer.lr, which is {spec['lr']!r}", "write one of them")
        spec = {**spec, **({} if lr is None else {"lr": lr})}
        name, options = split_spec(spec, "optimizer")
        check(optimizers[name], options, "optimizer")
    elif lr is not None:
        raise UserError("lr", "the optimizer has rates of its own", "leave lr out")
    else:
        spec = {"name": "own"}
    return read_recipe(
        {**values, "optimizer": dict(spec), "task": {"name": "supervised"}, "data": {"source": "own"},
         "model": {"name": "own"}}
    )  # fmt: skip


def _float(value: float | Literal["none"]) -> float | str:
    return float(value) if isinstance(value, int) else value
