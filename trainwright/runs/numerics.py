"""What a run does about steps that are not finite: the recipe's policy, and the event that tells of each."""

from __future__ import annotations

from trainwright.core.events import Observer, StepSkipped
from trainwright.engine.guard import Guard, Policy, Trouble
from trainwright.runs.assemble import Pieces
from trainwright.runs.incidents import keep
from trainwright.runs.recover import Recovery

_RECORDS = 1000  # of a batch, that the event names
_PLACES = 3


def guard_of(pieces: Pieces, steps: int, tell: Observer, recovery: Recovery) -> Guard:
    """The guard of an attempt."""
    config, kept = pieces.config, [""]

    def told(trouble: Trouble) -> None:
        shown = trouble.suspects or trouble.records
        places = tuple(place for i in shown[:_PLACES] if (place := pieces.place(i)) != f"record {i}")
        found = keep(trouble, places, pieces, recovery.folder)
        kept[0] = found or kept[0]
        tell(_event(trouble, places, found))

    def advice() -> str:
        return f"; see what was not finite first: trainwright replay {recovery.folder / kept[0]}" if kept[0] else ""

    policy = Policy(config.on_nan, config.nan_skips, config.nan_rollbacks)
    return Guard(pieces.state, pieces.runtime, steps, policy, told, recovery, advice)


def _event(trouble: Trouble, places: tuple[str, ...], incident: str) -> StepSkipped:
    return StepSkipped(
        trouble.step,
        trouble.what,
        trouble.loss,
        trouble.norm,
        len(trouble.records),
        trouble.records[:_RECORDS],
        trouble.suspects[:_RECORDS],
        places,
        incident,
    )
