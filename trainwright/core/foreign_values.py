"""Values as other training systems write them, and as a recipe does. Each raises ValueError with a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PRECISIONS = {
    "float32": ("32", "32-true", "fp32", "no", "float", "full", "torch.float32"),
    "bfloat16": ("bf16", "bf16-mixed", "bf16-true", "mixed_bfloat16", "amp_bf16", "torch.bfloat16"),
    "float16": ("16", "16-mixed", "fp16", "16-true", "mixed_float16", "amp_fp16", "half", "torch.float16"),
    "float64": ("64", "64-true", "fp64", "double", "torch.float64"),
}
OPTIMIZERS = {
    "adamw": ("adamw_torch", "adamw_torch_fused", "adamw_hf", "adam_w", "torch.optim.adamw", "decoupledadamw"),
    "adam": ("torch.optim.adam", "keras.optimizers.adam"),
    "sgd": ("torch.optim.sgd", "keras.optimizers.sgd"),
    "momentum": ("sgd_momentum", "heavy_ball"),
    "nesterov": ("nag", "sgd_nesterov"),
    "rmsprop": ("rms", "rms_prop"),
    "adagrad": ("ada_grad",),
    "lion": ("lion_32bit",),
}
SCHEDULES = {
    "constant": ("none", "constant_with_warmup", "fixed"),
    "cosine": ("cosineannealinglr", "cosine_annealing", "cosinedecay", "cos"),
    "cosine_restarts": ("cosineannealingwarmrestarts", "cosine_with_restarts", "cosinedecayrestarts", "sgdr"),
    "linear": ("linearlr", "linear_with_warmup"),
    "exponential": ("exponentiallr", "exponentialdecay", "exp"),
    "step": ("steplr",),
    "multi_step": ("multisteplr", "piecewiseconstantdecay"),
    "one_cycle": ("onecyclelr", "onecycle", "1cycle"),
    "polynomial": ("polynomiallr", "polynomialdecay", "poly"),
    "plateau": ("reducelronplateau", "reduce_lr_on_plateau", "reduce_on_plateau"),
}
INITS = {
    "xavier_uniform": ("glorot_uniform", "glorotuniform", "xavier_uniform_"),
    "xavier_normal": ("glorot_normal", "glorotnormal", "xavier_normal_"),
    "kaiming_uniform": ("he_uniform", "heuniform", "kaiming_uniform_"),
    "kaiming_normal": ("he_normal", "henormal", "kaiming_normal_"),
    "lecun_uniform": ("lecununiform",),
    "lecun_normal": ("lecunnormal",),
    "orthogonal": ("orthogonal_", "orthogonalinitializer"),
    "truncated_normal": ("trunc_normal", "trunc_normal_", "truncatednormal"),
    "zeros": ("zeros_", "zero"),
}
LOSSES = {
    "cross_entropy": (
        "crossentropy",
        "crossentropyloss",
        "nn.crossentropyloss",
        "torch.nn.crossentropyloss",
        "categorical_crossentropy",
        "categoricalcrossentropy",
        "sparse_categorical_crossentropy",
        "sparsecategoricalcrossentropy",
        "softmax_cross_entropy",
    ),
    "binary_cross_entropy": (
        "bcewithlogitsloss",
        "bce_with_logits",
        "binary_cross_entropy_with_logits",
        "binary_crossentropy",
        "binarycrossentropy",
    ),
    "mse": ("mseloss", "mse_loss", "mean_squared_error", "meansquarederror", "squared_error"),
    "mae": ("l1loss", "l1_loss", "mean_absolute_error", "meanabsoluteerror", "absolute_error"),
    "huber": ("huberloss", "huber_loss", "smooth_l1", "smoothl1loss"),
    "nll": ("nllloss", "nll_loss"),
    "kl": ("kldivloss", "kl_div", "kl_divergence", "kldivergence"),
    "focal": ("focal_loss", "focalloss", "categorical_focal_crossentropy", "categoricalfocalcrossentropy"),
    "binary_focal": ("binary_focal_crossentropy", "binaryfocalcrossentropy", "sigmoid_focal_loss"),
    "hinge": ("categorical_hinge", "categoricalhinge"),
}
# For messages and the monitor alone: what bears these names elsewhere has other options, or another definition.
_METRICS = {
    "accuracy": ("acc", "accuracy_score", "categorical_accuracy", "sparse_categorical_accuracy"),
    "balanced_accuracy": ("balanced_accuracy_score",),
    "macro_f1": ("f1", "f1_macro", "f1_score", "f1score"),
    "auroc": ("auc", "roc_auc", "rocauc", "roc_auc_score"),
    "top_k_accuracy": ("top5", "top_5_accuracy", "topkcategoricalaccuracy", "top_k_accuracy_score"),
    "brier": ("brier_score", "brier_score_loss", "neg_brier_score"),
    "log_loss": ("logloss", "neg_log_loss"),
    "calibration_error": ("ece", "expected_calibration_error"),
    "rmse": ("root_mean_squared_error", "rootmeansquarederror", "neg_root_mean_squared_error"),
    "mae": ("mean_absolute_error", "meanabsoluteerror", "neg_mean_absolute_error"),
    "r2": ("r2_score", "r2score"),
}
_LAYERS = {
    "dense": ("linear", "fc", "fully_connected", "lazylinear"),
    "conv": ("conv2d", "convolution", "lazyconv2d"),
    "max_pool": ("maxpool", "maxpool2d", "maxpooling2d"),
    "avg_pool": ("avgpool", "avgpool2d", "averagepooling2d"),
    "global_pool": (
        "adaptiveavgpool2d",
        "globalaveragepooling2d",
        "globalmaxpooling2d",
        "global_avg_pool",
        "global_average_pooling2d",
    ),
    "batch_norm": ("batchnorm", "batchnorm1d", "batchnorm2d", "batchnormalization"),
    "layer_norm": ("layernorm", "layernormalization"),
    "dropout": ("dropout1d", "dropout2d", "spatialdropout2d"),
    "simple_rnn": ("rnn", "simplernn"),
    "leaky_relu": ("leakyrelu",),
    "log_softmax": ("logsoftmax",),
    "silu": ("swish",),
}
_ELSEWHERE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "init": INITS,
    "loss": LOSSES,
    "metric": _METRICS,
    "layer": _LAYERS,
}


def here(kind: str, name: str) -> str | None:
    """What somebody else's name of a thing is called here; None where nobody has it."""
    found = _known(name, _ELSEWHERE.get(kind, {}))
    return found if found != name else None


def in_epochs(amount: Any) -> str:
    """``20`` -> ``20 epochs``."""
    return f"{_plain(_number(amount, 'a number of epochs'))} epochs"


def in_steps(amount: Any) -> str:
    """``500`` -> ``500 steps``."""
    return f"{_plain(_number(amount, 'a number of steps'))} steps"


def hours(amount: Any) -> str:
    """``1.5`` -> ``1.5 hours``."""
    return f"{_plain(_number(amount, 'a number of hours'))} hours"


def in_clock(amount: Any) -> str:
    """``00:12:00:00`` (days, hours, minutes, seconds) -> ``43200 seconds``."""
    found = re.fullmatch(r"(?:(\d+):)?(\d+):(\d+):(\d+)", amount) if isinstance(amount, str) else None
    if not found:
        raise ValueError(f"{amount!r} is no time such as 00:12:00:00 (days, hours, minutes, seconds)")
    d, h, m, s = (int(part or 0) for part in found.groups())
    return f"{((d * 24 + h) * 60 + m) * 60 + s} seconds"


def when(amount: Any) -> str:
    """``10ep`` -> ``10 epochs``, ``500ba`` -> ``500 steps``."""
    found = re.fullmatch(r"(\d+)(ep|ba)", amount) if isinstance(amount, str) else None
    if not found:
        raise ValueError(f"{amount!r} is no duration such as 10ep or 500ba")
    return f"{found[1]} {'epochs' if found[2] == 'ep' else 'steps'}"


def epoch_share(amount: Any) -> str:
    """A whole number counts steps, a fraction is a share of an epoch: ``0.25`` -> ``0.25 epochs``."""
    number = _number(amount, "a number of steps, or a share of an epoch")
    return f"{number} steps" if isinstance(number, int) else f"{_plain(number)} epochs"


def falsy_none(value: Any) -> Any:
    """0, none and false turn it off."""
    return "none" if value in (0, None, False) else float(value) if isinstance(value, int) else value


def share_or_none(value: Any) -> Any:
    """0 as a number with a point."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def mixed(value: Any) -> Any:
    """``bf16-mixed`` -> ``bfloat16``; what nobody writes is left for the check."""
    return _known(value, PRECISIONS)


def optimizer_name(value: Any) -> Any:
    """``AdamW`` and ``adamw_torch`` -> ``adamw``."""
    return _known(value, OPTIMIZERS)


def init_name(value: Any) -> Any:
    """``glorot_uniform`` -> ``xavier_uniform``."""
    return _known(value, INITS)


def schedule_name(value: Any) -> Any:
    """``CosineAnnealingLR`` -> ``cosine``."""
    return _known(value, SCHEDULES)


def loss_name(value: Any) -> Any:
    """``CrossEntropyLoss`` -> ``cross_entropy``."""
    return _known(value, LOSSES)


def metric_name(value: Any) -> Any:
    """``val_loss`` and ``eval_loss`` -> ``loss``, ``val_acc`` -> ``accuracy``."""
    found = re.fullmatch(r"(?:val|valid|eval|validation)[_/](\w+)", value.lower()) if isinstance(value, str) else None
    meant = _known(found[1] if found else value, _METRICS)
    return meant if meant == "loss" or meant in _METRICS else value


def model_name(value: Any) -> Any:
    """``resnet18`` -> ``{name = "resnet", depth = 18}``."""
    found = re.fullmatch(r"resnet-?(\d+)", value.lower()) if isinstance(value, str) else None
    return {"name": "resnet", "depth": int(found[1])} if found else value


def weights_path(value: Any) -> Any:
    """A path; nothing comes with pretrained weights."""
    if isinstance(value, bool) or value is None:
        if not value:
            return None
        raise ValueError("there are no weights that come with a model; write init_from = the path of a run or a file")
    return value


def weight_patterns(value: Any) -> Any:
    """One pattern stands for a list of one; a number of layers says nothing here."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f'{value} layers have no names here; write patterns of weight names, such as ["stem.*"]')
    return [value] if isinstance(value, str) else value


def a_device(value: Any) -> Any:
    """``0`` -> ``cuda:0``, ``gpu`` -> ``cuda``."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, list) or (isinstance(value, str) and re.fullmatch(r"\d+(,\s*\d+)+", value)):
        count = len(value) if isinstance(value, list) else value.count(",") + 1
        raise ValueError(f'{value!r} names {count} devices; write device = "cuda" and ranks = {count}')
    if isinstance(value, str):
        word = value.strip().lower()
        return f"cuda:{word}" if word.isdigit() else {"gpu": "cuda", "cuda": "cuda", "tpu": "xla"}.get(word, value)
    return value


def _known(value: Any, names: Mapping[str, tuple[str, ...]]) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    word = str(value).strip().lower()
    return next((ours for ours, theirs in names.items() if word == ours or word in theirs), value)


def _number(value: Any, what: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not {what}")
    return value


def _plain(value: int | float) -> int | float:
    return int(value) if value == value and abs(value) < 1e15 and value == int(value) else value
