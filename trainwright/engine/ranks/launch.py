"""Starting the processes of this machine that train together, and starting them again where one was lost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from trainwright.engine.ranks.failure import LAUNCHER, Ended
from trainwright.engine.ranks.meeting import HERE, Meeting

if TYPE_CHECKING:
    from trainwright.engine.ranks.agent import Crew

AGAIN = 3  # times that ranks are started again without having come any further in between
_PAUSE = 1.0  # seconds before a start that follows one without progress: a machine short of something is not pressed


class Lost(Protocol):
    """Is asked whether ranks that ended shall be started again, and says so to a person."""

    def __call__(self, ended: Ended, times: int, /) -> bool:
        """Times: of how many in a row this is; see `AGAIN`."""
        ...


def launched() -> tuple[int, int, int] | None:
    """(rank, world, local rank) where torchrun, its like or `run_ranks` started this process, else None."""
    try:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return None
    return rank, world, int(os.environ.get("LOCAL_RANK", rank))


def orphaned() -> bool:
    """Whether `run_ranks` started this process and is gone, so that nobody waits for it any more."""
    parent = os.environ.get(LAUNCHER)
    return parent is not None and launched() is not None and os.getppid() != int(parent)


def one_of_ours() -> bool:
    """Whether `run_ranks` started this process, and tells a person how it ends."""
    return os.environ.get(LAUNCHER) is not None and launched() is not None


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as s:
        s.bind((HERE, 0))
        return int(s.getsockname()[1])


def run_ranks(
    ranks: int,
    command: Sequence[str],
    *,
    meeting: Meeting | None = None,
    label: str = "ranks",
    progress: Callable[[], int] = lambda: 0,
    lost: Lost = lambda ended, times: False,
) -> Ended:
    """Run ``command`` as ``ranks`` processes of this machine that find each other, and those of other machines.

    PyTorch's elastic agent starts and watches them. The first rank speaks for all. Signals reach every rank. When one
    fails, the others are ended; where that was nobody's mistake, all of them may be started again.

    Args:
        ranks: processes on this machine.
        command: must do again, or go on with, what was interrupted.
        meeting: with other machines; without it, all is on the loopback interface.
        label: of the training; machines with other labels do not meet.
        progress: how far the training is; what goes on may be started again without end, what does not may not.
        lost: is told what happened, and says whether to start again.
    """
    from trainwright.engine.ranks.agent import Crew, hushed

    with tempfile.TemporaryDirectory() as place, hushed():
        crew = Crew(ranks, command, meeting or Meeting(), label, Path(place))
        with _forwarding(crew):
            ended = _again_and_again(crew, progress, lost)
        crew.close(failed=bool(ended.code))
    return ended


def _again_and_again(crew: Crew, progress: Callable[[], int], lost: Lost) -> Ended:
    times, reached = 0, progress()
    while True:
        ended = crew.run()
        if not ended.code or not ended.curable or crew.asked:
            return ended
        now = progress()
        times, reached = (times + 1 if now <= reached else 1), max(now, reached)
        if times > AGAIN or not lost(ended, times):
            return ended
        if times > 1:
            time.sleep(_PAUSE)


@contextlib.contextmanager
def _forwarding(crew: Crew) -> Iterator[None]:
    """A signal to this process is one to all ranks, which are in sessions of their own: a terminal reaches us alone."""

    def forward(number: int, frame: FrameType | None) -> None:
        crew.send(number)

    before = {}
    with contextlib.suppress(ValueError):  # not the main thread: nobody sends signals here
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int) -> None:
    """End this process where it is a rank, without the interpreter's own end: gloo's threads may abort that one."""
    if launched() is None:
        return
    import atexit

    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
