"""Whether a model is sound: weights, losses and outputs that are numbers. A broken one is never passed over."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from trainwright.core.errors import NumericsError
from trainwright.engine.evaluate import Judged
from trainwright.engine.ranks import Single


def broken_weights(model: nn.Module, ranks: Single) -> str:
    """What is wrong with the weights, or nothing; every rank must ask, and hears the same.

    Buffers may hold infinity (a mask does), but not NaN.
    """
    weights = [w.detach() for w in model.parameters() if w.is_floating_point() and w.numel()]
    buffers = [b for b in model.buffers() if b.is_floating_point()]
    largest = ranks.full(torch.nn.utils.get_total_norm(weights, math.inf)) if weights else torch.zeros(())
    unsound = not bool(largest.isfinite()) or any(bool(b.isnan().any()) for b in buffers)  # the wait
    return "some of its weights are NaN or infinite" if ranks.agree(unsound) else ""


def broken_scores(found: Mapping[str, Judged]) -> str:
    """What the evaluations say is wrong with the model, or nothing. A metric may be 0, and one may be undefined."""
    for part, one in found.items():
        if not math.isfinite(one.values["loss"]):
            return f"its loss on the {part} part is {one.values['loss']}"
        if one.broken:
            return f"it says NaN for samples of the {part} part"
    return ""


def refuse_broken(trouble: str) -> None:
    """Raise `NumericsError` where there is trouble."""
    if trouble:
        raise NumericsError(told_broken(trouble))


def told_broken(trouble: str) -> str:
    """The trouble as a message, with what may be done."""
    return (
        f"the model is broken: {trouble}. Its scores are told as they are; lower optimizer.lr, set clip = 1.0, or look "
        "for values that are not finite in the data"
    )
