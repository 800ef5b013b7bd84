"""What other training systems call the keys of a recipe: names that are accepted and translated in the open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainwright.core.foreign_values import (
    a_device,
    epoch_share,
    falsy_none,
    hours,
    in_clock,
    in_epochs,
    in_steps,
    init_name,
    loss_name,
    metric_name,
    mixed,
    model_name,
    optimizer_name,
    schedule_name,
    share_or_none,
    weight_patterns,
    weights_path,
    when,
)


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of somebody else's, and the key it stands for."""

    name: str
    key: str  # here, dotted
    who: str  # says so
    value: Callable[[Any], Any] | None = None  # theirs -> ours; None: the default here; ValueError says what is wrong
    note: str = ""  # where the meaning differs


def _all(key: str, names: Mapping[str, str], value: Callable[[Any], Any] | None = None, note: str = "") -> list[Alias]:
    return [Alias(name, key, who, value, note) for name, who in names.items()]


_HF, _PL, _KERAS, _UL, _LUDWIG = "Hugging Face", "Lightning", "Keras", "Ultralytics", "Ludwig"
_WHOLE = "the norm is that of the whole gradient"

_LISTED = [
    *_all("budget", {"epochs": f"{_KERAS}, {_LUDWIG}, {_UL}", "max_epochs": f"{_PL}, skorch"}, in_epochs),
    *_all("budget", {"num_train_epochs": _HF, "num_epochs": "PyTorch", "n_epochs": "fastai"}, in_epochs),
    *_all("budget", {"max_steps": f"{_PL}, {_HF}", "num_steps": "JAX", "train_steps": _LUDWIG}, in_steps),
    *_all("budget", {"max_iter": "scikit-learn"}, in_epochs, "an iteration of its networks is an epoch"),
    *_all("budget", {"max_time": _PL}, in_clock),
    *_all("budget", {"time": _UL}, hours),
    *_all("budget", {"max_duration": "Composer"}, when),
    *_all("batch_size", {"batch": _UL, "train_batch_size": _HF, "bs": "fastai", "global_batch_size": "torchtitan"}),
    *_all("micro_batch", {"micro_batch_size": "DeepSpeed", "device_train_microbatch_size": "Composer"}),
    *_all("optimizer.lr", {"lr": "PyTorch, skorch, fastai", "learning_rate": f"{_KERAS}, {_HF}, {_LUDWIG}"}),
    *_all("optimizer.lr", {"lr0": _UL, "learning_rate_init": "scikit-learn", "lr_max": "fastai", "base_lr": "Caffe"}),
    *_all("optimizer.weight_decay", {"weight_decay": f"PyTorch, {_HF}, {_UL}", "wd": "fastai"}),
    *_all("optimizer.momentum", {"momentum": f"PyTorch, {_UL}", "mom": "fastai"}),
    *_all("optimizer.nesterov", {"nesterov": f"PyTorch, {_KERAS}"}),
    *_all("optimizer", {"optim": _HF, "opt": "timm", "solver": "scikit-learn"}, optimizer_name),
    *_all("init", {"kernel_initializer": _KERAS, "weight_init": "timm", "weights_initializer": _LUDWIG}, init_name),
    *_all("schedule", {"lr_scheduler_type": _HF, "lr_scheduler": f"{_PL}, Keras"}, schedule_name),
    *_all("schedule", {"scheduler": "PyTorch", "lr_schedule": _KERAS, "sched": "timm"}, schedule_name),
    *_all("schedule", {"cos_lr": _UL}, lambda on: "cosine" if on else None),
    *_all("schedule.warmup", {"warmup_steps": _HF, "warmup_ratio": _HF, "num_warmup_steps": _HF}),
    *_all("clip", {"gradient_clip_val": _PL, "max_grad_norm": _HF, "max_norm": "PyTorch"}, falsy_none, _WHOLE),
    *_all("clip", {"clipnorm": _KERAS, "global_clipnorm": _KERAS, "grad_clip": "nanoGPT"}, falsy_none, _WHOLE),
    *_all("clip", {"gradient_clipping": "DeepSpeed", "clip_grad": "timm"}, falsy_none, _WHOLE),
    *_all("clip_value", {"clipvalue": _KERAS}),
    *_all("patience", {"early_stopping_patience": _HF, "early_stop": _LUDWIG, "n_iter_no_change": "scikit-learn"}),
    *_all("monitor", {"metric_for_best_model": _HF}, metric_name),
    *_all("min_change", {"min_delta": f"{_KERAS}, {_PL}", "early_stopping_threshold": _HF}, share_or_none),
    *_all("ema", {"ema_decay": "timm", "ema_momentum": _KERAS}),
    *_all("init_from", {"pretrained": _UL, "weights": "torchvision", "model_name_or_path": _HF}, weights_path),
    *_all("precision", {"bf16": _HF, "bfloat16": "PyTorch"}, lambda on: "bfloat16" if on else None),
    *_all("precision", {"amp": _UL, "fp16": _HF, "half": _UL}, lambda on: "float16" if on else None),
    *_all("precision", {"mixed_precision": "Accelerate", "dtype": "PyTorch", "dtype_policy": _KERAS}, mixed),
    *_all("device", {"accelerator": _PL}, a_device),
    *_all("ranks", {"devices": _PL, "num_processes": "Accelerate", "nproc_per_node": "torchrun", "gpus": _PL}),
    *_all("parallel", {"strategy": _PL}),
    *_all("workers", {"num_workers": "PyTorch", "dataloader_num_workers": _HF}),
    *_all("seed", {"random_state": "scikit-learn", "random_seed": _LUDWIG, "seed_everything": _PL}),
    *_all("data.valid", {"validation_split": _KERAS, "valid_pct": "fastai", "val_split": _KERAS}),
    *_all("data.valid", {"validation_fraction": "scikit-learn", "val_size": "AutoGluon"}),
    *_all("data.test", {"test_split": "PyTorch", "test_size": "scikit-learn"}),
    *_all("eval_every", {"check_val_every_n_epoch": _PL, "val_interval": "MMEngine"}, in_epochs),
    *_all("eval_every", {"val_check_interval": _PL}, epoch_share),
    *_all("eval_every", {"eval_steps": _HF, "steps_per_checkpoint": _LUDWIG}, in_steps),
    *_all("save_every", {"save_steps": _HF, "every_n_train_steps": _PL}, in_steps),
    *_all("save_every", {"save_period": _UL, "every_n_epochs": _PL}, in_epochs),
    *_all("log_every", {"logging_steps": _HF, "log_every_n_steps": _PL}),
    *_all("task.target", {"target": "pandas", "label": "AutoGluon", "label_column": _LUDWIG}),
    *_all("task.size", {"imgsz": _UL, "image_size": _HF, "img_size": "timm"}),
    *_all(
        "task.augment",
        {"augment": _UL},
        lambda on: {True: "auto", False: "none"}.get(on, on) if isinstance(on, bool) else on,
    ),
    *_all("task.loss", {"loss": _KERAS, "criterion": "skorch"}, loss_name),
    *_all("task.loss.label_smoothing", {"label_smoothing": _UL, "label_smoothing_factor": _HF}),
    *_all("task.loss.class_weights", {"class_weight": f"{_KERAS}, scikit-learn", "class_weights": _LUDWIG}),
    *_all("model.dropout", {"dropout": f"{_KERAS}, {_UL}", "drop_rate": "timm"}, share_or_none),
    *_all("model.activation", {"activation": f"{_KERAS}, scikit-learn"}),
    *_all("data.path", {"data_dir": _PL, "root": "torchvision"}),
    *_all("data", {"dataset": f"{_LUDWIG}, {_HF}"}),
    *_all("name", {"run_name": _HF, "experiment_name": _LUDWIG}),
]

# Keys within a section; they count only where what the section names has the second and not the first.
_WITHIN = [
    *_all("optimizer.lr", {"learning_rate": _KERAS, "lr0": _UL, "learning_rate_init": "scikit-learn"}),
    *_all("optimizer.weight_decay", {"wd": "fastai"}),
    *_all("optimizer.eps", {"epsilon": _KERAS}),
    *_all("optimizer.alpha", {"rho": _KERAS}),
    *_all("schedule.warmup", {"warmup_steps": _HF, "warmup_ratio": _HF}),
    *_all("schedule.every", {"step_size": "PyTorch"}, note="1 or more counts optimizer steps, not epochs"),
    *_all("schedule.factor", {"gamma": "PyTorch"}),
    *_all("data.valid", {"val": _UL, "validation": _HF, "validation_split": _KERAS, "valid_pct": "fastai"}),
    *_all("data.valid", {"val_split": _KERAS, "val_size": "AutoGluon"}),
    *_all("data.test", {"test_split": "PyTorch", "test_size": "scikit-learn"}),
    *_all("data.path", {"file": "pandas", "root": "torchvision", "dir": "PyTorch", "data_dir": _PL}),
    *_all("data.separator", {"sep": "pandas", "delimiter": "Python"}),
    *_all("data.missing", {"na_values": "pandas"}),
    *_all("data.columns", {"usecols": "pandas"}),
    *_all("task.target", {"label": "AutoGluon", "label_column": _LUDWIG, "y": "fastai", "y_names": "fastai"}),
    *_all("task.size", {"imgsz": _UL, "image_size": _HF, "img_size": "timm"}),
    *_all("task.categorical", {"cat_names": "fastai", "cat_features": "CatBoost", "categorical_features": "sklearn"}),
    *_all("task.numeric", {"cont_names": "fastai", "numerical_features": "pandas"}),
    *_all("model.width", {"hidden_size": _HF, "hidden_dim": "PyTorch", "units": _KERAS}),
    *_all("model.depth", {"num_layers": "PyTorch", "n_layers": "fastai", "num_hidden_layers": _HF}),
    *_all("model.dropout", {"drop_rate": "timm", "p": "PyTorch"}),
]

ALIASES: Mapping[str, Alias] = {a.name: a for a in _LISTED}
WITHIN: Mapping[str, tuple[Alias, ...]] = {
    name: tuple(a for a in _WITHIN if f"{a.key.partition('.')[0]}.{a.name}" == name)
    for name in dict.fromkeys(f"{a.key.partition('.')[0]}.{a.name}" for a in _WITHIN)
}
# Values of our own keys as others write them.
VALUES: Mapping[str, Callable[[Any], Any]] = {
    "precision": mixed,
    "device": a_device,
    "optimizer": optimizer_name,
    "optimizer.name": optimizer_name,
    "init": init_name,
    "init.name": init_name,
    "schedule": schedule_name,
    "schedule.name": schedule_name,
    "model": model_name,
    "freeze": weight_patterns,
    "monitor": metric_name,
    "task.loss": loss_name,
    "task.loss.name": loss_name,
}
# Of samples that are gathered before a step; what they come to depends on batch_size.
GATHERED: Mapping[str, str] = {
    "accumulate_grad_batches": _PL,
    "gradient_accumulation_steps": f"{_HF}, {_KERAS}",
    "grad_accum": "timm",
    "iters_to_accumulate": "PyTorch",
    "nbs": f"{_UL}, the samples of a step rather than the batches",
}
_ALONE = "batch_size is the whole of an optimizer step here, over all ranks"
_FOLDER = "the run folder is no part of a recipe"
# name -> (what, instead): what has no counterpart, so that nothing is ignored in silence.
REFUSED: Mapping[str, tuple[str, str]] = {
    "per_device_train_batch_size": (f"counts the samples of one device; {_ALONE}", "write batch_size = it times ranks"),
    "per_device_batch_size": (f"counts the samples of one device; {_ALONE}", "write batch_size = it times ranks"),
    "per_gpu_train_batch_size": (f"counts the samples of one device; {_ALONE}", "write batch_size = it times ranks"),
    "per_device_eval_batch_size": ("an evaluation's batches follow from micro_batch", "leave it out"),
    "eval_batch_size": ("an evaluation's batches follow from micro_batch", "leave it out"),
    "early_stopping": ("says only that it is wanted", "write patience = 5: evaluations without an improvement"),
    "gradient_clip_algorithm": ("there is a key for each", "write clip for the norm, clip_value for single numbers"),
    "use_ema": ("says only that it is wanted", "write ema = 0.999"),
    "mode": ("follows from what is monitored", "leave it out"),
    "greater_is_better": ("follows from what is monitored", "leave it out"),
    "load_best_model_at_end": ("the best weights are always what is scored and kept", "leave it out"),
    "restore_best_weights": ("the best weights are always what is scored and kept", "leave it out"),
    "save_best_only": ("the best and the last checkpoint are always kept", "leave it out"),
    "save_total_limit": ("the best and the last checkpoint are always kept", "leave it out"),
    "save_top_k": ("the best and the last checkpoint are always kept", "leave it out"),
    "warmup_epochs": ("a warm-up is counted in steps here", "write schedule.warmup in steps, or as a share: 0.1"),
    "eval_strategy": ("is written as an amount of training", 'write eval_every = "1 epoch" or "500 steps"'),
    "evaluation_strategy": ("is written as an amount of training", 'write eval_every = "1 epoch" or "500 steps"'),
    "save_strategy": ("is written as an amount of training", 'write save_every = "1 epoch" or "500 steps"'),
    "logging_strategy": ("is written as a number of steps", "write log_every = 10"),
    "resume_from_checkpoint": ("a run is resumed as a whole", "type: trainwright resume RUN"),
    "ckpt_path": ("a run is resumed as a whole", "type: trainwright resume RUN"),
    "resume": ("a run is resumed as a whole", "type: trainwright resume RUN"),
    "output_dir": (_FOLDER, "name it with --out FOLDER"),
    "default_root_dir": (_FOLDER, "name it with --out FOLDER"),
    "out": (_FOLDER, "name it with --out FOLDER"),
    "project": (_FOLDER, "name it with --out FOLDER"),
    "exist_ok": (_FOLDER, "say --exist-ok on the command line"),
    "deterministic": ("a run always repeats itself on the same machine", "leave it out"),
    "verbose": ("is no part of a recipe", "say --quiet on the command line"),
    "callbacks": ("functions cannot be written in a recipe", "pass observers = […] to tw.train in Python"),
    "compile": ("is a part of the plan", "write pace = { compiled = true }; an accelerator tries it by itself"),
    "torch_compile": ("is a part of the plan", "write pace = { compiled = true }; an accelerator tries it by itself"),
    "fast_dev_run": ("the first batch is tried before every training", 'leave it out, or write budget = "5 steps"'),
    "overfit_batches": ("is not there yet", 'write data.ranges = { train = [0, 64] }'),
    "limit_train_batches": ("is not there yet", 'write budget = "100 steps", or data.ranges = { train = [0, 6400] }'),
    "sample_weight": ("samples have no weights of their own yet", "weigh the classes: task.loss.class_weights"),
    "adam_beta1": ("both betas are one option", "write optimizer.betas = [0.9, 0.999]"),
    "adam_beta2": ("both betas are one option", "write optimizer.betas = [0.9, 0.999]"),
    "lrf": ("is the schedule's", "write schedule.final = 0.01"),
    "report_to": ("a run folder holds everything that happened", "leave it out"),
}  # fmt: skip
