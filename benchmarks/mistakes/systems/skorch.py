"""skorch: a NeuralNet with a validation set of one's own."""

from __future__ import annotations

from typing import Any

from benchmarks.mistakes.plan import SEED, Held, Plan, hold, lost, network, optimizer

DISTRIBUTION = "skorch"
WARM = ("torch._dynamo", "skorch.callbacks", "skorch.helper")  # imported once, for all trainings
CANNOT: frozenset[str] = frozenset()


def train(plan: Plan, guards: bool, held: Held) -> None:
    """https://skorch.readthedocs.io/en/stable/user/neuralnet.html.

    Kept gradients: its train_step, overridden as is told there.
    """
    import torch
    from skorch import NeuralNet
    from skorch.callbacks import EarlyStopping, GradientNormClipping, LRScheduler
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    net = network(plan)
    hold(plan, net, held)

    class Keeps(NeuralNet):  # type: ignore[misc]
        def train_step(self, batch: Any, **fit_params: Any) -> Any:
            step = self.train_step_single(batch, **fit_params)
            self.optimizer_.step()
            return step

        def zero_grad_optimizer(self) -> None: ...

    class Known(NeuralNet):  # type: ignore[misc]
        def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Any:
            super().initialize_optimizer(*args, **kwargs)
            self.optimizer_ = optimizer(plan, self.module_)
            return self

    callbacks: list[Any] = []
    if plan.schedule:
        size = 1 if plan.schedule != "halved" else plan.per_epoch
        callbacks.append(LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=size, gamma=0.5, step_every="batch"))
    if plan.clip or guards:
        callbacks.append(GradientNormClipping(plan.clip or 1.0))
    if guards:
        callbacks.append(EarlyStopping(patience=5, load_best=True))
    torch.autograd.set_detect_anomaly(guards)
    torch.manual_seed(SEED)
    rule = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[plan.optimizer]
    more = {"optimizer__momentum": plan.momentum} if plan.optimizer == "sgd" else {}
    kind = Keeps if plan.loop == "kept" else Known if plan.known == "head" else NeuralNet
    if plan.loop == "asleep":
        net.eval()
    trained = kind(
        net, criterion=type(lost(plan)), optimizer=rule, lr=plan.rate, optimizer__weight_decay=plan.decay, **more,
        batch_size=plan.batch, max_epochs=plan.epochs, iterator_train__shuffle=plan.order == "drawn",
        train_split=predefined_split(Dataset(*plan.valid)), callbacks=callbacks,
    )  # fmt: skip
    trained.fit(*plan.train)
