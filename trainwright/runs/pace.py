"""How long a step takes, measured on a rehearsal that leaves no trace: a budget in time becomes one in steps."""

from __future__ import annotations

import copy
import time

from trainwright.core.config import Budget
from trainwright.core.task import Progress
from trainwright.engine.evaluate import evaluate
from trainwright.runs.assemble import Pieces

_WARM, _LONGEST, _SHARE = 2, 30, 0.02  # steps not measured; most steps measured; of the budget's time


def seconds_per_step(pieces: Pieces) -> float:
    """Seconds of a step, with the evaluations' share in it.

    The rehearsal takes up to 2 % of the budget (at least three steps) and starts from a copy of the state, which is
    put back: training afterwards is what it would have been without it. All ranks agree on the slowest's figure.
    """
    amount = Budget.read(pieces.config.budget)
    limit = _SHARE * amount.amount if amount.unit == "seconds" else 2.0
    state, runtime = pieces.state, pieces.runtime
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
    per_step += _evaluation_share(pieces)
    state.load_state_dict(before)
    return max(float(t) for t in runtime.ranks.gather_json(per_step))


def _evaluation_share(pieces: Pieces) -> float:
    """Seconds of validation per step, where it is counted in epochs or steps."""
    every = Budget.read(pieces.config.eval_every)
    if "valid" not in pieces.evaluations or every.unit == "seconds":
        return 0.0
    began = time.perf_counter()
    evaluate(pieces.state.model, pieces.task, pieces.evaluations["valid"](), pieces.runtime)
    return (time.perf_counter() - began) / every.steps(pieces.per_epoch)
