"""Whether a model is sound: weights, losses and outputs that are numbers. A broken one is never passed over."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainwright.core.errors import NumericsError
from trainwright.engine.evaluate import Judged


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
