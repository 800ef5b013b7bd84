"""One training in one system, by its own documented way, in a process of its own: prints the seconds of each epoch.

    python -m benchmarks.speed.systems SYSTEM WORK EPOCHS

The first epochs warm up. Nothing is validated or saved meanwhile, in any system.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.works import BY_NAME, Work

Seconds = list[float]
FORESEEN = 5000  # steps of a training of a usual length


def bare(work: Work, epochs: int, *, best: bool = False) -> Seconds:
    """A hand-written loop over tensors in memory; with ``best``, all that is known to help on a CPU."""
    import torch
    import torch.nn.functional as F

    if best and sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.mallopt(-4, 0)  # no mmap
        library.mallopt(-1, 2**31 - 1)  # no trim
    x, y = map(torch.from_numpy, work.data(work.samples))
    torch.manual_seed(0)
    model = work.torch()
    wide = best and x.ndim == 4
    if wide:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    half = best and torch.cpu.get_capabilities().get("avx512_bf16", False)
    optimizer = torch.optim.Adam(model.parameters(), lr=work.rate, fused=True)
    seconds: Seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        for ids in torch.randperm(len(x)).split(work.batch):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bool(half)):
                loss = F.cross_entropy(model(x[ids]), y[ids])
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds


def bare_best(work: Work, epochs: int) -> Seconds:
    """The same with channels last, bfloat16 and memory kept."""
    return bare(work, epochs, best=True)


def ours(work: Work, epochs: int, *, pace: str = "auto") -> Seconds:
    """`tw.fit` at its defaults; the plan is found in the time before the first epoch, which is not counted.

    A plan is for a training of a usual length, so that one is asked for, and ended after these epochs.
    """
    import torch

    import trainwright as tw
    from trainwright.core.events import RunStarted, StepDone, Stop

    x, y = work.data(work.samples)
    torch.manual_seed(0)
    per_epoch, marks = work.samples // work.batch, [0.0]
    seconds: Seconds = []

    def observe(event: Any) -> Any:
        if isinstance(event, RunStarted):
            marks[0] = time.perf_counter()
        if isinstance(event, StepDone) and event.step % per_epoch == 0:
            now = time.perf_counter()
            seconds.append(now - marks[0])
            marks[0] = now
            return Stop("all that is measured") if len(seconds) == epochs else None
        return None

    with tempfile.TemporaryDirectory() as place:
        tw.fit(
            work.torch(), (x, y), loss=work.loss, valid=0.0, epochs=max(epochs, FORESEEN // per_epoch),
            batch_size=work.batch, optimizer="adam", lr=work.rate, log_every=per_epoch, save_every="1000 epochs",
            observers=[observe], out=Path(place) / "run", quiet=True, pace=pace,
        )  # fmt: skip
    return seconds


def ours_plain(work: Work, epochs: int) -> Seconds:
    """The same without a plan."""
    return ours(work, epochs, pace="plain")


def keras_on(backend: str) -> Callable[[Work, int], Seconds]:
    def trained(work: Work, epochs: int) -> Seconds:
        os.environ["KERAS_BACKEND"] = backend
        import keras
        import numpy as np

        keras.utils.set_random_seed(0)
        model = work.keras()
        if model is None:
            return []
        x, y = work.data(work.samples)
        x = np.moveaxis(x, 1, -1).copy() if x.ndim == 4 else x
        model.compile(keras.optimizers.Adam(work.rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        seconds: Seconds = []

        class Clock(keras.callbacks.Callback):  # type: ignore[misc]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.began = time.perf_counter()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                seconds.append(time.perf_counter() - self.began)

        model.fit(x, y, batch_size=work.batch, epochs=epochs, verbose=0, callbacks=[Clock()])
        return seconds

    return trained


def lightning(work: Work, epochs: int, **device: Any) -> Seconds:
    """A LightningModule, a Trainer, on the CPU unless it is told something else, and a DataLoader."""
    import lightning as L
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader, TensorDataset

    seconds: Seconds = []

    class Module(L.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = work.torch()

        def training_step(self, batch: Any, _: int) -> Any:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=work.rate)

        def on_train_epoch_start(self) -> None:
            self.began = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            seconds.append(time.perf_counter() - self.began)

    x, y = map(torch.from_numpy, work.data(work.samples))
    torch.manual_seed(0)
    trainer = L.Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **(device or {"accelerator": "cpu"}),
    )  # fmt: skip
    trainer.fit(Module(), DataLoader(TensorDataset(x, y), work.batch, shuffle=True))
    return seconds


def skorch(work: Work, epochs: int) -> Seconds:
    """A NeuralNetClassifier, whose history has the seconds of each epoch."""
    import torch
    from skorch import NeuralNetClassifier

    x, y = work.data(work.samples)
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        work.torch(), criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=work.rate,
        batch_size=work.batch, max_epochs=epochs, train_split=None, iterator_train__shuffle=True, verbose=0,
    )  # fmt: skip
    net.fit(x, y)
    return [float(s) for s in net.history[:, "dur"]]


def accelerate(work: Work, epochs: int) -> Seconds:
    """The loop that its documentation shows."""
    import torch
    import torch.nn.functional as F
    from accelerate import Accelerator
    from torch.utils.data import DataLoader, TensorDataset

    helper = Accelerator(cpu=True)
    x, y = map(torch.from_numpy, work.data(work.samples))
    torch.manual_seed(0)
    model = work.torch()
    model, optimizer, loader = helper.prepare(
        model,
        torch.optim.Adam(model.parameters(), lr=work.rate),
        DataLoader(TensorDataset(x, y), work.batch, shuffle=True),
    )
    seconds: Seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        for inputs, targets in loader:
            optimizer.zero_grad()
            helper.backward(F.cross_entropy(model(inputs), targets))
            optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds


# name -> (module, training)
SYSTEMS: dict[str, tuple[str, Callable[[Work, int], Seconds]]] = {
    "Trainwright": ("trainwright", ours),
    "Trainwright, plain": ("trainwright", ours_plain),
    "torch loop": ("torch", bare),
    "torch loop, best settings": ("torch", bare_best),
    "Keras on TensorFlow": ("tensorflow", keras_on("tensorflow")),
    "Keras on JAX": ("jax", keras_on("jax")),
    "Keras on torch": ("keras", keras_on("torch")),
    "Lightning": ("lightning", lightning),
    "skorch": ("skorch", skorch),
    "Accelerate": ("accelerate", accelerate),
}


def main() -> None:
    system, work, epochs = sys.argv[1:]
    seconds = SYSTEMS[system][1](BY_NAME[work], int(epochs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # MB
    print(json.dumps({"seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main()
