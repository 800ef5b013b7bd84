"""What each of several ranks runs for `benchmarks.scale`: the same trainings, in every way of sharing them.

Started as ``python -m benchmarks.scale_worker FOLDER [ORIGIN …]`` with RANK and the like set.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from trainwright.core.events import Event, StepDone
from trainwright.engine import checkpoint
from trainwright.engine.evaluate import evaluate
from trainwright.engine.loop import Cadence, fit
from trainwright.engine.ranks import leave
from trainwright.engine.runtime import Runtime
from trainwright.engine.shards import ALONE, Company
from trainwright.runs.assemble import Pieces, assemble
from trainwright.runs.recipe import read

STEPS, HALF = 50, 25
ONLY = "SCALE_ONLY"  # variable of the environment: the beginning of a name, such as cnn-ddp
_SPLIT = {"valid": 0.1, "test": 0.2}
CASES: dict[str, dict[str, Any]] = {  # data that no number of processes divides; the last batch of an epoch is small
    "tabular": {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "iris", **_SPLIT},
        "model": {"name": "mlp", "width": 16, "dropout": 0.0},
        "batch_size": 13,
    },
    "cnn": {
        "task": "image_classification",
        "data": {"source": "embedded", "set": "digits", **_SPLIT},
        "model": {"name": "resnet", "depth": 8, "width": 4},
        "batch_size": 41,
    },
    "gpt": {
        "task": {"name": "generation", "context": 32},
        "data": {"source": "topics", "valid": 0.05, "test": 0.05},
        "model": {"name": "gpt", "size": "nano"},
        "batch_size": 7,
    },
}
WAYS = [(mode, precision) for precision in ("float64", "float32") for mode in ("ddp", "fsdp")]


def assembled(case: str, mode: str, precision: str) -> Pieces:
    """A training of a case, ready for its first step."""
    recipe = {**CASES[case], "parallel": mode, "precision": precision, "budget": f"{STEPS} steps", "device": "cpu"}
    read_ = read({**recipe, "optimizer": {"name": "adamw", "lr": 1e-3}})
    pieces = assemble(read_, Runtime.of(read_.config), lambda what, done, total: None)
    pieces.state.random.seed(0)
    return pieces


def losses(pieces: Pieces, until: int, steps: int = STEPS) -> list[float]:
    """Of the steps from where the state is."""
    found: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, StepDone):
            found.extend(event.losses)

    cadence = Cadence(steps, until, log=1)
    fit(pieces.state, pieces.task, pieces.groups, pieces.runtime, note, cadence=cadence, schedule=pieces.schedule)
    return found


def measured(pieces: Pieces) -> float:
    """The loss on the validation part."""
    part = pieces.evaluations["valid"]()
    with pieces.state.aside():
        return evaluate(pieces.state.model, pieces.task, part, pieces.runtime, metrics=pieces.metrics)["loss"]


def equal(folder: Path, origins: Sequence[Path]) -> None:
    """Train every case in every way, saved at half; and from the halves that others saved."""
    only = os.environ.get(ONLY, "")
    for case in CASES:
        for mode, precision in WAYS:
            name = f"{case}-{mode}-{precision}"
            if not name.startswith(only):
                continue
            pieces = assembled(case, mode, precision)
            first, ranks = pieces.runtime.first, pieces.runtime.ranks
            assert (ranks.world, ranks.mode) == (int(os.environ["WORLD_SIZE"]), mode) or ranks.world == 1
            found = {"whole": losses(pieces, HALF)}
            with ranks.apart():
                state = pieces.state.state_dict()
            (folder / name).mkdir(parents=True, exist_ok=True)
            company = Company(ranks.rank, ranks.world, "half") if ranks.sharing else ALONE
            if first or ranks.sharing:
                checkpoint.save(state, folder / name / "checkpoints", HALF, company=company)
            found["whole"] += losses(pieces, STEPS)
            found["valid"] = [measured(pieces)]
            pieces.close()
            for origin in origins:
                again = assembled(case, mode, precision)
                there = origin / name / "checkpoints" / f"step-{HALF:08d}"
                again.state.load_state_dict(checkpoint.load(there, join=ranks.read))
                found[origin.name] = losses(again, STEPS)
                again.close()
            if first:
                (folder / f"{name}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    place, *others = map(Path, sys.argv[1:])
    equal(place, others)
    leave(0)
