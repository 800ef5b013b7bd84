"""The optimizers of Keras in PyTorch, with the defaults that Keras gives them, and their schedules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, LRScheduler, StepLR

from benchmarks.doctor.case import CannotBuildError
from benchmarks.doctor.inits import NUMBER

Groups = list[dict[str, Any]]
_RATES = {"sgd": 0.01, "adadelta": 0.001, "adamax": 0.001, "lbfgs": 1.0, "rprop": 0.01}  # all others .001


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule, and how often it is stepped."""

    make: Callable[[Optimizer], LRScheduler]
    each: Literal["step", "epoch"]


def optimizer_of(told: Mapping[str, Any], pytorch: bool) -> Callable[[Groups], Optimizer]:
    """Parameter groups -> the optimizer.

    Raises:
        CannotBuildError: no such optimizer.
    """
    name = re.sub(r"[^a-z]", "", str(told.get("name", "adam")).lower())
    lr = float(told.get("lr") or told.get("learning_rate") or _RATES.get(name, 0.001))
    if lr <= 0:  # torch refuses it when the optimizer is made, not later
        return _negative(optimizer_of({**told, "lr": 1.0}, pytorch), lr)
    if name not in _MAKERS:
        raise CannotBuildError(f"optimizer {told.get('name')!r} is not known")
    options = _MAKERS[name]
    kind, rest = options(told, pytorch)
    return lambda groups: kind(groups, lr=lr, **rest)


def schedule_of(told: Mapping[str, Any], epochs: int) -> tuple[Schedule | None, str]:
    """The schedule of an optimizer's facts, and what of it was not understood ("" for nothing)."""
    if decay := float(told.get("decay") or 0):
        return Schedule(lambda o: LambdaLR(o, lambda step: 1 / (1 + decay * step)), "step"), ""
    text = str(told.get("schedule") or "").lower()
    if not text:
        return None, ""
    numbers = [float(n) for n in re.findall(NUMBER, text)]
    every: Literal["step", "epoch"] = "step" if re.search(r"per (step|batch)", text) else "epoch"
    if "steplr" in text:
        size = int(numbers[0]) if len(numbers) > 1 else 1
        return Schedule(lambda o: StepLR(o, size, numbers[-1] if numbers else 0.1), every), ""
    if "expon" in text and numbers:
        return Schedule(lambda o: ExponentialLR(o, numbers[-1]), every), ""
    if "cos" in text:
        return Schedule(lambda o: CosineAnnealingLR(o, max(1, epochs)), every), ""
    return None, f"schedule {text!r} is left out"


def groups_of(model: nn.Module, decays: Mapping[str, float]) -> Groups:
    """All trainable parameters; an L2 penalty of a layer becomes the weight decay of its kernel, twice as large."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups: Groups = [{"params": [p for name, p in named.items() if name not in decays]}]
    for value in sorted(set(decays.values())):
        chosen = [p for name, p in named.items() if decays.get(name) == value]
        groups.append({"params": chosen, "weight_decay": 2 * value})
    return [group for group in groups if group["params"]]


def _adam(told: Mapping[str, Any], pytorch: bool) -> tuple[type[Optimizer], dict[str, Any]]:
    name = str(told.get("name")).lower()
    kinds = {"adamw": torch.optim.AdamW, "adamax": torch.optim.Adamax, "nadam": torch.optim.NAdam}
    betas = told.get("betas") or (_first(told, 0.9, "beta1", "beta_1"), _first(told, 0.999, "beta2", "beta_2"))
    rest: dict[str, Any] = {"betas": tuple(betas), "eps": _first(told, 1e-8 if pytorch else 1e-7, "eps", "epsilon")}
    if told.get("amsgrad"):
        rest["amsgrad"] = True
    if told.get("weight_decay"):
        rest["weight_decay"] = float(told["weight_decay"])
    return kinds.get(name, torch.optim.Adam), rest


def _sgd(told: Mapping[str, Any], pytorch: bool) -> tuple[type[Optimizer], dict[str, Any]]:
    momentum = _first(told, 0.0, "momentum")
    nesterov = bool(told.get("nesterov")) and momentum > 0
    decay = _first(told, 0.0, "weight_decay")
    return torch.optim.SGD, {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}


def _rmsprop(told: Mapping[str, Any], pytorch: bool) -> tuple[type[Optimizer], dict[str, Any]]:
    rho = _first(told, 0.99 if pytorch else 0.9, "rho", "alpha")
    rest = {"alpha": rho, "eps": _first(told, 1e-8 if pytorch else 1e-7, "eps", "epsilon")}
    rest |= {"momentum": _first(told, 0.0, "momentum"), "centered": bool(told.get("centered"))}
    return torch.optim.RMSprop, rest


def _adagrad(told: Mapping[str, Any], pytorch: bool) -> tuple[type[Optimizer], dict[str, Any]]:
    start = _first(told, 0.0 if pytorch else 0.1, "initial_accumulator_value", "accumulator")
    return torch.optim.Adagrad, {"initial_accumulator_value": start, "eps": _first(told, 1e-7, "eps", "epsilon")}


def _adadelta(told: Mapping[str, Any], pytorch: bool) -> tuple[type[Optimizer], dict[str, Any]]:
    rho = _first(told, 0.9 if pytorch else 0.95, "rho")
    return torch.optim.Adadelta, {"rho": rho, "eps": _first(told, 1e-6 if pytorch else 1e-7, "eps", "epsilon")}


def _lbfgs(told: Mapping[str, Any], pytorch: bool) -> tuple[type[Optimizer], dict[str, Any]]:
    return torch.optim.LBFGS, {}


_Maker = Callable[[Mapping[str, Any], bool], tuple[type[Optimizer], dict[str, Any]]]
_MAKERS: dict[str, _Maker] = {
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "amsgrad"), _adam),
    "sgd": _sgd,
    "gradientdescent": _sgd,
    "momentum": _sgd,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "lbfgs": _lbfgs,
}


def _first(told: Mapping[str, Any], default: float, *keys: str) -> float:
    return next((float(told[key]) for key in keys if told.get(key) is not None), default)


def _negative(make: Callable[[Groups], Optimizer], lr: float) -> Callable[[Groups], Optimizer]:
    def made(groups: Groups) -> Optimizer:
        optimizer = make(groups)
        for group in optimizer.param_groups:
            group["lr"] = lr
        return optimizer

    return made
