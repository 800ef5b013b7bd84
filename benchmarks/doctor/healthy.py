"""Healthy trainings of our own: recipes for ``tw.train`` and programs for ``tw.fit``, kept where a plain run learns."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

import trainwright as tw
from benchmarks.doctor.judge import Judged

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training by recipe, and how its outcome is judged."""

    id: str
    base: str | Mapping[str, Any]  # a built-in example, a file under the root, or the recipe itself
    changes: Mapping[str, Any] = field(default_factory=dict)
    status: str = "healthy"
    problems: tuple[str, ...] = ()

    def train(self, seed: int, out: Path, **more: Any) -> tw.Run:
        """Train it, in silence.

        Args:
            seed: of everything.
            out: the run folder.
            more: further changes; ``__`` stands for the dot of a key.
        """
        base = self.base
        if isinstance(base, str) and (ROOT / base).is_file():
            base = ROOT / base
        further = {key.replace("__", "."): value for key, value in more.items()}
        return tw.train(base, {**self.changes, "seed": seed, **further}, out=out, quiet=True)

    def judged(self, run: tw.Run) -> Judged:
        """The metric of the run on the part it was scored on, against the constant prediction."""
        return judged_run(run)


def judged_run(run: tw.Run) -> Judged:
    """Accuracy against the constant's, R² against 0, or the share of the constant's loss that is gone."""
    constant = run.baselines.get("constant", {})
    scores = {name.partition("/")[2]: value for name, value in run.metrics.items()}
    part: Literal["test", "valid"] = "test" if any(name.startswith("test/") for name in run.metrics) else "valid"
    scores |= {n.partition("/")[2]: v for n, v in run.metrics.items() if n.startswith(part)}
    if "accuracy" in scores and "accuracy" in constant:
        return Judged(scores["accuracy"], constant["accuracy"])
    if "r2" in scores:
        return Judged(scores["r2"], 0.0)
    if "loss" in scores and constant.get("loss"):
        return Judged(1 - scores["loss"] / constant["loss"], 0.0)
    return Judged(math.nan, 0.0)


ACTIVATIONS = ("relu", "gelu", "tanh", "silu", "elu", "leaky_relu", "selu", "mish")
OPTIMIZERS: Sequence[Mapping[str, Any]] = (
    {"name": "adamw", "lr": 2e-3},
    {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
    {"name": "adam", "lr": 2e-3},
    {"name": "rmsprop", "lr": 1e-3},
)
SCHEDULES: Sequence[Mapping[str, Any]] = (
    {"name": "cosine"},
    {"name": "constant"},
    {"name": "linear", "warmup": 0.1},
    {"name": "one_cycle"},
)


def named(text: str) -> str:
    """An id that may be a folder's name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())


def recipes() -> list[Recipe]:
    """The project's tasks: each with its models, activations and optimizers in turn."""
    return [*_tables(), *_pictures(), *_texts(), *_sets(), *_examples()]


def _turns(n: int, start: int = 0) -> list[dict[str, Any]]:
    """Optimizer, schedule and activation of the first n turns."""
    return [
        {
            "optimizer": OPTIMIZERS[i % len(OPTIMIZERS)],
            "schedule": SCHEDULES[(i // 2) % len(SCHEDULES)],
            "model.activation": ACTIVATIONS[i % len(ACTIVATIONS)],
        }
        for i in range(start, start + n)
    ]


def _tables() -> list[Recipe]:
    made = []
    models: Mapping[str, Mapping[str, Any]] = {
        "mlp": {"name": "mlp", "width": 64, "depth": 2},
        "deep mlp": {"name": "mlp", "width": 32, "depth": 4, "dropout": 0.1},
        "linear": {"name": "mlp", "depth": 0},
        "tabm": {"name": "tabm", "members": 4, "width": 32},
    }
    budgets = {"iris": "40 epochs", "wine": "30 epochs", "breast_cancer": "15 epochs", "diabetes": "30 epochs"}
    for turn, (example, (name, model)) in enumerate(product(budgets, models.items())):
        changes = {"model": model, "budget": budgets[example], **_turns(1, turn)[0]}
        made.append(Recipe(named(f"recipe-{example}, {name}"), example, changes))
    return made


def _pictures() -> list[Recipe]:
    models: Mapping[str, Mapping[str, Any]] = {
        "cnn": {"name": "cnn", "filters": [16, 32], "dense": [64]},
        "dropout": {"name": "cnn", "filters": [16], "dense": [64], "dropout": 0.3},
        "mlp": {"name": "mlp", "width": 64},
        "resnet": {"name": "resnet", "depth": 8, "width": 8},
    }
    made = []
    for turn, (name, model) in enumerate(models.items()):
        for change in _turns(4, 4 * turn):
            kept = {k: v for k, v in change.items() if k != "model.activation" or name != "resnet"}
            who = f"{change['optimizer']['name']}"
            made.append(
                Recipe(named(f"recipe-digits, {name}, {who}"), "digits", {"model": model, "budget": "8 epochs", **kept})
            )
    return made


def _texts() -> list[Recipe]:
    gpt = {"name": "gpt", "depth": 2, "heads": 4, "width": 64}
    models: Mapping[str, Mapping[str, Any]] = {
        "gpt, relu2": {**gpt, "activation": "relu2"},
        "gpt, gelu, layer": {**gpt, "activation": "gelu", "norm": "layer", "positions": "learned"},
        "gpt, swiglu, rms": {**gpt, "activation": "swiglu", "norm": "rms", "dropout": 0.1},
        "lstm": {"name": "rnn_lm", "cell": "lstm", "width": 64, "units": 64, "depth": 1},
        "gru": {"name": "rnn_lm", "cell": "gru", "width": 64, "units": 64, "tied": True},
    }
    short = {"budget": "250 steps", "eval_every": "250 steps", "save_every": "250 steps", "batch_size": 16}
    shakespeare = {"task": {"name": "generation", "tokenizer": "characters", "context": 64, "write": 8}}
    data = {"source": "documents", "path": "tinyshakespeare/input.txt", "valid": 0.02, "test": 0}
    made = []
    for (name, model), rate in product(models.items(), (4e-3, 2e-3)):
        recipe = {**shakespeare, "data": data, "model": model, "optimizer": {"name": "adamw", "lr": rate}, **short}
        recipe |= {"clip": 1.0, "schedule": {"name": "linear", "warmup": 0.1}}
        made.append(Recipe(named(f"recipe-shakespeare, {name}, {rate}"), recipe))
    return made


def _sets() -> list[Recipe]:
    """Public sets, for some steps each."""
    made = []
    tables = {
        "adult": ("tabular_classification", "300 steps"),
        "titanic": ("tabular_classification", "200 steps"),
        "telco_churn": ("tabular_classification", "300 steps"),
        "wine_quality_red": ("tabular_regression", "300 steps"),
        "wine_quality_white": ("tabular_regression", "300 steps"),
        "california_housing": ("tabular_regression", "400 steps"),
    }
    models = ({"name": "mlp", "width": 64}, {"name": "tabm", "members": 4, "width": 64})
    for (turn, (name, (task, budget))), model in product(enumerate(tables.items()), models):
        data = {"source": "catalogue", "set": name, "valid": 0.1, **({} if name == "adult" else {"test": 0.2})}
        recipe = {"task": {"name": task}, "data": data, "model": model, "budget": budget, "batch_size": 64}
        recipe |= {"eval_every": "100 steps", "optimizer": OPTIMIZERS[2 * (turn % 2)], "schedule": SCHEDULES[turn % 3]}
        made.append(Recipe(named(f"recipe-{name}, {model['name']}"), recipe))
    for name, change in product(("mnist", "fashion_mnist"), _turns(3)):
        data = {"source": "catalogue", "set": name, "valid": 1000}
        recipe = {"task": {"name": "image_classification"}, "data": data, "model": {"name": "cnn", "filters": [8, 16]}}
        recipe |= {"budget": "200 steps", "eval_every": "200 steps", "batch_size": 64}
        made.append(Recipe(named(f"recipe-{name}, {change['optimizer']['name']}"), recipe, change))
    return made


def _examples() -> list[Recipe]:
    """Every recipe that comes with the project, as it is but for its length where it has minutes of it."""
    short = {
        "mnist_cnn": {"budget": "200 steps"},
        "california_mlp": {"budget": "4 epochs"},
        "california_tabm": {"budget": "2 epochs"},
        "adult_mlp": {"budget": "2 epochs"},
        "fashion_resnet": {"budget": "60 steps", "precision": "float32"},
        "shakespeare_gpt": {"budget": "200 steps", "eval_every": "200 steps", "save_every": "200 steps"},
        "shakespeare_lstm": {"budget": "100 steps", "eval_every": "100 steps", "save_every": "100 steps"},
        "sst2_text_cnn": {"budget": "2 epochs"},
        "rotten_tomatoes_text_cnn": {"budget": "2 epochs"},
    }
    names = sorted(path.stem for path in (ROOT / "examples").glob("*.toml"))
    files = [Recipe(named(f"example-{name}"), f"examples/{name}.toml", short.get(name, {})) for name in names]
    built_in = ("digits", "iris", "wine", "breast_cancer", "diabetes")
    topics = {"budget": "200 steps", "eval_every": "100 steps"}
    return [
        *files,
        *(Recipe(named(f"example-{name}"), name) for name in built_in),
        Recipe("example-gpt", "gpt", topics),
    ]
