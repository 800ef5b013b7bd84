"""What each of several ranks runs for the tests: every task trained a little, and what came out, written by rank 0.

Started as ``python -m tests.engine.rank_worker MODE FOLDER`` with RANK, WORLD_SIZE and the like set.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from tests.training import Case, Class, cases, enrol, losses, summed, weights
from trainwright.core.events import Event, StepDone, Stop
from trainwright.engine import checkpoint
from trainwright.engine.average import Average, averaged_weights
from trainwright.engine.frozen import Frozen
from trainwright.engine.runtime import Precision, Runtime
from trainwright.engine.shards import Company
from trainwright.engine.step import train_step

SETUPS: dict[str, dict[str, Any]] = {
    "uneven": {"batch_size": 15, "micro": 4, "n": 41},
    "nothing left": {"batch_size": 1, "n": 40, "valid": 6},
}
NORMED: dict[str, dict[str, Any]] = {  # batch norms; the third step has one sample, and a filler
    "resnet": {"batch_size": 15, "n": 41},
    "sequential of a table": {"batch_size": 15, "n": 41},
}
STEPS = 3
PRECISIONS: tuple[Precision, ...] = ("float64", "float32")


def setups(precision: Precision) -> list[str]:
    """All where a difference shows best; a rank that gets nothing gets it in any precision."""
    return list(SETUPS) if precision == "float64" else ["uneven"]


def trained(case: Case, runtime: Runtime, setup: dict[str, Any]) -> tuple[Class, dict[str, Any]]:
    taught = enrol(case, runtime, optimizer=torch.optim.SGD, **setup)
    events, _ = taught.train(STEPS, clip=1.0)
    samples = [e.samples for e in events if isinstance(e, StepDone)]
    return taught, {"losses": losses(events), "samples": samples, "metrics": taught.evaluate()}


def main(mode: Literal["ddp", "fsdp"], folder: Path) -> None:
    warnings.filterwarnings("error")
    warnings.filterwarnings("ignore", message=".*device is not available.*")
    warnings.filterwarnings("ignore", message=".*returned a view tensor")  # the sketches change nothing in place
    torch.set_num_threads(1)
    runtime = Runtime.start("cpu", parallel=mode)
    for precision in PRECISIONS:
        (folder / precision).mkdir(exist_ok=True)
        taught_in(replace(runtime, precision=precision), folder / precision)
    runtime.ranks.close()


def taught_in(runtime: Runtime, folder: Path) -> None:
    """Everything in one precision."""
    plain = [(case, name, SETUPS[name]) for case in summed() for name in setups(runtime.precision)]
    normed = [(case, "normed", NORMED[case.name]) for case in cases() if case.name in NORMED]
    for case, name, setup in [*plain, *normed]:
        taught, found = trained(case, runtime, setup)
        moved = weights(taught.state)
        if runtime.first:
            save_file({k: v.contiguous() for k, v in moved.items()}, folder / f"{case.name}-{name}.safetensors")
            (folder / f"{case.name}-{name}.json").write_text(json.dumps(found))
    stopping(runtime, folder)
    saving(runtime, folder)
    shaping(runtime, folder)


def stopping(runtime: Runtime, folder: Path) -> None:
    """Rank 1 alone asks to stop at step 2."""
    taught = enrol(cases()[-1], runtime)

    def asks(event: Event) -> Stop | None:
        if runtime.ranks.rank == 1 and isinstance(event, StepDone) and event.step == 2:
            return Stop("rank 1 is tired")
        return None

    _, stop = taught.train(9, observe=asks)
    told = runtime.ranks.gather_json([taught.state.counters.step, stop.reason if stop else ""])
    if runtime.ranks.rank == 0:
        (folder / "stop.json").write_text(json.dumps(told))


def saving(runtime: Runtime, folder: Path) -> None:
    """Four steps with AdamW; a checkpoint after the second, from which both ranks and one process go on."""
    case = cases()[-1]
    whole = enrol(case, runtime)
    whole.train(4)
    first = enrol(case, runtime)
    first.train(2)
    ranks = runtime.ranks
    whole_then = first.state.state_dict()
    with ranks.apart():
        state = first.state.state_dict()
    if ranks.sharing:
        checkpoint.save(state, folder / "checkpoints", 2, company=Company(ranks.rank, ranks.world, "saving"))
    elif ranks.rank == 0:
        checkpoint.save(state, folder / "checkpoints", 2)
    if ranks.rank == 0:  # what a gathered state would be, to compare the other one with
        checkpoint.save(whole_then, folder / "gathered", 2)
    ranks.barrier()
    again = enrol(case, runtime)
    again.state.load_state_dict(checkpoint.load(folder / "checkpoints" / "step-00000002", join=ranks.read))
    again.train(4)
    one, two = weights(whole.state), weights(again.state)
    if runtime.ranks.rank == 0:
        (folder / "resume.json").write_text(json.dumps(all(torch.equal(one[k], two[k]) for k in one)))
        save_file({k: v.contiguous() for k, v in one.items()}, folder / "whole.safetensors")


def shaped(runtime: Runtime, case: Case) -> Class:
    """Four steps with penalties, clipped values, a running average, and weights that rest for two steps."""
    taught = enrol(case, runtime, micro=4, lr=1.0, optimizer=torch.optim.SGD)
    bare = runtime.ranks.bare(taught.state.model)
    first = next(name for name, _ in bare.named_parameters())
    taught.state.frozen = Frozen(bare, {first: 2})
    taught.state.parts["ema"] = Average(taught.state.model, 0.5, runtime.ranks)
    taught.train(4, clip=0.5, step_fn=partial(train_step, clip_value=0.05, l1=1e-3, l2=1e-2))
    return taught


def shaping(runtime: Runtime, folder: Path) -> None:
    taught = shaped(runtime, cases()[-1])
    moved, averaged = weights(taught.state), taught.state.parts["ema"].state_dict()
    if runtime.ranks.rank == 0:
        save_file({k: v.contiguous() for k, v in moved.items()}, folder / "shaped.safetensors")
        kept = {k: v.contiguous() for k, v in averaged_weights(averaged).items()}
        save_file(kept, folder / "averaged.safetensors")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main("fsdp" if sys.argv[1] == "fsdp" else "ddp", Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # once in some twenty runs gloo's threads abort an interpreter that ends after all was written
