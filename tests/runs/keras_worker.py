"""A program that trains Keras models; a process of its own, as Keras reads its backend once and warnings are errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch

import trainwright as tw
from trainwright.core.events import StepDone
from trainwright.runs.keras import adapted

RNG = np.random.default_rng(0)
X = RNG.normal(size=(500, 2)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def build(seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(64),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("relu"),
            layers.Dropout(0.1),
            layers.Dense(2),
        ]
    )


def fitted(net: Any, out: Path, **options: Any) -> tuple[tw.Run, list[float]]:
    seen: list[float] = []

    def note(event: object) -> None:
        if isinstance(event, StepDone):
            seen.extend(event.losses)

    chosen: dict[str, Any] = {"loss": "cross_entropy", "lr": 1e-2, "test": 0.2, "device": "cpu", "quiet": True}
    return tw.fit(net, (X, Y), out=out, observers=[note], **{**chosen, **options}), seen


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    net = build()
    mean = next(v for v in net.variables if v.path.endswith("moving_mean"))
    whole, losses = fitted(net, folder / "whole", epochs=12)
    each = len(losses) // 12
    assert sum(losses[-each:]) < 0.7 * sum(losses[:each]), losses
    assert whole.metrics["test/accuracy"] > 0.9 > whole.baselines["linear"]["accuracy"] + 0.2, whole.metrics
    assert mean.value.abs().max() > 0.01, "batch norm never saw a batch: the model was not called in training"
    assert whole.model is net
    assert "dense_1" in whole.summary()
    assert whole.manifest["model"]["class"] == "Sequential"

    stopped = build()
    fitted(stopped, folder / "halves", epochs=6)
    _, after = fitted(build(seed=5), folder / "halves", epochs=12, resume=folder / "halves")
    assert after == losses[-len(after) :], "a resumed training is not what it would have been"

    again = tw.open(folder / "whole", model=build(seed=9))
    assert again.predict(X[:20]) == whole.predict(X[:20])
    assert isinstance(again.model, keras.Model)

    frozen = build()
    before = frozen.layers[0].kernel.value.detach().clone()
    fitted(frozen, folder / "frozen", epochs=2, freeze=["*/dense/kernel"], ema=0.9)
    assert torch.equal(before, frozen.layers[0].kernel.value)

    module = adapted(build())
    x = torch.from_numpy(X[:64])
    with torch.no_grad():
        assert not torch.equal(module.train()(x), module(x)), "dropout sleeps in training"
        assert torch.equal(module.eval()(x), module(x)), "dropout is awake in evaluation"
    names = [list(adapted(build()).state_dict()) for _ in range(2)]
    assert names[0] == names[1], "the names depend on what was built before"

    left, right = keras.Input((1,), name="left"), keras.Input((1,), name="right")
    joined = keras.layers.Dense(32, activation="relu")(keras.layers.Concatenate()([left, right]))
    two = keras.Model([left, right], keras.layers.Dense(2)(joined))
    for inputs in ({"left": X[:, :1], "right": X[:, 1:]}, (X[:, :1], X[:, 1:])):
        run = tw.fit(two, (inputs, Y), loss="cross_entropy", epochs=1, out=None, quiet=True, device="cpu")
        assert run.state == "finished"

    refused(keras.Sequential([keras.layers.Dense(2)]), "keras.Input")


def refused(net: Any, instead: str) -> None:
    try:
        tw.fit(net, (X, Y), loss="cross_entropy", quiet=True)
    except tw.UserError as error:
        said = str(error)
    else:
        said = "nothing"
    assert instead in said, said


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    print("kept")
