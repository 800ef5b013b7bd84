"""Forked children, each with a session of its own: what is sent to one meets no other, and none outlives its parent."""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

HANGS = 300.0  # seconds that no child takes

_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
_LIBC = ctypes.CDLL(None)


def forked(act: Callable[[], int], dies_by: int = signal.SIGKILL) -> int:
    """A child's number; this process has one thread, so that the fork is whole.

    A terminal or a shell signals whole groups: with one session for both, Ctrl-C would stop the children of a benchmark
    that counts how they end, and whatever a child did to its group would end the benchmark.

    Args:
        act: what it does; its exit code.
        dies_by: the signal that it gets when this process has ended in whatever way.
    """
    parent, child = os.getpid(), os.fork()
    if child:
        return child
    code = 70  # unless it ends in its own way
    try:
        os.setsid()
        _LIBC.prctl(_DIES_WITH_PARENT, dies_by)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if os.getppid() == parent:
            code = act()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit code, or minus the signal that killed it, and what it said."""

    code: int
    said: str
    seconds: float


@dataclass(slots=True)
class Child:
    """A forked process that does one thing, and whose words are kept.

    Args:
        act: what it does; its exit code.
    """

    act: Callable[[], int]
    pid: int = 0
    began: float = 0.0
    said: int = -1  # the end of a pipe

    def start(self) -> Child:
        """Fork."""
        self.began = time.perf_counter()
        self.said, out = os.pipe()
        fcntl.fcntl(self.said, fcntl.F_SETPIPE_SZ, 1 << 20)  # more than any of them says
        self.pid = forked(lambda: self._live(out))
        os.close(out)
        return self

    def send(self, number: int) -> None:
        """A signal, which a child that has ended does not hear."""
        os.kill(self.pid, number)  # not yet waited for: the number is still its own

    def within(self, seconds: float) -> bool:
        """Whether it ends in this time."""
        handle = os.pidfd_open(self.pid)
        try:
            return bool(select.select([handle], [], [], max(0.0, seconds))[0])
        finally:
            os.close(handle)

    def wait(self, meanwhile: Callable[[], object] = lambda: None) -> Ended:
        """Until it has ended; one that hangs says where, and is killed.

        Args:
            meanwhile: called every ten seconds.
        """
        until = time.perf_counter() + HANGS
        while not self.within(10) and time.perf_counter() < until:
            meanwhile()
        if not self.within(0):
            self.send(signal.SIGUSR1)
            self.within(1)
            self.send(signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        seconds = time.perf_counter() - self.began
        return Ended(os.waitstatus_to_exitcode(status), self._heard(), seconds)

    def _heard(self) -> str:
        os.set_blocking(self.said, False)  # its own children may hold the other end still
        said = b""
        with suppress(BlockingIOError):
            while more := os.read(self.said, 1 << 16):
                said += more
        os.close(self.said)
        return said.decode(errors="replace")

    def _live(self, out: int) -> int:
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115 - for its life
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
        faulthandler.register(signal.SIGUSR1, file=2)
        return self.act()


def ended(act: Callable[[], int], meanwhile: Callable[[], object] = lambda: None) -> Ended:
    """What becomes of a child that nobody disturbs."""
    return Child(act).start().wait(meanwhile)
