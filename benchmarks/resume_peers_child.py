"""One training of `resume_peers` in one system: python -m benchmarks.resume_peers_child SYSTEM WHAT FOLDER.

WHAT is ``straight`` (four epochs), ``begin`` (two), ``go-on`` (to four, from what FOLDER holds), or ``killed`` (four,
but the process is killed in the middle of the third). Every system goes on by the way that its documentation tells.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROWS, COLUMNS, BATCH, EPOCHS, SAVE, RATE = 512, 8, 32, 4, 5, 1e-2
PER_EPOCH = ROWS // BATCH
KILL = 2 * PER_EPOCH + PER_EPOCH // 2 + 2  # training step within which the process is killed


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(np.int64)


def epochs(what: str) -> int:
    return EPOCHS // 2 if what == "begin" else EPOCHS


def network() -> Any:
    """The same one for all, with the same first weights; it ends the process at its step where it is told to."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.layers = nn.Sequential(nn.Linear(COLUMNS, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))

        def forward(self, x: Any) -> Any:
            if self.training:
                tick()
            return self.layers(x)

    return Network()


_STEPS = [0]


def tick() -> None:
    _STEPS[0] += 1
    if sys.argv[2] == "killed" and _STEPS[0] == KILL:
        os.kill(os.getpid(), signal.SIGKILL)


def torch_loader() -> Any:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    x, y = data()
    return DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=BATCH, shuffle=True)


def state_of(net: Any) -> dict[str, Any]:
    return {k: v.detach().numpy() for k, v in net.state_dict().items()}


def trainwright(what: str, folder: Path) -> Mapping[str, Any]:
    """docs/howto/own-module.md: the same call, with resume= where it goes on."""
    import torch

    import trainwright as tw

    net, out = network(), folder / "run"
    going_on = {"resume": out} if what == "go-on" else {"out": out}
    _STEPS[0] = -1  # the first batch is tried before the first step
    tw.fit(
        net,
        torch_loader(),
        loss="cross_entropy",
        optimizer=lambda weights: torch.optim.AdamW(weights, lr=RATE),
        epochs=epochs(what),
        save_every=f"{SAVE} steps",
        quiet=True,
        **going_on,
    )
    return state_of(net)


def lightning(what: str, folder: Path) -> Mapping[str, Any]:
    """https://lightning.ai/docs/pytorch/stable/common/checkpointing_basic.html: fit(ckpt_path=…)."""
    import lightning as pl
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, index: int) -> Any:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=RATE)

    pl.seed_everything(0, verbose=False)
    saving = ModelCheckpoint(folder, every_n_train_steps=SAVE, save_top_k=-1, save_last=True)
    ending = ModelCheckpoint(folder / "epochs", every_n_epochs=1, save_top_k=-1)
    module = Module()
    trainer = pl.Trainer(
        max_epochs=epochs(what), accelerator="cpu", logger=False, callbacks=[saving, ending], deterministic=True,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    found = sorted(folder.rglob("*.ckpt"), key=lambda p: p.stat().st_mtime)
    trainer.fit(module, torch_loader(), ckpt_path=found[-1] if what == "go-on" else None)
    return state_of(module.net)


def keras(what: str, folder: Path) -> Mapping[str, Any]:
    """https://keras.io/api/callbacks/backup_and_restore/: the callback, and fit again."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras as k

    k.utils.set_random_seed(0)
    x, y = data()
    layers = [k.layers.Dense(32, activation="relu"), k.layers.Dropout(0.2), k.layers.Dense(2)]
    net = k.Sequential([k.layers.Input((COLUMNS,)), *layers])
    loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(k.optimizers.AdamW(RATE), loss)
    backup = k.callbacks.BackupAndRestore(str(folder / "backup"), save_freq=SAVE, delete_checkpoint=False)
    counting = k.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: tick())
    if what in ("begin", "straight"):
        backup = k.callbacks.BackupAndRestore(str(folder / "backup"), save_freq="epoch", delete_checkpoint=False)
    net.fit(x, y, batch_size=BATCH, epochs=epochs(what), verbose=0, callbacks=[backup, counting])
    return {str(i): np.asarray(w) for i, w in enumerate(net.get_weights())}


def huggingface(what: str, folder: Path) -> Mapping[str, Any]:
    """https://huggingface.co/docs/transformers/trainer: train(resume_from_checkpoint=True)."""
    import torch
    from torch import nn
    from transformers import Trainer, TrainingArguments

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Any, labels: Any) -> Any:
            out = self.net(x)
            return {"loss": nn.functional.cross_entropy(out, labels), "logits": out}

    x, y = data()
    rows = [{"x": torch.from_numpy(a), "labels": int(b)} for a, b in zip(x, y, strict=True)]
    arguments = TrainingArguments(
        str(folder), num_train_epochs=epochs(what), per_device_train_batch_size=BATCH, learning_rate=RATE, seed=0,
        lr_scheduler_type="constant", save_strategy="steps", save_steps=SAVE if what != "begin" else 2 * PER_EPOCH,
        report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    net = Wrapped()
    Trainer(net, arguments, train_dataset=rows).train(resume_from_checkpoint=what == "go-on")
    return state_of(net.net)


def skorch(what: str, folder: Path) -> Mapping[str, Any]:
    """https://skorch.readthedocs.io/en/stable/user/save_load.html: Checkpoint and LoadInitState."""
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Checkpoint, LoadInitState

    torch.manual_seed(0)
    saving = Checkpoint(dirname=str(folder), monitor=None)
    callbacks = [saving, *([LoadInitState(saving)] if what == "go-on" else [])]
    net = NeuralNetClassifier(
        network(), criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=RATE, batch_size=BATCH,
        max_epochs=EPOCHS // 2 if what in ("begin", "go-on") else EPOCHS, iterator_train__shuffle=True,
        train_split=None, verbose=0, callbacks=callbacks,
    )  # fmt: skip
    net.fit(*data())
    return state_of(net.module_)


def fastai(what: str, folder: Path) -> Mapping[str, Any]:
    """https://docs.fast.ai/callback.tracker.html: SaveModelCallback, load, and fit(start_epoch=…)."""
    import torch
    from fastai.callback.tracker import SaveModelCallback
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.torch_core import set_seed

    set_seed(0, reproducible=True)
    x, y = data()
    rows = [(torch.from_numpy(a), torch.tensor(b)) for a, b in zip(x, y, strict=True)]
    loaders = DataLoaders(DataLoader(rows, bs=BATCH, shuffle=True), DataLoader(rows[:BATCH], bs=BATCH))
    net = network()
    learner = Learner(loaders, net, loss_func=torch.nn.functional.cross_entropy, lr=RATE, path=folder, model_dir=".")
    learner.remove_cb(type(next(c for c in learner.cbs if "Progress" in type(c).__name__)))
    saving = SaveModelCallback(every_epoch=True, with_opt=True, fname="epoch")
    start = EPOCHS // 2 if what == "go-on" else 0
    if start:
        learner.load(f"epoch_{start - 1}")
    with learner.no_logging():
        learner.fit(epochs(what), cbs=[saving], start_epoch=start)
    return state_of(net)


SYSTEMS: dict[str, tuple[str, Callable[[str, Path], Mapping[str, Any]]]] = {  # name: (distribution, program)
    "Trainwright": ("trainwright", trainwright),
    "HF Trainer": ("transformers", huggingface),
    "Lightning": ("lightning", lightning),
    "Keras": ("keras", keras),
    "skorch": ("skorch", skorch),
    "fastai": ("fastai", fastai),
}

if __name__ == "__main__":
    system, what, place = sys.argv[1:]
    Path(place).mkdir(parents=True, exist_ok=True)
    np.savez(Path(place) / "weights.npz", **SYSTEMS[system][1](what, Path(place)))
