"""Worker processes that do work ahead, in order: one that dies or hangs is noticed, and started again at its work."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler as _ForkingPickler
from typing import Any, Generic, TypeVar

import torch
import torch.multiprocessing as _tensors  # noqa: F401 - teaches pipes to hand tensors on through shared memory

from trainwright.core.errors import UserError

K = TypeVar("K")
V = TypeVar("V")

TIMEOUT = 60.0  # seconds
_TRIES = 3  # further ones, of one piece of work
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Connection


class Workers(Generic[K, V]):
    """Does ``work`` for keys in other processes, one piece ahead in each, and gives the results in the keys' order.

    A process that dies, or says nothing for ``timeout`` seconds, is replaced, and what it was at is done again; after
    three further tries of the same piece comes one error. What ``work`` raises in a worker is raised here: the piece is
    done again in this process, so that the cause is told. The workers die with this process, whatever ends it.

    Args:
        work: a function of a key that gives the same result in any process.
        count: of processes.
        timeout: seconds without a word of the one that is waited for.
        told: key -> what it is, for the message.
    """

    def __init__(
        self, work: Callable[[K], V], count: int, *, timeout: float = TIMEOUT, told: Callable[[K], str] = str
    ) -> None:
        self.work, self.count, self.timeout, self.told = work, count, timeout, told
        self.replaced = 0  # processes
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("fork" if "fork" in methods and sys.platform == "linux" else None)
        self._workers: list[_Worker] = []

    def results(self, keys: Iterator[K]) -> Generator[V, None, None]:
        """In the order of the keys; the processes end with the iteration."""
        asked: deque[tuple[int, K]] = deque()  # (worker, key), of which the first is waited for next
        try:
            for number, key in zip(range(self.count), keys, strict=False):
                self._workers.append(self._started())
                self._ask(number, key)
                asked.append((number, key))
            while asked:
                number, key = asked.popleft()
                value = self._answer(number, key)
                for following in keys:
                    self._ask(number, following)
                    asked.append((number, following))
                    break
                yield value
        finally:
            self.close()

    def close(self) -> None:
        """End the processes."""
        ending, self._workers = self._workers, []
        for worker in ending:
            worker.pipe.close()  # an idle one ends by itself
        until = time.monotonic() + 0.2
        for worker in ending:
            worker.process.join(max(0.0, until - time.monotonic()))
            _end(worker)

    def _answer(self, number: int, key: K) -> V:
        """The result of the piece a worker is at, after as many new beginnings as are allowed."""
        for left in range(_TRIES, -1, -1):
            worker = self._workers[number]
            why, answer = self._received(worker)
            if answer is not None:
                good, value = answer
                return value if good else self.work(key)
            _end(worker)
            if left:
                self.replaced += 1
                self._workers[number] = self._started()
                self._ask(number, key)
        what = f"a worker process {why} at {self.told(key)}, {_TRIES + 1} times in a row"
        raise UserError("workers", what, "do the work in this process with workers = 0 to see why")

    def _received(self, worker: _Worker) -> tuple[str, tuple[bool, V] | None]:
        """An answer, whether a good one and what; or why there is none."""
        ready = wait([worker.pipe, worker.process.sentinel], self.timeout)
        try:
            if worker.pipe in ready or worker.pipe.poll():
                return "", worker.pipe.recv()
        except (EOFError, OSError):  # also where the memory of its answer went with it
            return _cause(worker), None
        return _cause(worker) if ready else f"said nothing for {self.timeout:g} s", None

    def _ask(self, number: int, key: K) -> None:
        with suppress(OSError):  # it is dead already, which is seen when its answer is waited for
            self._workers[number].pipe.send(key)

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        forked = self._context.get_start_method() == "fork"
        inherited = [ours, *(w.pipe for w in self._workers if not w.pipe.closed)] if forked else []
        process: Any = self._context.Process(
            target=_serve, args=(self.work, theirs, inherited, os.getpid()), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)


def die_with(parent: int) -> None:
    """This process ends when its parent does, also where it never comes to look."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), name="watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _serve(work: Callable[[Any], Any], pipe: Connection, inherited: list[Connection], parent: int) -> None:
    """Do what is asked until nobody asks any more."""
    for other in inherited:  # else pipes would stay open that the parent closes
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer: it finishes its step first
    for name in ("SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_DFL)
    die_with(parent)
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            key = pipe.recv()
            try:
                answer = _ForkingPickler.dumps((True, work(key)))
            except Exception:  # the parent does it again, and sees for itself
                answer = _ForkingPickler.dumps((False, None))
            pipe.send_bytes(answer)


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _cause(worker: _Worker) -> str:
    worker.process.join(1)
    code = worker.process.exitcode
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return "died" if code is None else f"ended with exit code {code}"
