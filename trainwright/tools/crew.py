"""Several processes of this machine that work on one folder: each is the same command, told to join."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

from trainwright.core.errors import TrainwrightError

_PARENT = "TRAINWRIGHT_CREW"  # the process that waits for this one
_EVERY = 0.5  # seconds between two looks at what they did


class CrewError(TrainwrightError):
    """One of several processes failed."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


def orphaned() -> bool:
    """Whether `run_crew` started this process and is gone, so that nobody waits for it any more."""
    return crewed() and os.getppid() != int(os.environ[_PARENT])


def crewed() -> bool:
    """Whether `run_crew` started this process."""
    return os.environ.get(_PARENT, "").isdigit()


def run_crew(workers: int, arguments: Sequence[str], look: Callable[[], None]) -> int:
    """Run ``trainwright`` with the same arguments so often at once, wait for all, and return the exit code of all.

    Each gets its share of the cores. Signals reach every one. The code is 0, or 128 + n where signal n ended them;
    CrewError, with the last words, where one failed.

    Args:
        workers: processes.
        arguments: of the command line.
        look: is called now and then while they run, and at the end.
    """
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    place = {**os.environ, _PARENT: str(os.getpid()), "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", "trainwright", *arguments]
    with ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(workers)]
        children = [
            subprocess.Popen(command, env=place, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
            for log in logs
        ]  # in a session of their own: a terminal's Ctrl-C would else reach them twice
        with _forwarding(children):
            for child in children:
                while child.poll() is None:
                    look()
                    try:
                        child.wait(_EVERY)
                    except subprocess.TimeoutExpired:
                        continue
        look()
        for child, log in zip(children, logs, strict=True):
            if child.returncode and not 128 < child.returncode <= 128 + signal.NSIG:
                log.seek(0)
                said = log.read().decode(errors="replace").strip()[-2000:]
                code = child.returncode if child.returncode > 0 else 128 - child.returncode
                raise CrewError(f"a worker failed: {said.removeprefix('error: ') or f'exit code {code}'}", code)
    return max(child.returncode for child in children)


@contextmanager
def _forwarding(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """SIGINT and SIGTERM are the children's too; this process waits until they have saved."""

    def forward(number: int, frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    heard = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {s: signal.signal(s, forward) for s in heard}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
