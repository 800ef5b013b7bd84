"""How long a step takes, measured on a rehearsal that leaves no trace: a budget in time becomes one in steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainwright.core.config import Budget
from trainwright.core.task import Progress
from trainwright.engine import checkpoint
from trainwright.engine.evaluate import evaluate
from trainwright.engine.packing import pack
from trainwright.runs.assemble import Pieces
from trainwright.runs.shown import exhibits

_WARM, _LONGEST, _SHARE = 2, 30, 0.02  # steps not measured; most steps measured; of the budget's time


def seconds_per_step(pieces: Pieces, folder: Path) -> float:
    """Seconds of a step, with the evaluations' and the checkpoints' share in it.

    The rehearsal takes up to 2 % of the budget (at least three steps) and starts from a copy of the state, which is
    put back: training afterwards is what it would have been without it. All ranks agree on the slowest's figure.

    Args:
        pieces: of the attempt.
        folder: of the run; one checkpoint is written there, and removed.
    """
    amount = Budget.read(pieces.config.budget)
    limit = _SHARE * amount.amount if amount.unit == "seconds" else 2.0
    state, runtime = pieces.state, pieces.runtime
    with runtime.ranks.apart():
        before = copy.deepcopy(state.state_dict())
    state.model.train()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < _WARM + 3 or (len(times) < _LONGEST and time.perf_counter() - began < limit):
        start = time.perf_counter()
        group = next(pieces.groups)
        step = pieces.step(state, pieces.task, group, runtime, clip=None, multiplier=1.0, progress=Progress())
        float(step.loss)  # the wait
        times.append(time.perf_counter() - start)
        if runtime.ranks.world > 1 and len(times) == _WARM + 3:
            break
    per_step = sorted(times[_WARM:])[len(times[_WARM:]) // 2]
    per_step += _evaluation_share(pieces) + _saving_share(pieces, before, folder)
    state.load_state_dict(before)
    return max(float(t) for t in runtime.ranks.gather_json(per_step))


def _evaluation_share(pieces: Pieces) -> float:
    """Seconds of validation per step, and of what is shown then, where it is counted in epochs or steps."""
    every = Budget.read(pieces.config.eval_every)
    if "valid" not in pieces.evaluations or every.unit == "seconds":
        return 0.0
    began = time.perf_counter()
    evaluate(pieces.state.model, pieces.task, pieces.evaluations["valid"](), pieces.runtime)
    exhibits(pieces, "valid")
    return (time.perf_counter() - began) / every.steps(pieces.per_epoch)


def _saving_share(pieces: Pieces, state: Mapping[str, Any], folder: Path) -> float:
    """Seconds of a checkpoint per step, where it is saved by epochs or steps: small data has one every few steps."""
    every = Budget.read(pieces.config.save_every)
    if not pieces.runtime.first or every.unit == "seconds":
        return 0.0
    with TemporaryDirectory(prefix=".rehearsal-", dir=folder, ignore_cleanup_errors=True) as place:
        began = time.perf_counter()
        checkpoint.write(pack(state), Path(place), 0)
        return (time.perf_counter() - began) / every.steps(pieces.per_epoch)
