"""Starting several processes on this machine, and telling whether this is one of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from trainwright.core.errors import RanksError

_PARENT = "TRAINWRIGHT_LAUNCHER"  # the process that started the ranks
_HERE = "127.0.0.1"
_GRACE = 30.0  # seconds that the others get to end by themselves once one has failed


def launched() -> tuple[int, int, int] | None:
    """(rank, world, local rank) where torchrun, its like or `run_ranks` started this process, else None."""
    try:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return None
    return rank, world, int(os.environ.get("LOCAL_RANK", rank))


def run_ranks(ranks: int, command: Sequence[str]) -> int:
    """Run ``command`` as ``ranks`` processes that find each other on the loopback interface; the exit code of all.

    The first rank speaks for all: what others write to standard error is passed on only where the first did not fail
    by itself. Signals reach every rank; when one rank fails, the others are ended. The code is that of the rank that
    ended first with another than 0, which is the cause: 128 + n where that was signal n.
    """
    place = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": _HERE, "MASTER_PORT": str(free_port())}
    place[_PARENT] = str(os.getpid())
    place["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", _loopback())
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))}
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(ranks)]
        children = []
        for rank in range(ranks):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            out, err = (subprocess.DEVNULL, logs[rank]) if rank else (None, None)
            environment = {**os.environ, **threads, **place, **own}
            children.append(subprocess.Popen(command, env=environment, stdout=out, stderr=err))
        with _forwarding(children):
            cause = _waited(children)
        if cause is None:
            return 0
        code, speaker = children[cause].returncode, children[0].returncode
        if speaker in (0, -signal.SIGTERM, RanksError.exit_code) and cause:
            logs[cause].seek(0)
            sys.stderr.write(f"rank {cause} failed:\n{logs[cause].read().decode(errors='replace')[-5000:]}\n")
        if code < 0:
            sys.stderr.write(f"rank {cause} was ended by {_signal(-code)}\n")
    return code if code > 0 else 128 - code


def _signal(number: int) -> str:
    """Its name, and who sends it without being asked."""
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal
        name = f"signal {number}"
    return f"{name}; the system does that when memory is used up" if name == "SIGKILL" else name


def orphaned() -> bool:
    """Whether `run_ranks` started this process and is gone, so that nobody waits for it any more."""
    parent = os.environ.get(_PARENT)
    return parent is not None and launched() is not None and os.getppid() != int(parent)


def on_loopback() -> bool:
    """Whether `run_ranks` started this process: all ranks are on this machine, and nobody else shall reach them."""
    return os.environ.get(_PARENT) is not None and os.environ.get("MASTER_ADDR") == _HERE


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as s:
        s.bind((_HERE, 0))
        return int(s.getsockname()[1])


def _loopback() -> str:
    """The name of the loopback interface: lo on Linux, lo0 on macOS."""
    try:
        names = [name for _, name in socket.if_nameindex()]
    except OSError:
        names = []
    return next((name for name in names if name in ("lo", "lo0")), "lo")


def _waited(children: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The rank that failed first, if any; the others then get some time to follow, and are ended."""
    deadline: float | None = None
    cause: int | None = None
    while True:
        codes = [child.poll() for child in children]
        if cause is None and any(codes):
            failed = [rank for rank, code in enumerate(codes) if code]
            cause = min(failed, key=lambda rank: codes[rank] == RanksError.exit_code)  # which names another
            deadline = time.monotonic() + (2.0 if codes[0] is None else _GRACE)
        if None not in codes:
            return cause
        if deadline is not None and time.monotonic() > deadline:
            for child in children:
                child.terminate()
            deadline = time.monotonic() + _GRACE
        time.sleep(0.05)


@contextlib.contextmanager
def _forwarding(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """A signal to this process is one to all ranks; Ctrl-C on a terminal reaches them anyway."""

    def forward(number: int, frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    def ignore(number: int, frame: FrameType | None) -> None:
        if not sys.stdin or not sys.stdin.isatty():
            forward(number, frame)

    before = {}
    with contextlib.suppress(ValueError):  # not the main thread: nobody sends signals here
        before = {signal.SIGTERM: signal.signal(signal.SIGTERM, forward)}
        before[signal.SIGINT] = signal.signal(signal.SIGINT, ignore)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
