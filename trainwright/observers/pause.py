"""An observer that interrupts a training behind a step, as a person would."""

from __future__ import annotations

from typing import Annotated, final

from pydantic import Field

from trainwright.core.events import Event, StepDone, Stop
from trainwright.core.kinds import observers


@observers.add("pause")
@final
class Pause:
    """Interrupts the training behind a step: it is saved, and can be resumed once this observer is taken away.

    Args:
        step: behind this one, or the next at which something is logged.
    """

    def __init__(self, *, step: Annotated[int, Field(ge=1)]) -> None:
        self.step = step

    def __call__(self, event: Event) -> Stop | None:
        """Asks to stop."""
        there = isinstance(event, StepDone) and event.step >= self.step
        return Stop(self.reason, "interrupted") if there else None

    @property
    def reason(self) -> str:
        """What is told of it."""
        return f"the recipe pauses behind step {self.step:,}"
