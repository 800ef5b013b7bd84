"""When checkpoints are kept, and what is told of those that are written and those that could not be."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from trainwright.core.errors import StorageError
from trainwright.core.events import CheckpointSaved, Found, Observer, Stop
from trainwright.core.finding import Advice, Finding
from trainwright.engine import checkpoint
from trainwright.engine.packing import Snapshot, pack
from trainwright.engine.ranks import Single
from trainwright.engine.saver import Missed, Saver
from trainwright.engine.shards import ALONE, Company
from trainwright.runs.assemble import Pieces, in_steps
from trainwright.runs.directory import CHECKPOINTS, EVENTS, owner

_MISSED = 3  # in a row: then the policy "stop" stops

Rescue: TypeAlias = Callable[[Snapshot, int, str], Path | None]  # of a state, its step and the run's identity


class Saving:
    """Saves the state of a run; every rank must call it. The first one writes, and each what it alone holds.

    Args:
        pieces: of the attempt.
        folder: of the run.
    """

    def __init__(self, pieces: Pieces, folder: Path) -> None:
        self.pieces, self.folder = pieces, folder
        self.best = pieces.state.best.step  # when the newest snapshot was taken
        self.home = pieces.state.counters.home  # likewise
        every = pieces.config.keep_every
        self.every = 0 if every == "none" else in_steps(every, pieces.per_epoch, None)
        mine = owner(folder) if pieces.runtime.first else None
        self.run = mine.run if mine else ""
        self.ranks = pieces.runtime.ranks
        self.writes = pieces.runtime.first or self.ranks.sharing
        self.saver = Saver(folder / CHECKPOINTS, self._kept, folder / EVENTS, self.run, _company(self.ranks))
        self.last = 0  # the step behind which nothing moves any more; 0 is unknown
        self._snapshot: Snapshot | None = None
        self._taken = 0  # its step
        self._missed: Missed | None = None  # the newest attempt to save, where it failed

    def __call__(self) -> None:
        """Take a snapshot and begin to write it."""
        state = self.pieces.state
        self._meet()
        with self.ranks.apart():
            content = state.state_dict()
        if self.writes:
            self.saver.wait()  # before the best of the snapshot that is being written is forgotten
            self.best, self.home = state.best.step, state.counters.home
            if state.counters.step == self.last and not self.ranks.sharing:
                self._snapshot = None  # its memory is free before more is taken, if at all
                self._snapshot = pack(content, copy=False)
            else:
                self._snapshot = pack(content, self._snapshot)  # nobody reads the old one any more
            self._taken = state.counters.step
            self.saver.save(self._snapshot, self._taken)

    def first(self, step: int) -> None:
        """Write the state down before the first step, so that what is interrupted early can be resumed."""
        with self.ranks.apart():
            content = self.pieces.state.state_dict()
        if self.writes:
            self.put(pack(content, copy=False), step)

    def put(self, snapshot: Snapshot, step: int) -> None:
        """Write a state, where the disk takes it, and wait; every rank that writes must call it with its own."""
        self._meet()
        with suppress(OSError):  # the run is as it was without it
            self.saver.put(snapshot, step)

    def begin(self, snapshot: Snapshot) -> bool:
        """Write the state in which a run of one process begins; whether the disk took it."""
        with suppress(OSError):
            self.saver.put(snapshot, 0)
            return True
        return False

    def forget_beginning(self) -> None:
        """Take away what `begin` wrote, once there is something newer."""
        with suppress(OSError):
            there = checkpoint.steps(self.folder / CHECKPOINTS)
            if there[-1:] > [0]:
                checkpoint.prune(self.folder / CHECKPOINTS, there[1:] if there[0] == 0 else there)

    def _meet(self) -> None:
        """No rank begins to write before all of them have ended what they wrote, and the first one has cleaned up."""
        if self.ranks.sharing:
            self.saver.wait()
            self.ranks.barrier()

    def follow(self, folder: Path) -> None:
        """The run lies there now; what could not be written meanwhile is written at once."""
        self.saver.wait()
        self.folder = folder
        self.saver.folder, self.saver.log = folder / CHECKPOINTS, folder / EVENTS
        if self.saver.missed and self._snapshot is not None and not self.ranks.sharing:  # each rank follows by itself
            self.saver.save(self._snapshot, self._taken)

    def begin_again(self) -> None:
        """Save the state that the run has gone back to at once, and take away what came after it.

        Where the disk refuses, all stays as it was: a run that is resumed then finds its way back once more.
        """
        state = self.pieces.state
        self()
        self.saver.wait()
        if self.pieces.runtime.first and not self.saver.missed:
            checkpoint.forget_after(self.folder / CHECKPOINTS, state.counters.step)
        self.pieces.runtime.ranks.barrier()

    def tell(self, observe: Observer) -> Stop | None:
        """Tell what has been written since, or could not be; asks to stop where the recipe says so."""
        for done in self.saver.finished():
            if isinstance(done, Missed):
                self._missed = done
                if done.in_a_row.bit_count() == 1:  # the first, the second, the fourth, …: a full disk may stay full
                    observe(Found(done.step, self._finding(done)))
                if self.pieces.config.on_save_failure == "stop" and done.in_a_row >= _MISSED:
                    return Stop(f"{done.in_a_row} checkpoints in a row could not be written", "failed")
                continue
            self._missed = None
            if self.pieces.runtime.first:
                observe(CheckpointSaved(done.step, f"{CHECKPOINTS}/{done.path.name}", done.seconds))
        return None

    def settle(self, observe: Observer, rescue: Rescue) -> None:
        """Wait until all is written; StorageError where the newest state is not where it should be.

        Args:
            observe: is told what was written.
            rescue: writes the newest state elsewhere.
        """
        self.saver.wait()
        self.tell(observe)
        if self.ranks.sharing and self.ranks.agree(self._missed is not None):
            self._snapshot = pack(self.pieces.state.state_dict())  # whole, for the first one to rescue
        if self._missed:
            step, why = self._missed.step, _why(self._missed.error)
            mine = self._snapshot if self.pieces.runtime.first else None
            place = rescue(mine, step, self.run) if mine is not None else None
            older = "; the older ones are as they were" if (self.folder / CHECKPOINTS).is_dir() else ""
            instead = "free space or make the folder writable, then resume"
            if place:
                instead = f"that state is in {place} instead, a whole run: resume that one"
            raise StorageError(
                f"{self.folder}: the checkpoint of step {step} could not be written: {why}{older}; {instead}"
            )

    def _kept(self, steps: list[int]) -> set[int]:
        begun = [0] if self.home == 0 else []  # the state it began with, until there is another to go back to
        kept = {*[s for s in steps if s][-self.pieces.config.keep_last :], self.best or self.home, self.home, *begun}
        return kept | ({s for s in steps if s % self.every == 0} if self.every else set())

    def _finding(self, missed: Missed) -> Finding:
        return Finding(
            rule="checkpoint_missed",
            severity="warning",
            what=f"the checkpoint of step {missed.step} could not be written: {_why(missed.error)}",
            where=str(self.folder),
            evidence={"in_a_row": float(missed.in_a_row), "free_bytes": float(_free(self.folder))},
            why="training goes on and saves again when the next one is due",
            fixes=(Advice("free space, or make the folder writable"),),
        )


def _company(ranks: Single) -> Company:
    """Who writes a checkpoint together; every rank must call it."""
    if not ranks.sharing:
        return ALONE
    return Company(ranks.rank, ranks.world, str(ranks.gather_json(secrets.token_hex(4))[0]))


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _free(folder: Path) -> int:
    """Bytes on the folder's disk; 0 where that cannot be asked."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
