"""An observer that ends a training which has reached what it was for."""

from __future__ import annotations

from typing import final

from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.events import EvalDone, Event, Stop
from trainwright.core.kinds import observers


@observers.add("goal")
@final
class Goal:
    """Ends the training once an evaluation of the validation part reaches a value.

    Args:
        metric: one of the task's metrics, or "loss".
        above: ends at this value or more.
        below: ends at this value or less.
    """

    def __init__(self, *, metric: str, above: float | None = None, below: float | None = None) -> None:
        if (above is None) == (below is None):
            raise UserError("observer.goal", "needs one of above and below", "write above = 0.95, or below = 0.1")
        self.metric, self.above, self.below = metric, above, below

    def __call__(self, event: Event) -> Stop | None:
        """Asks to stop at the goal."""
        if not isinstance(event, EvalDone) or event.part != "valid":
            return None
        if self.metric not in event.metrics:
            instead = did_you_mean(self.metric, event.metrics)
            raise UserError("observer.goal.metric", f"no metric is named '{self.metric}'", instead)
        value = event.metrics[self.metric]
        there = value >= self.above if self.above is not None else self.below is not None and value <= self.below
        return Stop(f"valid {self.metric} is {value:.4g}: the goal is reached") if there else None
