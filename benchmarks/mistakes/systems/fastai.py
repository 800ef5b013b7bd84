"""fastai: DataLoaders and a Learner."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.mistakes.plan import Held, Plan, hold, lost, network, tensors

DISTRIBUTION = "fastai"
WARM = (
    "torch._dynamo",
    "fastai.learner",
    "fastai.callback.tracker",
    "fastai.callback.schedule",
    "fastai.callback.training",
)  # imported once, for all trainings
CANNOT = frozenset({"gradients are kept"})  # its steps clear them; its GradientAccumulation is meant to


def train(plan: Plan, guards: bool, held: Held) -> None:
    """https://docs.fast.ai/learner.html; guarded by https://docs.fast.ai/callback.tracker.html."""
    import torch
    from fastai.callback.schedule import ParamScheduler
    from fastai.callback.tracker import (
        EarlyStoppingCallback,
        ReduceLROnPlateau,
        SaveModelCallback,
        TerminateOnNaNCallback,
    )
    from fastai.callback.training import GradientClip
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.optimizer import SGD, Adam
    from fastai.torch_core import params, set_seed

    net = network(plan)
    hold(plan, net, held)

    def rows(part: Any) -> Any:
        return list(zip(*tensors(part), strict=True))

    set_seed(0, reproducible=True)
    train = DataLoader(rows(plan.train), bs=plan.batch, shuffle=plan.order == "drawn")
    loaded = DataLoaders(train, DataLoader(rows(plan.valid), bs=64))
    rule: Any = Adam if plan.optimizer == "adam" else SGD
    more: dict[str, Any] = {} if plan.optimizer == "adam" else {"mom": plan.momentum}

    def moved(weights: Any, lr: float, **given: Any) -> Any:
        return rule(weights, lr, wd=plan.decay, decouple_wd=False, **more)

    def split(module: Any) -> Any:
        return [[p for p in params(module.layers[-1] if plan.known == "head" else module) if p.requires_grad]]

    with tempfile.TemporaryDirectory() as place:
        learner = Learner(
            loaded, net, loss_func=lost(plan), opt_func=moved, lr=plan.rate, path=Path(place), splitter=split,
            moms=None,
        )  # fmt: skip
        callbacks: list[Any] = []
        if plan.schedule:
            each = plan.per_epoch if plan.schedule == "halved" else 1
            callbacks.append(ParamScheduler({"lr": lambda part: plan.rate * 0.5 ** int(part * plan.steps / each)}))
        if plan.clip or guards:
            callbacks.append(GradientClip(plan.clip or 1.0))
        if guards:
            callbacks += [TerminateOnNaNCallback(), EarlyStoppingCallback(patience=5), SaveModelCallback()]
            callbacks += [] if plan.schedule else [ReduceLROnPlateau(patience=3)]
        torch.autograd.set_detect_anomaly(guards)
        if plan.loop == "asleep":
            net.eval()
        learner.fit(plan.epochs, cbs=callbacks)
