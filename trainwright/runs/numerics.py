"""What a run does about steps that are not finite: the recipe's policy, and the event that tells of each."""

from __future__ import annotations

from trainwright.core.events import Observer, StepSkipped
from trainwright.engine.guard import Guard, Policy, Trouble
from trainwright.runs.assemble import Pieces
from trainwright.runs.recover import Recovery

_RECORDS = 1000  # of a batch, that the event names
_PLACES = 3


def guard_of(pieces: Pieces, steps: int, tell: Observer, recovery: Recovery) -> Guard:
    """The guard of an attempt."""
    config = pieces.config
    policy = Policy(config.on_nan, config.nan_skips, config.nan_rollbacks)
    return Guard(pieces.state, pieces.runtime, steps, policy, lambda trouble: _told(trouble, pieces, tell), recovery)


def _told(trouble: Trouble, pieces: Pieces, tell: Observer) -> None:
    shown = trouble.suspects or trouble.records
    tell(
        StepSkipped(
            trouble.step,
            trouble.what,
            trouble.loss,
            trouble.norm,
            len(trouble.records),
            trouble.records[:_RECORDS],
            trouble.suspects[:_RECORDS],
            tuple(place for i in shown[:_PLACES] if (place := pieces.place(i)) != f"record {i}"),
        )
    )
