"""Asks the process that looks into networks: begun when somebody asks, ended when nobody does for a while."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from threading import Lock, Timer
from typing import Any, NamedTuple

from trainwright.runs.directory import CAPTURES
from trainwright.studio.files import Place, UnreadableError

ASKS = {
    "inside": "outline", "inside/step": "graph", "inside/numbers": "numbers", "inside/cell": "cell",
    "inside/decisions": "decisions", "inside/units": "units", "try": "offered", "says": "judged",
    "says/looks": "looks", "says/attention": "attention",
}  # by route  # fmt: skip
LOOKS = ("outline", "graph", "numbers", "cell", "decisions", "units")  # that captures can answer
COUNTS = ("numbers", "attention", "units")  # whose answers have numbers behind their heads
NAMED = ("part", "what", "at", "text")  # options of a question that are words
COUNTED = ("step", "sample", "node", "cell", "slab", "row", "column")  # and whole numbers

PATIENCE = 180.0  # seconds of one answer
IDLE = 600.0  # seconds without a question after which the process ends
_ANSWERS, _BYTES = 32, 64 << 20  # that are kept
_HEAD = 64 << 20  # bytes of the head of an answer at most
_WAITING = 8  # questions that may wait for an answer


def refusal(place: Place, ask: str = "") -> str:
    """Why nobody need be asked about a run: its network cannot be built, or has not learned yet; empty otherwise.

    Of a module of somebody's own, what was captured can be looked at, and no more.
    """
    manifest = place.manifest()
    if manifest.get("kind") == "own" and not (ask in LOOKS and (place.path / CAPTURES).is_dir()):
        model = manifest.get("model")
        name = model.get("class", "") if isinstance(model, dict) else ""
        return f"this run trained a module of your own ({name}), whose code no file of the run can name"
    if manifest.get("kind") == "own":
        return ""
    kept = place.path / "checkpoints"
    if kept.is_symlink() or not kept.is_dir() or not any(kept.iterdir()):
        return "this run has no checkpoint yet; the inside opens with its first one"
    return ""


class BusyError(Exception):
    """Too many questions wait."""


class Told(NamedTuple):
    """An answer: plain data, and numbers."""

    head: dict[str, Any]
    numbers: bytes


class Insides:
    """One process for all who look; questions wait for each other, and the same one is answered once.

    The process has torch, the studio has not: what is read there can neither stop nor slow the studio.
    """

    def __init__(self) -> None:
        self._lock, self._desk = Lock(), Lock()  # of the process; and of what is kept and who waits
        self._waiting = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._used = 0.0
        self._answers: OrderedDict[str, Told] = OrderedDict()

    def ask(self, question: Mapping[str, Any], depends: object) -> Told:
        """The answer; UnreadableError says why there is none.

        BusyError where too many wait already.

        Args:
            question: ``ask``, ``run`` and options.
            depends: what else the answer depends on, such as the checkpoints there are.
        """
        key = sha256(json.dumps([dict(question), str(depends)], sort_keys=True).encode()).hexdigest()
        with self._desk:
            if (kept := self._answers.get(key)) is not None:
                self._answers.move_to_end(key)
                return kept
            if self._waiting >= _WAITING:
                raise BusyError
            self._waiting += 1
        try:
            with self._lock:
                told = self._answers.get(key) or self._asked(question)
        finally:
            with self._desk:
                self._waiting -= 1
        with self._desk:
            self._keep(key, told)
        return told

    def warm(self) -> None:
        """Begin the process before the first question: to start it takes longer than to answer."""
        if self._lock.acquire(blocking=False):
            try:
                self._begun()
                self._used = time.monotonic()
            finally:
                self._lock.release()

    def _keep(self, key: str, told: Told) -> None:
        self._answers[key] = told
        while len(self._answers) > _ANSWERS or sum(len(a.numbers) for a in self._answers.values()) > _BYTES:
            self._answers.popitem(last=False)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def rest(self) -> None:
        """End the process where nobody asked for long, and nobody waits."""
        if self._process is not None and time.monotonic() - self._used > IDLE and self._lock.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._lock.release()

    def _asked(self, question: Mapping[str, Any]) -> Told:
        self._used = time.monotonic()
        process = self._begun()
        limit = Timer(PATIENCE, process.kill)
        limit.daemon = True
        limit.start()
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(dict(question)).encode() + b"\n")
            process.stdin.flush()
            (size,) = struct.unpack("<I", self._read(process, 4))
            if size > _HEAD:
                raise EOFError
            told = json.loads(self._read(process, size))
            numbers = self._read(process, told["bytes"])
        except (OSError, EOFError, ValueError):
            self.close()
            raise UnreadableError("the process that looks into the network ended; it may lack memory") from None
        finally:
            limit.cancel()
            self._used = time.monotonic()
        if "error" in told["head"]:
            raise UnreadableError(str(told["head"]["error"]))
        return Told(told["head"], numbers)

    def _begun(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            command = [sys.executable, "-m", "trainwright.inside"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def _read(self, process: subprocess.Popen[bytes], size: int) -> bytes:
        assert process.stdout is not None
        data = process.stdout.read(size)
        if len(data) != size:
            raise EOFError
        return data
