"""One line of the table of faults: what was tried, how often it held, and what its control says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What a check found; ``control`` is what the same check says of a program without the protection."""

    check: str
    done: int
    of: int
    control: str
    seconds: float
    note: str = ""
    blind: bool = False  # the control found nothing: the check could not fail

    @property
    def held(self) -> bool:
        """Whether nothing was lost, and the check could have said so."""
        return self.done == self.of and not self.blind
