"""What each of two ranks runs where only the second one meets trouble: no memory, or numbers that are not finite.

Started as ``python -m tests.engine.trouble_worker FOLDER`` with RANK, WORLD_SIZE and the like set.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.training import Class, cases, enrol, weights
from trainwright.engine.runtime import Runtime

CASE = next(c for c in cases() if c.name == "series")
SETUPS: dict[str, dict[str, Any]] = {"whole": {}, "micro": {"micro": 4}}
STEPS = 4


def begun(runtime: Runtime, setup: str) -> Class:
    return enrol(CASE, runtime, optimizer=torch.optim.SGD, **SETUPS[setup])


def short_of_memory(runtime: Runtime, setup: str) -> Class:
    """The second rank has room for three samples."""
    taught = begun(runtime, setup)

    def look(module: nn.Module, arguments: Any, named: Any) -> None:
        first = next(t for t in (*arguments, *named.values()) if isinstance(t, Tensor))
        if runtime.ranks.rank == 1 and module.training and len(first) > 3:
            raise MemoryError

    runtime.ranks.bare(taught.state.model).register_forward_pre_hook(look, with_kwargs=True)
    taught.train(STEPS)
    return taught


def not_finite(runtime: Runtime, setup: str) -> Class:
    """In the second step, the second rank's share is NaN."""
    taught = begun(runtime, setup)

    def look(module: nn.Module, arguments: Any, output: Any) -> Any:
        if not module.training:
            return output
        bad = taught.state.counters.step == 1 and runtime.ranks.rank == runtime.ranks.world - 1
        return output * float("nan") if bad else output

    runtime.ranks.bare(taught.state.model).register_forward_hook(look)
    taught.train(STEPS)
    return taught


def main(folder: Path) -> None:
    warnings.filterwarnings("error")
    warnings.filterwarnings("ignore", message=".*device is not available.*")
    torch.set_num_threads(1)
    runtime = Runtime.start("cpu", "float64", "ddp")
    for setup in SETUPS:
        for kind in (short_of_memory, not_finite):
            taught = kind(runtime, setup)
            counters = taught.state.counters
            told = [counters.micro, counters.halvings, counters.skipped, counters.streak, taught.loader.micro]
            every = runtime.ranks.gather_json(told)
            moved = weights(taught.state)
            if runtime.ranks.rank == 0:
                name = f"{kind.__name__}-{setup}"
                (folder / f"{name}.json").write_text(json.dumps(every))
                save_file({k: v.contiguous() for k, v in moved.items()}, folder / f"{name}.safetensors")
    runtime.ranks.close()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # as in rank_worker
