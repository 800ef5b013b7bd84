"""How long each system takes from the start of its process until it tells 98.5 % of MNIST's test images right.

    script/bench speed.reached --python /path/to/a/venv/with/the/peers/bin/python [--seeds 10] [--json OUT]

Ten seeds take two to three hours; with --longest 1.5 a peer is ended after 1.5 times what Trainwright took with
the same seed, and ten take one. With --json each run is written as it ends, and the same command goes on behind the
last of them.

The small CNN of the table of speeds, batches of 128, Adam at 1e-3; the 10,000 test images are judged after each of at
most 12 epochs, in each system's own documented way. Everything counts: imports, reading the images, finding a plan or
compiling, judging, and ending. A round is one seed of every system, in an order that turns with the seed.

MNIST is read from TRAINWRIGHT_DATA.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.systems import SYSTEMS
from benchmarks.speed.works import cnn, cnn_keras

GOAL, MOST, BATCH, RATE = 0.985, 12, 128, 1e-3
Reached = list[float]  # the accuracy after each epoch


def mnist(part: str) -> tuple[Any, Any]:
    """(N, 1, 28, 28) float32 from 0 to 1, and (N,) int64."""
    folder = Path(os.environ["TRAINWRIGHT_DATA"]) / "mnist"
    pixels, labels = (
        gzip.decompress(next(folder.glob(f"{part}-{kind}*.gz")).read_bytes()) for kind in ("images", "labels")
    )
    x = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
    return x, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


def ours(seed: int) -> Reached:
    import torch

    import trainwright as tw
    from trainwright.core.events import EvalDone
    from trainwright.observers.goal import Goal

    reached: Reached = []

    def observe(event: Any) -> None:
        if isinstance(event, EvalDone) and event.part == "valid":
            reached.append(event.metrics["accuracy"])

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as place:
        tw.fit(
            cnn(), mnist("train"), loss="cross_entropy", valid=mnist("t10k"), epochs=MOST, batch_size=BATCH,
            optimizer="adam", lr=RATE, seed=seed, observers=[observe, Goal(metric="accuracy", above=GOAL)],
            out=Path(place) / "run", quiet=True,
        )  # fmt: skip
    return reached


def bare(seed: int) -> Reached:
    import torch
    import torch.nn.functional as F

    torch.manual_seed(seed)
    (x, y), (xt, yt) = (map(torch.from_numpy, mnist(part)) for part in ("train", "t10k"))
    model, reached = cnn(), Reached()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    while len(reached) < MOST and not (reached and reached[-1] >= GOAL):
        for ids in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(x[ids]), y[ids]).backward()
            optimizer.step()
        with torch.no_grad():
            right = [(model(a).argmax(1) == b).sum() for a, b in zip(xt.split(1000), yt.split(1000), strict=True)]
        reached.append(int(torch.stack(right).sum()) / len(xt))
    return reached


def keras_on(backend: str) -> Callable[[int], Reached]:
    def trained(seed: int) -> Reached:
        os.environ["KERAS_BACKEND"] = backend
        import keras

        class Enough(keras.callbacks.Callback):  # type: ignore[misc]
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                self.model.stop_training = logs["val_accuracy"] >= GOAL

        keras.utils.set_random_seed(seed)
        (x, y), (xt, yt) = ((np.moveaxis(x, 1, -1).copy(), y) for x, y in (mnist("train"), mnist("t10k")))
        model = cnn_keras()
        model.compile(
            keras.optimizers.Adam(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )  # fmt: skip
        told = model.fit(
            x, y, batch_size=BATCH, epochs=MOST, verbose=0, validation_data=(xt, yt), validation_batch_size=1000,
            callbacks=[Enough()],
        )  # fmt: skip
        return [float(a) for a in told.history["val_accuracy"]]

    return trained


def lightning(seed: int) -> Reached:
    import lightning as L
    import torch
    import torch.nn.functional as F
    from lightning.pytorch.callbacks import EarlyStopping
    from torch.utils.data import DataLoader, TensorDataset

    reached: Reached = []

    class Module(L.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = cnn()

        def training_step(self, batch: Any, _: int) -> Any:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

        def on_validation_epoch_end(self) -> None:
            reached.append(float(self.trainer.callback_metrics["accuracy"]))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=RATE)

    L.seed_everything(seed, verbose=False)
    parts = [TensorDataset(*map(torch.from_numpy, mnist(part))) for part in ("train", "t10k")]
    trainer = L.Trainer(
        max_epochs=MOST, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[EarlyStopping("accuracy", mode="max", stopping_threshold=GOAL, patience=MOST)],
    )  # fmt: skip
    trainer.fit(Module(), DataLoader(parts[0], BATCH, shuffle=True), DataLoader(parts[1], 1000))
    return reached


def skorch(seed: int) -> Reached:
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    class Enough(Callback):  # type: ignore[misc]
        def on_epoch_end(self, net: Any, **_: Any) -> None:
            if net.history[-1, "valid_acc"] >= GOAL:
                raise KeyboardInterrupt  # how its documentation ends a training early

    torch.manual_seed(seed)
    net = NeuralNetClassifier(
        cnn(), criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=RATE, batch_size=BATCH,
        max_epochs=MOST, train_split=predefined_split(Dataset(*mnist("t10k"))), iterator_train__shuffle=True,
        verbose=0, callbacks=[Enough()],
    )  # fmt: skip
    net.fit(*mnist("train"))
    return [float(a) for a in net.history[:, "valid_acc"]]


def accelerate(seed: int) -> Reached:
    import torch
    import torch.nn.functional as F
    from accelerate import Accelerator
    from torch.utils.data import DataLoader, TensorDataset

    helper = Accelerator(cpu=True)
    torch.manual_seed(seed)
    parts = [TensorDataset(*map(torch.from_numpy, mnist(part))) for part in ("train", "t10k")]
    model, reached = cnn(), Reached()
    model, optimizer, train, test = helper.prepare(
        model, torch.optim.Adam(model.parameters(), lr=RATE), DataLoader(parts[0], BATCH, shuffle=True),
        DataLoader(parts[1], 1000),
    )  # fmt: skip
    while len(reached) < MOST and not (reached and reached[-1] >= GOAL):
        for inputs, targets in train:
            optimizer.zero_grad()
            helper.backward(F.cross_entropy(model(inputs), targets))
            optimizer.step()
        with torch.no_grad():
            right = [helper.gather_for_metrics((model(a).argmax(1) == b).float()) for a, b in test]
        reached.append(float(torch.cat(right).mean()))
    return reached


WAYS: dict[str, Callable[[int], Reached]] = {
    "Trainwright": ours,
    "torch loop": bare,
    "Keras on TensorFlow": keras_on("tensorflow"),
    "Keras on JAX": keras_on("jax"),
    "Keras on torch": keras_on("torch"),
    "Lightning": lightning,
    "skorch": skorch,
    "Accelerate": accelerate,
}


def once(system: str, seed: int, asked: argparse.Namespace, longest: float | None = None) -> dict[str, Any]:
    """Seconds of a process, and what it reached; nothing where it was ended after the longest time it had."""
    threads = {"OMP_NUM_THREADS": str(asked.threads), "TF_NUM_INTRAOP_THREADS": str(asked.threads)}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    whole = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # as an installed one has it
    began = time.perf_counter()
    try:
        ended = subprocess.run(
            [sys.executable if system == "Trainwright" else asked.python, "-m", "benchmarks.speed.reached", "--one",
             system, str(seed)],
            env={**whole, **threads, **quiet}, capture_output=True, text=True, check=False, timeout=longest,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"seconds": time.perf_counter() - began, "reached": [], "there": False}
    seconds = time.perf_counter() - began
    if ended.returncode:
        return {"failed": (ended.stderr.strip().splitlines() or ["without a word"])[-1][:120]}
    reached = json.loads(ended.stdout.strip().splitlines()[-1])
    return {"seconds": seconds, "reached": reached, "there": reached[-1] >= GOAL}


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """The fastest first."""
    lines = ["| system | seconds to 98.5 %, median (lowest to highest) | epochs, median | seeds that came there |"]
    lines.append("|---|---|---|---|")
    rows = []
    for name, runs in found.items():
        if failed := [r["failed"] for r in runs if "failed" in r]:
            rows.append((float("inf"), f"| {name} | {failed[0]} | | |"))
            continue
        seconds = [r["seconds"] for r in runs]
        epochs = [len(r["reached"]) for r in runs if r["there"]]
        middle, there = statistics.median(seconds), len(epochs)
        over = "more than " if there < len(runs) else ""  # those that were ended would have taken longer
        spread = f"{over}{middle:.1f} ({min(seconds):.1f} to {over}{max(seconds):.1f})"
        usual = f"{statistics.median(epochs):g}" if epochs else ""
        rows.append((middle, f"| {name} | {spread} | {usual} | {there} of {len(runs)} |"))
    return "\n".join([*lines, *(line for _, line in sorted(rows))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="of an environment in which the peers are installed")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--systems", nargs="*", default=list(WAYS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--longest", type=float, help="times what Trainwright took, after which a peer is ended")
    parser.add_argument("--json", type=Path, help="every figure, for others to look into")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(WAYS[asked.one[0]](int(asked.one[1]))))
        return
    there = json.loads(asked.json.read_text(encoding="utf-8")) if asked.json and asked.json.exists() else {}
    found: dict[str, list[dict[str, Any]]] = {name: there.get(name, []) for name in asked.systems}
    for seed in range(asked.seeds):
        turn = seed % len(asked.systems)
        order = asked.systems[turn:] + asked.systems[:turn]
        if asked.longest:
            order.sort(key=lambda name: name != "Trainwright")
        for name in order:
            if len(found[name]) > seed:
                continue
            longest = None
            if asked.longest and name != "Trainwright":
                longest = asked.longest * found["Trainwright"][seed]["seconds"]
            found[name].append(once(name, seed, asked, longest))
            print(name, seed, found[name][-1], file=sys.stderr, flush=True)
            if asked.json:
                asked.json.write_text(json.dumps({**there, **found}, indent=1) + "\n", encoding="utf-8")
    print(table({name: runs for name, runs in found.items() if runs}))


if __name__ == "__main__":
    assert set(WAYS) <= set(SYSTEMS)
    main()
