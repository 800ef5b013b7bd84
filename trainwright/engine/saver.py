"""Checkpoints written beside the training: one at a time, by a thread that works on a copy of the state."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from trainwright.engine import checkpoint, disk, shards
from trainwright.engine.packing import Snapshot
from trainwright.engine.shards import ALONE, Company


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is durable."""

    step: int
    path: Path
    seconds: float  # it took, beside the training


@dataclass(frozen=True, slots=True)
class Missed:
    """A checkpoint could not be written; older ones are as they were."""

    step: int
    error: OSError
    in_a_row: int


@dataclass(slots=True)
class Saver:
    """Writes snapshots of the state into a folder, and removes checkpoints that nobody asked to keep.

    The thread ends with the process: what it was writing is then not there, and the one before is.

    Args:
        folder: of the run's checkpoints.
        keep: the steps on the disk, ascending -> those to keep; the newest is kept in any case.
        log: of what happened until a snapshot; it is on the disk before the snapshot is, so that no power cut leaves a
            checkpoint of steps that nobody tells of.
        run: the identity of the run, which every checkpoint carries.
        company: the ranks that write together, each of which has a saver that is asked for the same.
    """

    folder: Path
    keep: Callable[[list[int]], Collection[int]]
    log: Path | None = None
    run: str = ""
    company: Company = ALONE
    missed: int = 0  # in a row
    written: int = 0  # checkpoints, by this process
    _begun: int = 0  # checkpoints
    _done: list[Saved | Missed] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def save(self, snapshot: Snapshot, step: int) -> None:
        """Begin to write; waits for the one before to end.

        Where the system gives no thread, which needs memory of its own, it is written before this returns.
        """
        self.wait()
        company = self._next()
        thread = threading.Thread(target=self._write, args=(snapshot, step, company), name="checkpoint", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # "can't start new thread"
            self._write(snapshot, step, company)
        else:
            self._thread = thread

    def put(self, snapshot: Snapshot, step: int) -> Path:
        """Write, and return when that is done; OSError where the disk refuses. Nothing is told, nothing removed."""
        return self._written(snapshot, step, self._next())

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being written."""
        return self._thread is None or not self._thread.is_alive()

    def finished(self) -> list[Saved | Missed]:
        """What has ended since the last call."""
        done, self._done = self._done, []
        return done

    def _next(self) -> Company:
        """The company of the next checkpoint: no draft is ever taken for another's."""
        self._begun += 1
        return (
            self.company
            if self.company.world == 1
            else replace(self.company, name=f"{self.company.name}-{self._begun}")
        )

    def _write(self, snapshot: Snapshot, step: int, company: Company) -> None:
        began = time.perf_counter()
        try:
            path = self._written(snapshot, step, company)
        except OSError as error:
            self.missed += 1
            self._done.append(Missed(step, error, self.missed))
            return
        self.missed = 0
        self._done.append(Saved(step, path, time.perf_counter() - began))
        if company.rank:
            return
        try:
            checkpoint.prune(self.folder, self.keep(checkpoint.steps(self.folder)))
        except OSError:  # what is too much now is removed after the next one
            return

    def _written(self, snapshot: Snapshot, step: int, company: Company) -> Path:
        folder = self.folder
        try:
            path = disk.patiently(lambda: self._durable(snapshot, step, company))
            self.written += 1
            return path
        except Exception as trouble:  # memory may run out as well: a thread that ends without a word is waited for
            words = f"{type(trouble).__name__}: {trouble}"
            error = trouble if isinstance(trouble, OSError) else OSError(errno.EIO, words)
            if company.world > 1:
                shards.give_up(folder, step, company, error)
            raise error from (None if error is trouble else trouble)

    def _durable(self, snapshot: Snapshot, step: int, company: Company) -> Path:
        if self.log and not company.rank:
            disk.flush(self.log)
        if company.world == 1:
            return checkpoint.write(snapshot, self.folder, step, self.run)
        return checkpoint.write(snapshot, self.folder, step, self.run, company)
