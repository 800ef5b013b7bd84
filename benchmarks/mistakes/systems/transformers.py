"""The Trainer of transformers, with a module that gives its loss."""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks.mistakes.plan import Held, Plan, hold, lost, network, optimizer

DISTRIBUTION = "transformers"
WARM = ("torch._dynamo", "transformers.trainer", "transformers.trainer_callback")  # imported once, for all trainings
# it shuffles, clears and wakes by itself
CANNOT = frozenset({"gradients are kept"})


def train(plan: Plan, guards: bool, held: Held) -> None:
    """https://huggingface.co/docs/transformers/trainer."""
    import torch
    from torch import nn
    from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

    net = network(plan)
    hold(plan, net, held)

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.loss = net, lost(plan)

        def forward(self, x: Any, labels: Any) -> Any:
            out = self.net(x)
            return {"loss": self.loss(out, labels), "logits": out}

    def rows(part: Any) -> Any:
        return [{"x": torch.from_numpy(x), "labels": torch.tensor(y)} for x, y in zip(*part, strict=True)]

    torch.autograd.set_detect_anomaly(guards)
    moved = optimizer(plan, net)
    each = plan.per_epoch if plan.schedule == "halved" else 1
    schedule = torch.optim.lr_scheduler.StepLR(moved, each, 0.5 if plan.schedule else 1.0)
    more: dict[str, Any] = {"max_grad_norm": plan.clip} if plan.clip else {}
    with tempfile.TemporaryDirectory() as place:
        if guards:
            more |= {
                "debug": "underflow_overflow", "logging_nan_inf_filter": False, "load_best_model_at_end": True,
                "metric_for_best_model": "eval_loss", "save_strategy": "epoch",
            }  # fmt: skip
        else:
            more["save_strategy"] = "no"
        if plan.order != "drawn":
            more["train_sampling_strategy"] = "sequential"
        arguments = TrainingArguments(
            place, num_train_epochs=plan.epochs, per_device_train_batch_size=plan.batch, report_to=[], use_cpu=True,
            disable_tqdm=True, logging_steps=plan.per_epoch, eval_strategy="epoch", seed=0, **more,
        )  # fmt: skip
        wrapped = Wrapped()
        if plan.loop == "asleep":
            wrapped.eval()
        trainer = Trainer(
            wrapped, arguments, train_dataset=rows(plan.train), eval_dataset=rows(plan.valid),
            optimizers=(moved, schedule), callbacks=[EarlyStoppingCallback(5)] if guards else [],
        )  # fmt: skip
        trainer.train()
