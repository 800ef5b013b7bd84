"""Whether the caller's arrays, which are trained on where they lie, are still what they were."""

from __future__ import annotations

from trainwright.core.events import Found, Observer
from trainwright.core.finding import Advice, Finding
from trainwright.runs.assemble import Pieces


def tell_changed(pieces: Pieces, tell: Observer) -> None:
    """Tell of arrays in which somebody has written since they were first looked at."""
    names = [] if pieces.data is None else pieces.data.parts["train"].store.changed()
    if not names:
        return
    instead = "leave it alone until training ends, or give a copy of it, such as x.copy() or x.clone()"
    finding = Finding(
        rule="data_changed",
        severity="warning",
        what=f"{' and '.join(names)} changed while the network was trained on it",
        where="the data",
        why="arrays of the right type are not copied: later batches hold the new numbers, and so do the scores",
        fixes=(Advice(instead),),
    )
    tell(Found(pieces.state.counters.step, finding))
