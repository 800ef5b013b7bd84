"""A person's wish to stop: the first signal finishes the step and saves, the second stops at once.

While scores are computed there is no step to finish and nothing to save: then the first one stops at once as well.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

from trainwright.core.events import Stop
from trainwright.engine.ranks import one_of_ours, orphaned

T = TypeVar("T")


class _Now(BaseException):
    """The wish, heard where nothing is lost by stopping."""


class Interruption:
    """Listens for SIGINT, SIGTERM and SIGHUP while training; what listened before listens again afterwards."""

    def __init__(self, speaks: bool = True) -> None:
        self.speaks = speaks
        self.name = ""
        self._harmless = self._over = False  # what is done can be done again; nothing is left to be stopped
        self._before: dict[int, Any] = {}
        self._led = one_of_ours()  # asked once: the environment takes 2 µs to be read, and this is asked each step

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for name in (
                "SIGINT",
                "SIGUSR1" if one_of_ours() else "SIGTERM",
                "SIGHUP",
            ):  # an agent's SIGTERM ends a rank
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stays
                    self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> Stop | None:
        """The wish, once it was heard."""
        if self._led and not self.name and orphaned():
            self.name = "the process that started the ranks is gone"
        return Stop(self.name, "interrupted") if self.name else None

    def unless_asked(self, act: Callable[[], T]) -> T | None:
        """What ``act`` returns; None where a signal came: it gives up at once, and there is no harm in that."""
        try:
            self._harmless = True
            return None if self.name else act()
        except _Now:
            return None
        finally:
            self._harmless, self._over = False, True

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.name:
            raise KeyboardInterrupt
        name = signal.Signals(number).name
        self.name = "SIGTERM" if name == "SIGUSR1" else name
        if self.speaks:
            sys.stderr.write(f"\n{self._answer()}\n")
        if self._harmless:
            raise _Now

    def _answer(self) -> str:
        if self._over:
            return "the training is over, and ends in a moment; once more stops at once"
        what = "without the final scores" if self._harmless else "after this step, and saving; once more stops at once"
        return f"stopping {what}"
