"""Keras 3, on torch: a model, compile and fit."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.mistakes.plan import SEED, Array, Held, Plan

DISTRIBUTION = "keras"
WARM = ("torch._dynamo", "keras")  # imported once, for all trainings
CANNOT = frozenset({"asleep"})  # fit calls the model with training=True


def train(plan: Plan, guards: bool, held: Held) -> None:
    """https://keras.io/guides/training_with_built_in_methods/.

    Kept gradients: https://keras.io/guides/custom_train_step_in_torch/ without its first line.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import torch

    torch.autograd.set_detect_anomaly(guards)
    keras.utils.set_random_seed(SEED)
    net = made(plan, keras)
    held.weights = lambda: [np.asarray(w) for w in net.get_weights()]
    held.predict = lambda x: np.asarray(net.predict(x, verbose=0))
    held.first = held.weights()

    class Count(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            held.steps += 1

    net.compile(moved(plan, guards, keras), loss(plan, keras))
    callbacks: list[Any] = [Count()]
    if guards:
        callbacks += [
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True, verbose=1),
        ]
        if not plan.schedule:
            callbacks.append(keras.callbacks.ReduceLROnPlateau(patience=3, verbose=1))
    x, y = plan.train
    net.fit(
        x, y, batch_size=plan.batch, epochs=plan.epochs, shuffle=plan.order == "drawn", verbose=2,
        validation_data=plan.valid, callbacks=callbacks,
    )  # fmt: skip


def made(plan: Plan, keras: Any) -> Any:
    """The network, in its layers and with its own first weights."""

    class Detached(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return keras.ops.stop_gradient(x)

    class RowsMixed(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            rows, columns = keras.ops.shape(x)
            return keras.ops.transpose(keras.ops.reshape(x, (columns, rows)))

    last = [layer for layer in plan.layers if layer.startswith("dense")][-1]
    first = next(layer for layer in plan.layers if layer.startswith("dense"))

    def layer(text: str, dead: bool) -> Any:
        word, *numbers = text.split()
        match word:
            case "dense":
                start: dict[str, Any] = {"kernel_initializer": "zeros"} if plan.start == "zeros" else {}
                if dead and plan.start == "dead":
                    start["bias_initializer"] = keras.initializers.Constant(-100.0)
                return keras.layers.Dense(int(numbers[1]), trainable=not plan.resting or text == last, **start)
            case "norm":
                return keras.layers.BatchNormalization()
            case "dropout":
                return keras.layers.Dropout(float(numbers[0]))
            case "softmax":
                return keras.layers.Softmax(axis=0 if numbers else -1)
            case "detached":
                return Detached()
            case "rows":
                return RowsMixed()
        return keras.layers.Activation(word)

    layers = [layer(text, n == 0 and text == first) for n, text in enumerate(plan.layers)]

    class Network(keras.Model):  # type: ignore[misc]
        """Subclassed, as its guide shows it, where a layer or a step of one's own is meant."""

        def __init__(self) -> None:
            super().__init__()
            self.all = layers
            if plan.spare:
                self.spare = keras.layers.Dense(32)
                self.spare.build((None, 32))

        def call(self, x: Any, training: bool = False) -> Any:
            for one in self.all:
                x = one(x, training=training) if isinstance(one, NORMAL) else one(x)
            return x

    class Keeps(Network):
        def train_step(self, data: Any) -> Any:
            x, y = data
            value = self.compute_loss(y=y, y_pred=self(x, training=True))
            value.backward()
            weights = list(self.trainable_weights)
            import torch

            with torch.no_grad():
                self.optimizer.apply([w.value.grad for w in weights], weights)
            return {"loss": value}

    NORMAL = (keras.layers.Dropout, keras.layers.BatchNormalization)
    net: Any = (
        (Keeps if plan.loop == "kept" else Network)()
        if plan.spare or plan.loop == "kept"
        else keras.Sequential([keras.layers.Input((plan.train[0].shape[1],)), *layers])
    )
    net.build((None, plan.train[0].shape[1]))
    return net


def moved(plan: Plan, guards: bool, keras: Any) -> Any:
    """The optimizer."""
    rate: Any = plan.rate
    if plan.schedule:
        each = plan.per_epoch if plan.schedule == "halved" else 1
        rate = keras.optimizers.schedules.ExponentialDecay(plan.rate, each, 0.5, staircase=True)
    more: dict[str, Any] = {"weight_decay": plan.decay} if plan.decay else {}
    more |= {"global_clipnorm": plan.clip or 1.0} if plan.clip or guards else {}
    if plan.optimizer == "adam":
        return keras.optimizers.Adam(rate, **more)
    return keras.optimizers.SGD(rate, momentum=plan.momentum, **more)


def loss(plan: Plan, keras: Any) -> Any:
    """By what it takes."""
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def nll(y: Any, output: Any) -> Any:
        return -keras.ops.take_along_axis(output, keras.ops.reshape(keras.ops.cast(y, "int64"), (-1, 1)), axis=1)

    return {
        "cross_entropy": sparse,
        "mse": keras.losses.MeanSquaredError(),
        "bce": keras.losses.BinaryCrossentropy(),
        "bce_logits": keras.losses.BinaryCrossentropy(from_logits=True),
        "nll": nll,
        "risen": lambda y, output: -sparse(y, output),
    }[plan.loss]


def predicted(net: Any, x: Array) -> Array:
    """(N, …)."""
    return np.asarray(net.predict(x, verbose=0))
