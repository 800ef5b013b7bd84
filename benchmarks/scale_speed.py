"""Seconds of processor of a step with one and with two processes, and what the model of costs makes of them.

Started as ``python -m benchmarks.scale_speed FOLDER`` with RANK and the like set, for `benchmarks.scale speed`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.scale_worker import ONLY, losses
from trainwright.engine.ranks import leave
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import assemble
from trainwright.runs.recipe import read
from trainwright.tools.scale import line

_SPLIT = {"valid": 0.1, "test": 0.2}
STEPS, ROUNDS = 12, 3
CASES: dict[str, dict[str, Any]] = {
    "gpt": {
        "task": {"name": "generation", "context": 128},
        "data": {"source": "topics", "valid": 0.05, "test": 0.05},
        "model": {"name": "gpt", "size": "micro"},
        "batch_size": 8,
    },
    "cnn": {
        "task": "image_classification",
        "data": {"source": "embedded", "set": "digits", **_SPLIT},
        "model": {"name": "cnn"},
        "batch_size": 64,
    },
    "mlp": {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "breast_cancer", **_SPLIT},
        "model": {"name": "mlp", "width": 1024, "depth": 3},
        "batch_size": 256,
    },
}
CASES = {name: case for name, case in CASES.items() if name.startswith(os.environ.get(ONLY, ""))}
MODES = ("ddp", "fsdp")
SIZES = (1_000, 100_000, 1_000_000, 4_000_000)  # numbers of 4 bytes


def recipe(case: str, mode: str) -> dict[str, Any]:
    """Of a case, as it is trained and measured."""
    return {**CASES[case], "parallel": mode, "device": "cpu", "budget": "1000 steps", "pace": "plain"}


def step(case: str, mode: str) -> float:
    """Seconds of this process, median over rounds of some steps each; the first round is left out."""
    checked = read(recipe(case, mode))
    pieces = assemble(checked, Runtime.of(checked.config), lambda what, done, total: None)
    pieces.state.random.seed(0)
    found = []
    for number in range(1 + ROUNDS):
        began = time.process_time()
        losses(pieces, STEPS * (number + 1), 1000)
        found.append((time.process_time() - began) / STEPS)
    pieces.close()
    return median(found[1:])


def exchanges(runtime: Runtime) -> dict[str, tuple[float, float]]:
    """Kind -> (seconds of an exchange, and of each byte of the whole tensor) of this process."""
    found = {}
    for kind in ("sum", "gather", "scatter"):
        points = []
        for size in SIZES:
            whole = torch.zeros(size)
            share = torch.zeros(size // runtime.ranks.world)
            times = []
            for _ in range(12):
                began = time.process_time()
                match kind:
                    case "sum":
                        dist.all_reduce(whole)
                    case "gather":
                        dist.all_gather_into_tensor(whole, share)
                    case _:
                        dist.reduce_scatter_tensor(share, whole)
                times.append(time.process_time() - began)
            points.append((4.0 * size, median(times[2:])))
        found[kind] = line(points)
    return found


def main(folder: Path) -> None:
    """Everything, written for this rank."""
    found: dict[str, Any] = {f"{case}-{mode}": step(case, mode) for case in CASES for mode in MODES}
    runtime = Runtime.start("cpu")
    found["exchanges"] = exchanges(runtime) if runtime.ranks.world > 1 else {}
    (folder / f"{os.environ['WORLD_SIZE']}-{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
    leave(0)
