"""The built-in tasks as cases: small synthetic records with a rule that can be learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from tests.case import Case
from tests.shapes import scenes
from tests.sounds import calls, utterances
from trainwright.core.kinds import models, tasks
from trainwright.core.schema import options
from trainwright.core.task import Record


def built(name: str, chosen: dict[str, Any]) -> Callable[[Mapping[str, Any]], nn.Module]:
    def build(sizes: Mapping[str, Any]) -> nn.Module:
        known = options(models[name])
        return models[name](**{k: v for k, v in sizes.items() if k in known}, **chosen)

    return build


def rows(n: int = 40, seed: int = 0) -> list[Record]:
    """Numbers, some of them missing, and a category; the label and the value follow from them."""
    rng = np.random.default_rng(seed)
    found: list[Record] = []
    for i in range(n):
        a, b, c = rng.normal(), rng.normal(), "xyz"[int(rng.integers(3))]
        value = a + (2 if c == "x" else -b)
        found.append({"a": a, "b": None if i % 7 == 3 else b, "c": c, "label": "hi" if value > 0 else "lo"})
    return found


def priced(n: int = 40, seed: int = 0) -> list[Record]:
    """The same rows with a number to predict."""
    return [{**r, "label": float(r["a"]) + (r["c"] == "x")} for r in rows(n, seed)]


def pictures(n: int = 40, seed: int = 0) -> list[Record]:
    """Bright in the left or the right half."""
    rng = np.random.default_rng(seed)
    found: list[Record] = []
    for i in range(n):
        image = rng.integers(0, 60, (8, 8), dtype=np.uint8)
        image[:, (i % 2) * 4 : (i % 2) * 4 + 4] += 150
        found.append({"image": image, "label": "right" if i % 2 else "left"})
    return found


def films(n: int = 40, seed: int = 0) -> list[Record]:
    """Lit from dark to bright or from bright to dark: no single frame tells which."""
    rng = np.random.default_rng(seed)
    found: list[Record] = []
    for i in range(n):
        frames = rng.integers(0, 60, (5 + i % 4, 8, 8), dtype=np.uint8)
        light = np.linspace(0, 150, len(frames)).astype(np.uint8)
        frames += (light if i % 2 else light[::-1])[:, None, None]
        found.append({"video": frames, "label": "up" if i % 2 else "down"})
    return found


def arrays(n: int = 40, seed: int = 0) -> list[Record]:
    """A class that follows from the sum of two numbers."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    return [{"x": row, "y": int(row[0] + row[1] > 0)} for row in x]


def lines(n: int = 40, seed: int = 0) -> list[Record]:
    """Counting in words: what follows is told by what was written."""
    rng = np.random.default_rng(seed)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    starts = rng.integers(0, 7, n)
    return [{"text": ", ".join(words[a : a + 3]) + ".\n"} for a in starts.tolist()]


def reviews(n: int = 40, seed: int = 0) -> list[Record]:
    """Texts of different lengths, told apart by one word."""
    rng = np.random.default_rng(seed)
    found: list[Record] = []
    for i in range(n):
        words = [*rng.choice(["a", "film", "of", "the", "year"], 1 + i % 7), "good" if i % 2 else "bad"]
        found.append({"text": " ".join(rng.permutation(words)), "label": "pos" if i % 2 else "neg"})
    return found


def numbers(n: int = 40, seed: int = 0) -> list[Record]:
    """Numbers in words of two languages, of which one says the tens last."""
    rng = np.random.default_rng(seed)
    ones = [("two", "zwei"), ("three", "drei"), ("four", "vier")]
    tens = [("twenty", "zwanzig"), ("thirty", "dreißig")]
    found: list[Record] = []
    for _ in range(n):
        said = [(tens[a], ones[b]) for a, b in zip(rng.integers(0, 2, 2), rng.integers(0, 3, 2), strict=True)]
        said = said[: 1 + int(rng.integers(2))]
        english = ", ".join(f"{ten[0]} {one[0]}" for ten, one in said)
        found.append({"source": english, "target": ", ".join(f"{one[1]} und {ten[1]}" for ten, one in said)})
    return found


def chorales(n: int = 40, seed: int = 0) -> list[Record]:
    """A broken chord up and down again: the frames before tell where it goes."""
    rng = np.random.default_rng(seed)
    found: list[Record] = []
    for _ in range(n):
        first, length = int(rng.integers(45, 70)), int(rng.integers(8, 14))
        ways = [0, 4, 7, 12, 7, 4]
        found.append({"steps": [[first, first + 12 + ways[k % 6]] for k in range(length)]})
    return found


def tides(n: int = 80, seed: int = 0, gaps: bool = False) -> list[Record]:
    """Two series with a daily rhythm, in units of their own, one of which rises; with ``gaps``, some are missing."""
    rng = np.random.default_rng(seed)
    found: list[Record] = []
    for t in range(n):
        day = 2 * np.pi * t / 24
        told: dict[str, Any] = {"time": f"2024-{1 + t // 672:02}-{1 + t // 24 % 28:02} {t % 24:02}:00"}
        told["sea"] = float(500 + 80 * np.sin(day) + t + rng.normal())
        told["air"] = None if gaps and t % 9 == 4 else float(20 + 6 * np.cos(day) + 0.1 * rng.normal())
        found.append(told)
    return found


CONVOLUTIONS: tuple[Any, ...] = (
    {"name": "conv", "filters": 4},
    "layer_norm",
    "relu",
    "max_pool",
    {"name": "residual", "layers": ({"name": "conv", "filters": 4}, "selu")},
)
RECURRENT: tuple[Any, ...] = (
    {"name": "simple_rnn", "units": 8, "give": "all"},
    {"name": "lstm", "units": 8, "give": "all"},
    {"name": "gru", "units": 8},
)
READER = {"width": 8, "units": 8, "cell": "lstm", "layers": 2, "dropout": 0.0, "embedding_dropout": 0.0}
SMALL = {"members": 3, "width": 16, "size": 4, "dropout": 0.0}

BUILTIN: Sequence[Case] = (
    Case(
        "tabular_classification",
        lambda: tasks["tabular_classification"](target="label"),
        built("mlp", {"width": 16}),
        rows,
    ),
    Case(
        "tabular_regression", lambda: tasks["tabular_regression"](target="label"), built("mlp", {"width": 16}), priced
    ),
    Case("members of classes", lambda: tasks["tabular_classification"](target="label"), built("tabm", SMALL), rows),
    Case("members of values", lambda: tasks["tabular_regression"](target="label"), built("tabm", SMALL), priced),
    Case(
        "image_classification",
        lambda: tasks["image_classification"](),
        built("cnn", {"filters": (4, 8), "dense": (16,)}),
        pictures,
    ),
    Case(
        "video_classification",
        lambda: tasks["video_classification"](frames=3),
        built("video", {"filters": (4, 8), "features": 16, "units": 8}),
        films,
    ),
    Case(
        "audio_classification",
        lambda: tasks["audio_classification"](bands=16, noise=20.0),
        built("audio_cnn", {"filters": (4, 8), "dropout": 0.0}),
        calls,
        batch_statistics=True,
    ),
    Case(
        "object_detection",
        lambda: tasks["object_detection"](size=64),
        built("fcos", {"width": 4, "features": 8, "towers": 1}),
        scenes,
        batch_statistics=True,
    ),
    Case(
        "speech_recognition",
        lambda: tasks["speech_recognition"](bands=16, shorten=2, beams=2),
        built("conv_rnn", {"units": 12, "layers": 1, "channels": 4, "dropout": 0.0}),
        utterances,
    ),
    Case(
        "speech that looks at itself",
        lambda: tasks["speech_recognition"](bands=16, shorten=1, beams=1),
        built("conformer", {"width": 16, "depth": 1, "heads": 2, "kernel": 5, "channels": 4, "dropout": 0.0}),
        utterances,
    ),
    Case(
        "text_classification",
        lambda: tasks["text_classification"](silenced=0.1),
        built("text_cnn", {"width": 8, "filters": 4, "dropout": 0.0, "embedding_dropout": 0.0}),
        reviews,
    ),
    Case("texts read in both directions", lambda: tasks["text_classification"](), built("rnn", READER), reviews),
    Case(
        "texts that look at themselves",
        lambda: tasks["text_classification"](tokenizer="characters"),
        built("transformer_encoder", {"width": 16, "heads": 2, "dropout": 0.0}),
        reviews,
    ),
    Case(
        "resnet",
        lambda: tasks["image_classification"](),
        built("resnet", {"depth": 8, "width": 4}),
        pictures,
        batch_statistics=True,
    ),
    Case(
        "sequential of images",
        lambda: tasks["image_classification"](),
        built("sequential", {"layers": (*CONVOLUTIONS, "global_pool", {"name": "dense", "units": 8}, "gelu")}),
        pictures,
    ),
    Case(
        "sequential of rows of pixels",
        lambda: tasks["image_classification"](),
        built("sequential", {"layers": RECURRENT}),
        pictures,
    ),
    Case(
        "sequential of a table",
        lambda: tasks["tabular_classification"](target="label"),
        built("sequential", {"layers": ({"name": "dense", "units": 16}, "batch_norm", "silu")}),
        rows,
        batch_statistics=True,
    ),
    Case("generation", lambda: tasks["generation"](context=16, write=4), built("gpt", {"size": "nano"}), lines),
    Case(
        "recurrent generation",
        lambda: tasks["generation"](context=16, write=4),
        built("rnn_lm", {"width": 16, "units": 24}),
        lines,
    ),
    Case(
        "translation",
        lambda: tasks["translation"](tokenizer="characters", length=40, beams=2),
        built("transformer", {"width": 16, "depth": 1, "heads": 2, "dropout": 0.0}),
        numbers,
    ),
    Case(
        "recurrent translation",
        lambda: tasks["translation"](tokenizer={"name": "bpe", "pieces": 270}, shared=False, length=40, beams=2),
        built("gru_attention", {"width": 8, "units": 12, "dropout": 0.0}),
        numbers,
    ),
    Case(
        "music",
        lambda: tasks["music"](length=10, write=3, primer=2, transpose=2),
        built("frame_rnn", {"units": 16, "hidden": 16, "dropout": 0.0}),
        chorales,
    ),
    Case(
        "music of keys apart",
        lambda: tasks["music"](write=3, transpose=0),
        built("frame_tcn", {"channels": 12, "levels": 2, "dropout": 0.0}),
        chorales,
    ),
    Case(
        "music_events",
        lambda: tasks["music_events"](context=24, per_beat=2, velocities=1, write=4, primer=3, transpose=2),
        built("gpt", {"size": "nano", "depth": 1}),
        chorales,
    ),
    Case(
        "forecasting",
        lambda: tasks["forecasting"](context=8, horizon=3, season=4, loss="quantile", quantiles=(0.1, 0.5, 0.9)),
        built("series_rnn", {"units": 6, "dropout": 0.0}),
        lambda n=80, seed=0: tides(n, seed, gaps=True),
    ),
    Case(
        "autoencoding",
        lambda: tasks["autoencoding"](codes=4, label="label", noise=0.1, masked=0.1),
        built("conv_autoencoder", {"filters": (4, 4), "latent": "normal"}),
        pictures,
    ),
    Case(
        "supervised",
        lambda: tasks["supervised"](loss="cross_entropy"),
        lambda sizes: nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 2)),
        arrays,
    ),
)
