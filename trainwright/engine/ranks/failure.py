"""What a rank says when it fails: written where PyTorch's agents read it, and raised again by who started the ranks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trainwright.core.errors import RanksError, UserError

LAUNCHER = "TRAINWRIGHT_LAUNCHER"  # set for each rank: the process that started it
_FILE = "TORCHELASTIC_ERROR_FILE"  # set by the agent for each rank
_OURS = 15  # seconds after the first failure, from which a rank that was killed was killed by the agent


@dataclass(frozen=True, slots=True)
class Ended:
    """How the ranks that were started here ended.

    ``curable``: they may do better if they are started again, since nothing is wrong with what they were asked to do.
    """

    code: int = 0  # the exit code of the rank that is to blame; 128 + n where signal n ended it; 0: all is well
    message: str = ""
    curable: bool = False
    mistake: tuple[str, str, str] | None = None  # where, what, instead: a person's

    def raised(self, more: str = "") -> Exception:
        """The same as an error, with something added."""
        if self.mistake is not None:
            where, what, instead = self.mistake
            error = UserError(where, what, instead)
            error.exit_code = self.code
            return error
        return RanksError("; ".join(part for part in (self.message, more) if part), self.code)


class Failed(Protocol):
    """What an agent knows of a rank that failed."""

    exitcode: int
    timestamp: int
    error_file_data: dict[str, Any]


def tell(message: str, mistake: Sequence[str] | None = None) -> bool:
    """Leave word with the agent that started this process; False where there is none."""
    place = os.environ.get(_FILE)
    if not place or os.environ.get("RANK") is None:
        return False
    told = {"message": message, "extraInfo": {"timestamp": str(int(time.time())), "py_callstack": ""}}
    with contextlib.suppress(OSError):
        with open(place, "w", encoding="utf-8") as file:
            json.dump({"message": told, "mistake": mistake}, file)
        return True
    return False


def ended(failures: Mapping[int, Failed], logs: Mapping[int, str]) -> Ended:
    """Who is to blame among ranks that failed, and what it says.

    Args:
        failures: by rank.
        logs: rank -> what it wrote to standard error, where that was not passed on.
    """
    if not failures:
        return Ended()
    first = min(failure.timestamp for failure in failures.values())
    rank = min(failures, key=lambda r: (_guilt(failures[r], first), r))
    code, told = failures[rank].exitcode, failures[rank].error_file_data
    if code < 0:
        return Ended(128 - code, f"rank {rank} was ended by {name_of(-code)}", curable=True)
    message = told["message"]["message"] if isinstance(told.get("message"), dict) else ""
    mistake = tuple(told["mistake"]) if told.get("mistake") else None
    if not message:
        said = logs.get(rank, "").strip()[-5000:]
        message = f"rank {rank} failed:\n{said}" if said else f"rank {rank} ended with exit code {code}"
    elif rank and code != RanksError.exit_code:
        message = f"rank {rank}: {message}"
    return Ended(code, message, code == RanksError.exit_code, mistake)


def _guilt(failure: Failed, first: int) -> int:
    """Small: who says what is wrong; then who was killed, who misses another, and who was ended because of that."""
    code = failure.exitcode
    if code == -signal.SIGTERM or (code == -signal.SIGKILL and failure.timestamp - first >= _OURS):
        return 4
    if code == RanksError.exit_code:
        return 3
    if code == -signal.SIGABRT:  # how gloo may end a process that misses another
        return 2
    return 1 if code < 0 else 0


def name_of(number: int) -> str:
    """A signal's name, and who sends it without being asked."""
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal
        name = f"signal {number}"
    return f"{name}; the system does that when memory is used up" if name == "SIGKILL" else name
