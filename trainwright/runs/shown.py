"""What a person sees of a model beside its numbers: a few samples of the validation part, after each evaluation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from trainwright.core.batch import Batch
from trainwright.core.events import EvalDone, Shown
from trainwright.core.exhibit import Exhibit
from trainwright.core.task import Task
from trainwright.data import midi
from trainwright.data.score import score_of
from trainwright.engine import disk
from trainwright.runs.assemble import Pieces
from trainwright.runs.directory import PLAYED

SAMPLES = 2  # looked at


def shown(pieces: Pieces, event: EvalDone) -> Shown | None:
    """What there is to see after an evaluation; None for a task that shows nothing, which costs nothing.

    Nothing is moved: randomness, buffers and modes are put back. Of several ranks none shows, as the model may lie in
    pieces on all of them.
    """
    found = exhibits(pieces, event.part)
    return Shown(event.step, event.part, found) if found else None


def play(seen: Shown, folder: Path) -> None:
    """Music that was shown, as MIDI files of the run; a disk that takes no more must not end a training."""
    with suppress(OSError):
        for number, exhibit in enumerate((e for e in seen.exhibits if e.kind == "music"), 1):
            (folder / PLAYED).mkdir(exist_ok=True)
            data = midi.write(score_of(exhibit.data, exhibit.title))
            disk.put(folder / PLAYED / f"step-{seen.step:08}-{number}.mid", data)


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
