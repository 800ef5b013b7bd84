"""How long a step takes, measured on a rehearsal that leaves no trace: a budget in time becomes one in steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainwright.core.batch import Batch
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

    The rehearsal takes up to 2 % of the budget for steps (at least three) and as much for an evaluation (at least one
    batch), and starts from a copy of the state, which is put back: training afterwards is what it would have been
    without it. All ranks agree on the slowest's figure.

    Args:
        pieces: of the attempt.
        folder: of the run; one checkpoint is written there, and removed.
    """
    amount = Budget.read(pieces.config.budget)
    limit = _SHARE * amount.amount if amount.unit == "seconds" else 2.0
    state, runtime = pieces.state, pieces.runtime
    with runtime.ranks.apart():
        before, buffers = copy.deepcopy(state.state_dict()), state.buffers_kept()
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
    per_step += _saving_share(pieces, before, folder)
    per_step = _with_evaluations(per_step, pieces, limit)
    state.load_state_dict(before)
    buffers()
    return max(float(t) for t in runtime.ranks.gather_json(per_step))


def _with_evaluations(per_step: float, pieces: Pieces, limit: float) -> float:
    """Seconds of a step with its share of the evaluations, where these are counted in epochs or steps.

    After the last step there is one in any case: where the budget ends before the first that is due, its whole time is
    taken off the budget.
    """
    every = Budget.read(pieces.config.eval_every)
    if "valid" not in pieces.evaluations or every.unit == "seconds":
        return per_step
    once, apart = _evaluation_seconds(pieces, limit), every.steps(pieces.per_epoch)
    shared = per_step + once / apart
    amount = Budget.read(pieces.config.budget)
    if amount.unit != "seconds" or amount.amount / shared >= apart:
        return shared
    left = amount.amount - once
    return amount.amount / max(1, int(left / per_step)) if left > 0 else amount.amount


def _evaluation_seconds(pieces: Pieces, limit: float) -> float:
    """Seconds of one evaluation, and of what is shown then; of a long one in one process, by the time of its beginning.

    A translation is found word by word, so that to judge a thousand may take longer than all the training.
    """
    part, alone = pieces.encoded.get("valid"), pieces.runtime.ranks.world == 1
    seen, began = 0, time.perf_counter()

    def some() -> Iterator[Batch]:
        nonlocal seen
        for batch in pieces.evaluations["valid"]():
            yield batch
            seen += batch.size
            if alone and part is not None and time.perf_counter() - began > limit:
                return

    evaluate(pieces.state.model, pieces.task, some(), pieces.runtime)
    spent = time.perf_counter() - began
    exhibits(pieces, "valid")
    showing = time.perf_counter() - began - spent
    return spent * (len(part) / seen if alone and part is not None and seen else 1.0) + showing


def _saving_share(pieces: Pieces, state: Mapping[str, Any], folder: Path) -> float:
    """Seconds of a checkpoint per step, where it is saved by epochs or steps: small data has one every few steps."""
    every = Budget.read(pieces.config.save_every)
    if not pieces.runtime.first or every.unit == "seconds":
        return 0.0
    with TemporaryDirectory(prefix=".rehearsal-", dir=folder, ignore_cleanup_errors=True) as place:
        began = time.perf_counter()
        checkpoint.write(pack(state), Path(place), 0)
        return (time.perf_counter() - began) / every.steps(pieces.per_epoch)
