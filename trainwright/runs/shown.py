"""What a person sees of a model beside its numbers: a few samples of the validation part, after each evaluation."""

from __future__ import annotations

from dataclasses import replace

import torch

from trainwright.core.batch import Batch
from trainwright.core.events import EvalDone, Shown
from trainwright.core.exhibit import Exhibit
from trainwright.core.task import Task
from trainwright.runs.assemble import Pieces

SAMPLES = 2  # looked at


def shown(pieces: Pieces, event: EvalDone) -> Shown | None:
    """What there is to see after an evaluation; None for a task that shows nothing, which costs nothing.

    Nothing is moved: randomness, buffers and modes are put back. Of several ranks none shows, as the model may lie in
    pieces on all of them.
    """
    found = exhibits(pieces, event.part)
    return Shown(event.step, event.part, found) if found else None


@torch.no_grad()
def exhibits(pieces: Pieces, part: str) -> tuple[Exhibit, ...]:
    """What the task shows of the first samples of a part."""
    state, task, runtime, encoded = pieces.state, pieces.task, pieces.runtime, pieces.encoded.get(part)
    if type(task).show is Task.show or runtime.ranks.world > 1 or encoded is None:
        return ()
    batch: Batch = task.processor.batch(encoded.rows(0, SAMPLES), None)
    with state.aside(), state.served(), runtime.autocast():
        state.model.eval()
        batch = runtime.take(batch)
        return tuple(task.show(batch, task.predict(runtime.ranks.bare(state.model), replace(batch, targets={}))))
