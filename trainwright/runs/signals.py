"""A person's wish to stop: the first signal finishes the step and saves, the second stops at once."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from trainwright.core.events import Stop
from trainwright.engine.ranks import orphaned


class Interruption:
    """Listens for SIGINT, SIGTERM and SIGHUP while training; what listened before listens again afterwards."""

    def __init__(self, speaks: bool = True) -> None:
        self.speaks = speaks
        self.name = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
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
        if not self.name and orphaned():
            self.name = "the process that started the ranks is gone"
        return Stop(self.name, "interrupted") if self.name else None

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.name:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
        if self.speaks:
            sys.stderr.write("\nstopping after this step, and saving; once more stops at once\n")
