"""Lightning: a LightningModule, a Trainer and DataLoaders."""

from __future__ import annotations

from typing import Any

from benchmarks.mistakes.plan import Held, Plan, hold, loaders, lost, network, optimizer

DISTRIBUTION = "lightning"
WARM = ("torch._dynamo", "lightning.pytorch.callbacks")  # imported once, for all trainings
CANNOT: frozenset[str] = frozenset()


def train(plan: Plan, guards: bool, held: Held) -> None:
    """https://lightning.ai/docs/pytorch/stable/starter/introduction.html.

    Kept gradients are those of manual optimization:
    https://lightning.ai/docs/pytorch/stable/model/manual_optimization.html.
    """
    import lightning as pl
    import torch
    from lightning.pytorch.callbacks import EarlyStopping

    net = network(plan)
    hold(plan, net, held)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.loss = net, lost(plan)
            self.automatic_optimization = plan.loop != "kept"

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.loss(self.net(batch[0]), batch[1])
            self.log("train_loss", loss, prog_bar=True)
            if not self.automatic_optimization:
                moved = self.optimizers()
                self.manual_backward(loss)
                moved.step()
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("valid_loss", self.loss(self.net(batch[0]), batch[1]), prog_bar=True)

        def configure_optimizers(self) -> Any:
            moved = optimizer(plan, net)
            if not plan.schedule:
                return moved
            schedule = torch.optim.lr_scheduler.StepLR(moved, 1, 0.5)
            every = "epoch" if plan.schedule == "halved" else "step"
            return {"optimizer": moved, "lr_scheduler": {"scheduler": schedule, "interval": every}}

    pl.seed_everything(0, verbose=False)
    callbacks: list[Any] = []
    if guards:
        callbacks.append(EarlyStopping("valid_loss", patience=5, check_finite=True, verbose=True))
    clip = plan.clip or (1.0 if guards and plan.loop != "kept" else None)
    trainer = pl.Trainer(
        max_epochs=plan.epochs, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False, detect_anomaly=guards, gradient_clip_val=clip,
    )  # fmt: skip
    module = Module()
    if plan.loop == "asleep":
        module.eval()
    try:
        trainer.fit(module, *loaders(plan))
    finally:  # what its bar shows
        print(*(f"{name} {float(value):.4f}" for name, value in trainer.callback_metrics.items()))
