"""What a run was made with: versions, machine, plan, data, weights."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from trainwright import __version__
from trainwright.engine.allocator import kept
from trainwright.engine.loop import Cadence
from trainwright.runs.assemble import Pieces
from trainwright.runs.directory import FORMAT
from trainwright.runs.keras import original
from trainwright.runs.summary import learned, parameters


def manifest(pieces: Pieces, cadence: Cadence, monitor: str, better: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of manifest.json; ``facts`` come from the caller: kind, attempts, and what else it must reopen."""
    runtime = pieces.runtime
    model = runtime.ranks.bare(pieces.state.model)
    return {
        "format": FORMAT,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "trainwright": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "commit": _commit(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": str(runtime.device),
            "device_name": torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else "",
        },
        "seed": pieces.config.seed,
        "plan": {
            "pace": pieces.config.pace if isinstance(pieces.config.pace, str) else pieces.config.pace.model_dump(),
            "why": pieces.pace,
            "memory": "kept" if kept() else "returned",
            "precision": runtime.precision,
            "ranks": runtime.ranks.world,
            "parallel": runtime.ranks.mode,
            "steps": cadence.steps,
            "steps_per_epoch": pieces.per_epoch,
            "budget": pieces.config.budget,
        },
        "data": pieces.facts,
        "model": {
            "class": type(original(model)).__name__,
            "parameters": parameters(model),
            "frozen": parameters(model) - learned(model),
            "layers": pieces.layers,
        },
        "monitor": {"name": monitor, "better": better},
        "weights": _weights(pieces, monitor),
        **facts,
    }


def _weights(pieces: Pieces, monitor: str) -> dict[str, str]:
    """Which weights were judged while the run learned, which are kept, and which answer."""
    ema = pieces.config.ema
    which = "the weights" if ema == "none" else f"the running average of the weights (ema = {ema})"
    if "valid" not in pieces.evaluations:
        return {"monitored": "none", "kept": "last", "served": f"{which} of the last step"}
    return {
        "monitored": f"{which} after each evaluation, by valid {monitor}",
        "kept": "best and last",
        "served": f"{which} of the best evaluation",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _commit() -> str:
    """The commit of the working folder, where it is a git checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
