"""Recipes that need nothing but the install: ``trainwright train digits``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SPLIT = {"valid": 0.1, "test": 0.2}

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "digits": {
        "name": "digits",
        "task": {"name": "image_classification"},
        "data": {"source": "embedded", "set": "digits", **_SPLIT},
        "model": {"name": "cnn"},
        "optimizer": {"name": "adamw", "lr": 2e-3},
        "schedule": {"name": "cosine"},
        "budget": "30 epochs",
    },
    "iris": {
        "name": "iris",
        "task": {"name": "tabular_classification"},
        "data": {"source": "embedded", "set": "iris", **_SPLIT},
        "model": {"name": "mlp", "width": 64},
        "batch_size": 16,
        "budget": "50 epochs",
    },
    "wine": {
        "name": "wine",
        "task": {"name": "tabular_classification"},
        "data": {"source": "embedded", "set": "wine", **_SPLIT},
        "model": {"name": "mlp", "width": 64},
        "batch_size": 16,
        "budget": "50 epochs",
    },
    "breast_cancer": {
        "name": "breast_cancer",
        "task": {"name": "tabular_classification"},
        "data": {"source": "embedded", "set": "breast_cancer", **_SPLIT},
        "model": {"name": "mlp", "width": 64},
        "batch_size": 32,
        "budget": "30 epochs",
    },
    "diabetes": {
        "name": "diabetes",
        "task": {"name": "tabular_regression"},
        "data": {"source": "embedded", "set": "diabetes", **_SPLIT},
        "model": {"name": "mlp", "width": 32, "dropout": 0.2},
        "batch_size": 32,
        "budget": "30 epochs",
    },
    "gpt": {
        "name": "gpt",
        "task": {"name": "generation", "context": 128, "write": 160},
        "data": {"source": "topics", "valid": 0.05, "test": 0.05},
        "model": {"name": "gpt", "size": "micro", "activation": "relu2"},
        "optimizer": {"name": "adamw", "lr": 4e-3, "betas": (0.9, 0.98), "weight_decay": 0.1},
        "schedule": {"name": "linear", "warmup": 0.05},
        "clip": 1.0,
        "batch_size": 8,
        "budget": "1200 steps",
        "eval_every": "150 steps",
        "save_every": "150 steps",
    },
}
