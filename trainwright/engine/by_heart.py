"""Whether a few samples can be learned by heart: on a copy of the model, so that the training knows nothing of it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainwright.core.trial_facts import Heart
from trainwright.engine import unwrapped
from trainwright.engine.trace import without_dropout

_RATES = (1e-3, 1e-2)  # Adam's usual one, and one that tells more in few steps
_DONE = 0.1  # of the loss at the start: known by heart


def by_heart(
    model: nn.Module, lose: Callable[[nn.Module], Tensor], samples: int, *, steps: int = 300, seconds: float = 5.0
) -> Heart:
    """Train a copy on one batch with Adam at two rates, dropout off, until the loss is a tenth or time is up.

    The model, its gradients and its buffers are left alone; randomness is for the caller to protect.

    Args:
        model: that is to learn; copied.
        lose: the mean loss (0-d) of a module on the batch.
        samples: of the batch, for the record.
        steps: at each rate, at most.
        seconds: for all of it, at most.
    """
    began = time.perf_counter()
    start, best, taken, pace = math.nan, math.inf, 0, math.nan
    for rate in _RATES:
        pupil = copy.deepcopy(model)
        weights = [p for p in pupil.parameters() if p.requires_grad]
        if not weights:
            return Heart()
        pupil.train()
        back = without_dropout(pupil)
        adam = torch.optim.Adam(weights, rate)
        try:
            for _ in range(steps):
                at = time.perf_counter()
                adam.zero_grad(set_to_none=True)
                loss = lose(pupil)
                if not loss.requires_grad:
                    return Heart()
                value = float(loss.detach())  # the wait
                start = value if math.isnan(start) else start
                best = min(best, value) if math.isfinite(value) else best
                if not math.isfinite(value) or best <= _DONE * start or time.perf_counter() - began > seconds:
                    break
                loss.backward()
                unwrapped.step(adam)
                taken += 1
                pace = min(pace, time.perf_counter() - at) if pace == pace else time.perf_counter() - at
        finally:
            back()
        if best <= _DONE * start or time.perf_counter() - began > seconds:
            break
    return Heart(samples, taken, start, best, time.perf_counter() - began)
