"""What a recipe usually says, task by task: good on most data without a change, and affordable on two cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Early stopping ends a training long before its budget where the table is small or easy.
_TABLE: Mapping[str, Any] = {
    "model": {"name": "tabm"},
    "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.0},
    "schedule": {"name": "cosine"},
    "batch_size": 256,
    "budget": "60 epochs",
    "patience": 16,
    "ema": 0.998,
    "clip": 1.0,
}

# A budget in steps takes about as long for 500 images as for 60,000, which few images need: they are seen more often.
USUAL: Mapping[str, Mapping[str, Any]] = {
    "image_classification": {
        "model": {"name": "resnet", "depth": 14},
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        "schedule": {"name": "one_cycle"},
        "batch_size": 64,
        "budget": "4000 steps",
        "eval_every": "200 steps",
        "save_every": "200 steps",
    },
    "object_detection": {
        "model": {"name": "fcos"},
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup": 0.05},
        "batch_size": 8,
        "budget": "3000 steps",
        "eval_every": "300 steps",
        "save_every": "300 steps",
        "clip": 5.0,
        "ema": 0.998,
    },
    "text_classification": {
        "task": {"silenced": 0.3},
        "model": {"name": "text_cnn"},
        "optimizer": {"name": "adamw", "lr": 4e-3, "weight_decay": 0.0},
        "schedule": {"name": "cosine"},
        "batch_size": 64,
        "budget": "4 epochs",
        "ema": 0.998,
    },
    "music": {
        "model": {"name": "frame_rnn", "chords": "in_turn", "cell": "gru", "units": 256, "hidden": 256, "dropout": 0.3},
        "optimizer": {"name": "adamw", "lr": 5e-3},
        "schedule": {"name": "cosine", "warmup": 0.05},
        "clip": 1.0,
        "batch_size": 16,
        "budget": "60 epochs",
        "eval_every": "5 epochs",
    },
    "music_events": {
        "model": {"name": "gpt", "size": "micro", "activation": "relu2", "dropout": 0.1},
        "optimizer": {"name": "adamw", "lr": 2e-3, "betas": (0.9, 0.98), "weight_decay": 0.1},
        "schedule": {"name": "cosine", "warmup": 0.05},
        "clip": 1.0,
        "batch_size": 8,
        "budget": "20 epochs",
    },
    "generation": {
        "model": {"name": "gpt", "activation": "relu2"},
        "optimizer": {"name": "adamw", "lr": 4e-3, "betas": (0.9, 0.98), "weight_decay": 0.1},
        "schedule": {"name": "linear", "warmup": 0.05},
        "clip": 1.0,
        "batch_size": 8,
        "budget": "2000 steps",
        "eval_every": "200 steps",
        "save_every": "200 steps",
        "task": {"context": 128},
    },
    "autoencoding": {
        "model": {"name": "autoencoder"},
        "optimizer": {"name": "adamw", "lr": 2e-3},
        "schedule": {"name": "cosine"},
        "clip": 1.0,
        "batch_size": 128,
        "budget": "3000 steps",
        "eval_every": "300 steps",
        "save_every": "300 steps",
    },
    "forecasting": {
        "task": {"loss": "quantile"},
        "model": {"name": "nlinear"},
        "optimizer": {"name": "adamw", "lr": 3e-3},
        "schedule": {"name": "cosine"},
        "batch_size": 32,
        "budget": "2000 steps",
        "eval_every": "200 steps",
        "save_every": "200 steps",
    },
    "audio_classification": {
        "model": {"name": "audio_cnn"},
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01},
        "schedule": {"name": "one_cycle"},
        "batch_size": 32,
        "budget": "20 epochs",
        "clip": 1.0,
    },
    "speech_recognition": {
        "model": {"name": "conv_rnn"},
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 0.05},
        "batch_size": 16,
        "budget": "60 epochs",
        "eval_every": "4 epochs",
        "save_every": "4 epochs",
        "clip": 1.0,
    },
    "translation": {
        "model": {"name": "transformer", "hidden": 512, "activation": "relu2", "dropout": 0.15},
        "optimizer": {"name": "adamw", "lr": 2e-3, "betas": (0.9, 0.98), "weight_decay": 0.01},
        "schedule": {"name": "linear", "warmup": 0.1},
        "clip": 1.0,
        "batch_size": 64,
        "budget": "8 epochs",
        "ema": 0.998,
        "task": {"tokenizer": {"name": "bpe"}, "length": 128},
    },
    # accuracy on a few hundred rows is too coarse to tell which weights are best: docs/decisions/0011
    "tabular_classification": {**_TABLE, "monitor": "log_loss"},
    "tabular_regression": _TABLE,
}
