"""The worker processes of a user's DataLoader: watched, so that none outlives us, and none is waited for in vain."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from traceback import walk_tb
from typing import Any

from torch.utils.data import DataLoader

from trainwright.data.pool import die_with

# how torch tells that one died, or is silent, or (where tensors travel as files) left nothing behind
_SIGNS = ("DataLoader worker (pid", "DataLoader timed out", "unable to open shared memory object")


def lost(error: Exception) -> bool:
    """Whether an error tells of a worker that died or hangs, and not of a mistake in the user's code.

    A batch comes as a message that says where the worker keeps its memory. A worker that dies between the two leaves a
    message whose memory is gone: then the error is one of the system, raised where processes talk to each other.
    """
    if isinstance(error, RuntimeError):
        return str(error).startswith(_SIGNS)
    return isinstance(error, (EOFError, OSError)) and any(
        frame.f_globals.get("__name__", "").startswith("multiprocessing.") for frame, _ in walk_tb(error.__traceback__)
    )


@contextmanager
def watched(loader: Iterable[Any], timeout: float) -> Iterator[None]:
    """Iterations that begin within have workers that die with us, and give up after ``timeout`` silent seconds.

    A timeout that the loader has already is kept. Torch tells of a dead worker by an exception out of a signal,
    wherever the program is just then, also in the middle of a step: that signal is switched off, and deaths are seen
    when the next batch is waited for.
    """
    if not isinstance(loader, DataLoader) or not loader.num_workers:
        yield
        return
    patience, begin = loader.timeout, loader.worker_init_fn
    main = threading.current_thread() is threading.main_thread()
    heard = signal.getsignal(signal.SIGCHLD) if main and hasattr(signal, "SIGCHLD") else None
    loader.timeout, loader.worker_init_fn = patience or timeout, partial(_begun, os.getpid(), begin)
    try:
        yield
    finally:
        loader.timeout, loader.worker_init_fn = patience, begin
        if heard is not None and signal.getsignal(signal.SIGCHLD) is not heard:
            signal.signal(signal.SIGCHLD, heard)


def _begun(parent: int, begin: Callable[[int], None] | None, number: int) -> None:
    """The first thing a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer: it finishes its step first
    for name in ("SIGTERM", "SIGHUP"):
        if which := getattr(signal, name, None):
            signal.signal(which, signal.SIG_DFL)  # fork left it the parent's
    die_with(parent)
    if begin is not None:
        begin(number)
