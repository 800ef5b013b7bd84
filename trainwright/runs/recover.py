"""Going back: an earlier sound state, taken up again with half the learning rate, as a new attempt at the same run."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainwright.core.errors import CheckpointError, NumericsError
from trainwright.core.events import Observer, RunStarted
from trainwright.engine import checkpoint
from trainwright.engine.packing import Snapshot, pack, restored
from trainwright.engine.ranks import Share
from trainwright.runs.assemble import Pieces
from trainwright.runs.directory import CHECKPOINTS, MANIFEST, owner, read_manifest, write_json
from trainwright.runs.saving import Saving

_CUT = 0.5  # of the learning rate, each time
_LARGE = 2**25  # bytes of a state that is kept on the disk: written in some tenths of a second


@dataclass(slots=True)
class Recovery:
    """Goes back to the newest checkpoint that the recipe asked for, or to the best one where that did not help.

    Until the first checkpoint is written, that is the state in which the attempt began: kept in memory, or where it is
    large on the disk, so that a training holds no more than a loop by hand would.

    Args:
        pieces: of the attempt.
        folder: of the run.
        saving: writes its checkpoints.
        tell: is told that a new attempt begins.
        steps: of the whole budget.
        start: the state in which a new run begins; None where there is a checkpoint.
    """

    pieces: Pieces
    folder: Path
    saving: Saving
    tell: Observer
    steps: int
    start: Snapshot | None = None
    written: bool = False  # it is on the disk
    _seen: int = -1  # checkpoints that had been written when it was last looked for one

    def remember(self) -> None:
        """The state as it is, before the first step; every rank must call it."""
        if self.pieces.config.on_nan != "recover" or not self.pieces.config.nan_rollbacks:
            return
        runtime = self.pieces.runtime
        if runtime.at_hand:
            resting = pack(self.pieces.state.state_dict(), copy=False)
            self.written = resting.nbytes > _LARGE and self.saving.begin(resting)
            if self.written:
                return
        with runtime.ranks.apart():
            self.start = pack(self.pieces.state.state_dict())

    def forget(self) -> None:
        """The training has come to its end: nobody goes back to where it began."""
        if self.written:
            self.saving.forget_beginning()

    def relieve(self) -> None:
        """Free the memory once there is a checkpoint to go back to."""
        written, alone = self.saving.saver.written, self.pieces.runtime.ranks.world == 1
        if self.start is None or (alone and written == self._seen):
            return
        self._seen = written
        if self.pieces.state.counters.home in checkpoint.steps(self.folder / CHECKPOINTS):
            self.start = None

    def keep(self) -> None:
        """Write the start down where it is what an interrupted run has to go back to."""
        there = self.start is not None and not self.pieces.state.counters.home
        if (
            self.pieces.runtime.ranks.sharing
        ):  # a rank may have seen a checkpoint earlier, and then none has to be written
            there = not self.pieces.runtime.ranks.agree(not there)
        if there and self.start is not None and self.saving.writes:
            self.saving.put(self.start, 0)

    def __call__(self, why: str) -> None:
        """Put an earlier state in the place of the present one; NumericsError where there is none. For every rank."""
        state, ranks = self.pieces.state, self.pieces.runtime.ranks
        counters = state.counters
        now, rollbacks, share = counters.step, counters.rollbacks + 1, counters.share * _CUT
        memory = counters.micro, counters.asked, counters.halvings  # what ran short then runs short again
        self.saving.saver.wait()
        ranks.barrier()
        step, content = self._target(why)
        ranks.barrier()  # nobody reads any more
        state.load_state_dict(content)
        counters.streak = counters.in_a_row = counters.skipped = 0
        counters.rollbacks, counters.share, counters.back = rollbacks, share, step
        counters.micro, counters.asked, counters.halvings = memory
        self.saving.begin_again()
        note = f"went back from step {now:,} with {share:g} of the learning rate: {why}"
        attempt = self._written(step, note) if self.pieces.runtime.first else 0
        time = datetime.now(UTC).isoformat(timespec="seconds")
        self.tell(RunStarted(attempt, step, self.steps, self.pieces.per_epoch, time, note, again=True))

    def _target(self, why: str) -> tuple[int, Mapping[str, Any]]:
        """Where to go back to: never what an interruption alone has left there, so that none makes a difference."""
        counters, best = self.pieces.state.counters, self.pieces.state.best.step
        wanted = counters.home
        if counters.rollbacks and wanted <= counters.back and 0 < best < wanted:
            wanted = best  # it was there already, and got no further
        found = next(self._sound(wanted), None)
        if found is None:
            raise NumericsError(f"the training cannot go on: {why}, and there is no earlier state to go back to")
        return found

    def _sound(self, wanted: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """States to go back to, the one that is wanted first."""
        folder, start, mine = self.folder / CHECKPOINTS, self.start, owner(self.folder)
        there = sorted(checkpoint.steps(folder), key=lambda step: (step > wanted, abs(step - wanted)))
        given_up = self.pieces.runtime.ranks.agree(start is None)  # a rank may have seen a checkpoint earlier
        for step in there if wanted or given_up else ():
            try:
                state = checkpoint.load(checkpoint.at(folder, step), mine, self.pieces.runtime.ranks.read)
            except CheckpointError:  # `restore` sets damaged ones aside when the run is resumed
                continue
            if self._healthy(state):
                yield step, state
        if start is not None and not given_up:
            yield 0, copy.deepcopy(restored(start))

    def _healthy(self, state: Mapping[str, Any]) -> bool:
        """Whether its last step was taken, and its weights are numbers."""
        if state["counters"].get("streak", 0):
            return False
        ranks = self.pieces.runtime.ranks
        names = [name for name, _ in ranks.bare(self.pieces.state.model).named_parameters()]
        found = [state["model"][name] for name in names if name in state["model"]]
        weights = [w.rows if isinstance(w, Share) else w for w in found]
        broken = not all(bool(w.isfinite().all()) for w in weights if w.is_floating_point())
        return not (ranks.agree(broken) if ranks.sharing else broken)

    def _written(self, step: int, note: str) -> int:
        """The new attempt in the manifest; its number."""
        told = read_manifest(self.folder)
        told["attempts"] = [*told["attempts"], {"from_step": step, "note": note}]
        write_json(told, self.folder / MANIFEST)
        return len(told["attempts"])
