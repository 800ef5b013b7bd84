"""What is trained: networks as their authors would write them, and data of their size that can be learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the table."""

    name: str
    batch: int
    samples: int  # of an epoch, a multiple of the batch
    data: Callable[[int], tuple[Array, Array]]  # samples -> inputs, targets
    torch: Callable[[], Any]  # the module
    keras: Callable[[], Any]  # the same as a Keras model, or None where it cannot be said so
    rate: float = 1e-3
    loss: str = "cross_entropy"


COLUMNS = 14  # as many as Adult has


def images(side: int, channels: int) -> Callable[[int], tuple[Array, Array]]:
    return lambda samples: told((samples, channels, side, side))


def rows(samples: int) -> tuple[Array, Array]:
    return told((samples, 784))


def columns(samples: int) -> tuple[Array, Array]:
    return told((samples, COLUMNS))


def series(samples: int) -> tuple[Array, Array]:
    return told((samples, 28, 28))


def told(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Noise around the middle of one of ten classes, so that there is something to learn, as in real data."""
    dice = np.random.default_rng(0)
    x, y = dice.standard_normal(shape, dtype=np.float32), dice.integers(0, 10, shape[0])
    middles = dice.standard_normal((10, *shape[1:]), dtype=np.float32)
    return x + 0.3 * middles[y], y


def characters(samples: int) -> tuple[Array, Array]:
    """Each of the 65 is followed by one of two, or by any."""
    dice = np.random.default_rng(0)
    stream = dice.integers(0, 65, (samples, 65))
    chance = dice.random(stream.shape)
    for at in range(1, stream.shape[1]):
        before = stream[:, at - 1]
        usual = np.where(chance[:, at] < 0.5, before * 7 % 65, before * 11 % 65)
        stream[:, at] = np.where(chance[:, at] < 0.9, usual, stream[:, at])
    return stream[:, :-1].copy(), stream[:, 1:].copy()


def mlp() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


def mlp_keras() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [keras.Input((784,)), layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(10)]
    )


def cnn() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 13 * 13, 128), nn.ReLU(),
        nn.Linear(128, 10),
    )  # fmt: skip


def cnn_keras() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
         layers.Dense(128, "relu"), layers.Dense(10)]
    )  # fmt: skip


def resnet() -> Any:
    """Three stages of one block each, 16, 32 and 64 channels."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.way = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
            )  # fmt: skip
            same = inputs == outputs and stride == 1
            self.short = nn.Identity() if same else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )  # fmt: skip
            self.end = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.end(self.way(x) + self.short(x))

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Block(16, 16, 1), Block(16, 32, 2),
        Block(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def resnet_keras() -> Any:
    import keras
    from keras import layers

    def block(x: Any, inputs: int, outputs: int, stride: int) -> Any:
        way = layers.Conv2D(outputs, 3, stride, "same", use_bias=False)(x)
        way = layers.Activation("relu")(layers.BatchNormalization()(way))
        way = layers.BatchNormalization()(layers.Conv2D(outputs, 3, 1, "same", use_bias=False)(way))
        if inputs != outputs or stride != 1:
            x = layers.BatchNormalization()(layers.Conv2D(outputs, 1, stride, use_bias=False)(x))
        return layers.Activation("relu")(layers.Add()([way, x]))

    given = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, 1, "same", use_bias=False)(given))
    x = layers.Activation("relu")(x)
    for inputs, outputs, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
        x = block(x, inputs, outputs, stride)
    return keras.Model(given, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def lstm() -> Any:
    from torch import nn

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.top = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.top(self.cells(x)[0][:, -1])

    return Last()


def lstm_keras() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([keras.Input((28, 28)), layers.LSTM(128), layers.Dense(10)])


def gpt() -> Any:
    """Two layers of torch's own encoder with a causal mask, 64 positions, width 128; (N, T) -> (N, classes, T)."""
    import torch
    from torch import nn

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pieces, self.places = nn.Embedding(65, 128), nn.Parameter(torch.zeros(64, 128))
            one = nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", batch_first=True, norm_first=True)
            self.stack = nn.TransformerEncoder(one, 2, enable_nested_tensor=False)
            self.top = nn.Linear(128, 65)
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(64))

        def forward(self, x: Any) -> Any:
            h = self.stack(self.pieces(x) + self.places, mask=self.mask, is_causal=True)
            return self.top(h).transpose(1, 2)

    return Small()


def tabular() -> Any:
    """The ResNet for tables of Gorishniy et al. 2021: blocks of a batch norm, two layers and what they were given."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.way = nn.Sequential(
                nn.BatchNorm1d(192), nn.Linear(192, 384), nn.ReLU(), nn.Dropout(0.1), nn.Linear(384, 192)
            )

        def forward(self, x: Any) -> Any:
            return x + self.way(x)

    return nn.Sequential(nn.Linear(COLUMNS, 192), Block(), Block(), nn.BatchNorm1d(192), nn.ReLU(), nn.Linear(192, 10))


def tabular_keras() -> Any:
    import keras
    from keras import layers

    given = keras.Input((COLUMNS,))
    x = layers.Dense(192)(given)
    for _ in range(2):
        way = layers.Dense(384, "relu")(layers.BatchNormalization()(x))
        x = layers.Add()([x, layers.Dense(192)(layers.Dropout(0.1)(way))])
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return keras.Model(given, layers.Dense(10)(x))


def absent() -> Any:
    return None


WORKS = (
    Work("MLP 784-256-256-10, batch 128", 128, 12_800, rows, mlp, mlp_keras),
    Work("CNN 28x28, batch 32", 32, 6_400, images(28, 1), cnn, cnn_keras),
    Work("CNN 28x28, batch 256", 256, 12_800, images(28, 1), cnn, cnn_keras),
    Work("ResNet 32x32, batch 128", 128, 2_560, images(32, 3), resnet, resnet_keras),
    Work("LSTM 28 steps of 128, batch 128", 128, 6_400, series, lstm, lstm_keras),
    Work("tabular ResNet, 14 columns, batch 256", 256, 25_600, columns, tabular, tabular_keras),
    Work("GPT 2x128, 64 positions, batch 32", 32, 1_280, characters, gpt, absent),
)
BY_NAME = {work.name: work for work in WORKS}
