"""A schedule that lowers the rates when the monitor stops improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, final

from pydantic import Field
from typing_extensions import override

from trainwright.core.kinds import schedules
from trainwright.core.responsive import Responsive
from trainwright.optim.schedules import Amount, risen

Count = Annotated[int, Field(ge=0)]


@schedules.add("plateau")
@final
class Plateau(Responsive):
    """The base rate, multiplied by ``factor`` each time the monitor has not improved for ``patience`` evaluations.

    It needs a validation part. The end of the budget plays no role.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0.
        factor: what each cut multiplies the rate by.
        patience: evaluations without an improvement that are waited for; the next one cuts.
        min_change: an improvement of the monitor is more than this.
        cooldown: evaluations after a cut that are not counted.
        final: the rate is never cut below this share of the base rate.

    Source: torch's ReduceLROnPlateau, with an absolute threshold.
    """

    def __init__(
        self,
        *,
        warmup: Amount = 0.0,
        factor: Annotated[float, Field(gt=0, lt=1)] = 0.1,
        patience: Count = 5,
        min_change: Annotated[float, Field(ge=0)] = 0.0,
        cooldown: Count = 0,
        final: Annotated[float, Field(ge=0, le=1)] = 0.0,
    ) -> None:
        self.factor, self.patience, self.min_change, self.cooldown, self.final = (
            factor,
            patience,
            min_change,
            cooldown,
            final,
        )
        self._warmup = partial(risen, _flat, warmup)
        self._best: float | None = None
        self._waited = self._cooling = 0
        self._share = 1.0

    @override
    def __call__(self, step: int, steps: int) -> float:
        """The multiplier of the base rates."""
        return self._warmup(step, steps) * self._share

    @override
    def judged(self, value: float, better: str) -> None:
        """Wait, or cut."""
        if self._improves(value, 1 if better == "higher" else -1):
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if self._cooling > 0:
            self._cooling, self._waited = self._cooling - 1, 0
        if self._waited > self.patience:
            self._share = max(self._share * self.factor, self.final)
            self._waited, self._cooling = 0, self.cooldown

    @override
    def state_dict(self) -> dict[str, Any]:
        """The best value, the waits, and the share of the base rate."""
        return {"best": self._best, "waited": self._waited, "cooling": self._cooling, "share": self._share}

    @override
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse; what a schedule without a memory left behind is a fresh start."""
        if state:
            self._best, self._share = state["best"], float(state["share"])
            self._waited, self._cooling = int(state["waited"]), int(state["cooling"])

    def _improves(self, value: float, sign: int) -> bool:
        """Whether an evaluation is clearly better; NaN never is."""
        if math.isnan(value):
            return False
        return self._best is None or sign * (value - self._best) > self.min_change


def _flat(step: int, steps: int, rising: int) -> float:
    return 1.0
