"""The parts of the table, each in a forked process of its own: a row is kept as soon as it is found, whatever comes."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from benchmarks.faults_process import forked
from benchmarks.faults_row import Row

Part = Callable[[Path, Path, random.Random], Iterator[Row]]  # of a folder to work in, the undisturbed run, and dice

_ASKED = {number: signal.Signals(number).name for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


def run(parts: Mapping[str, Part], place: Path, whole: Path, seed: int, rows: Path, jobs: int) -> None:
    """All of them, so many at once; what becomes of one is nothing to the others.

    Args:
        place: where each gets a folder.
        whole: the run that nobody disturbed.
        seed: of the dice of each.
        rows: the folder in which a file is written for each row.
        jobs: processes.
    """
    waiting, running = list(parts), dict[int, str]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                running[_started(name, parts[name], place, whole, seed, rows)] = name
            child, status = os.wait()
            _closed(running.pop(child), os.waitstatus_to_exitcode(status), rows)
    finally:
        for child in running:
            os.kill(child, signal.SIGTERM)
        for child in running:
            os.waitpid(child, 0)


def ended(name: str, rows: Path) -> bool:
    """Whether a piece has come to its end in an earlier call."""
    return (rows / f"{name}.ended").is_file()


def kept(rows: Path, order: Sequence[str] = ()) -> list[Row]:
    """What was found so far, by part."""

    def place(file: Path) -> tuple[int, str, int]:
        piece, _, number = file.stem.rpartition("-")
        part = piece.partition(".")[0]
        return (order.index(part) if part in order else len(order), piece, int(number))

    return [Row.kept(file) for file in sorted(rows.glob("*-*.json"), key=place)]


def ends_by_itself() -> None:
    """The first signal to stop is an exit that clears up and says its name; a second one is not waited for."""

    def asked(number: int, frame: FrameType | None) -> None:
        for other in _ASKED:
            signal.signal(other, signal.SIG_DFL)
        print(f"stopped by {_ASKED[signal.Signals(number)]}", flush=True)
        raise SystemExit(128 + number)

    for number in _ASKED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stays
            signal.signal(number, asked)


def _started(name: str, part: Part, place: Path, whole: Path, seed: int, rows: Path) -> int:
    """The number of its process, which ends in its own way when this one has ended: disks are unmounted."""

    def act() -> int:
        try:
            ends_by_itself()
            own = place / name
            own.mkdir(mode=0o755)
            os.environ.setdefault("TRAINWRIGHT_FUZZ", tempfile.gettempdir())  # there what is to be repaired stays
            tempfile.tempdir = str(own)  # and all else goes with the folder
            for before in rows.glob(f"{name}-*.json"):  # of a call that did not come to the piece's end
                before.unlink()
            for number, row in enumerate(part(own, whole, random.Random(f"{seed} {name}")), 1):
                row.keep(rows / f"{name}-{number}.json")
                print(f"  {row.done:,} of {row.of:,}  {row.check}  ({row.seconds:.0f} s)  {row.note}", flush=True)
            (rows / f"{name}.ended").touch()
        except SystemExit as asked:
            return int(asked.code or 0)
        except Exception as error:
            traceback.print_exc()
            Row(f"{name}, to its end", 0, 1, "", 0.0, f"{type(error).__name__}: {error}").keep(rows / f"{name}-99.json")
            return 1
        return 0

    return forked(act, dies_by=signal.SIGTERM)


def _closed(name: str, code: int, rows: Path) -> None:
    """A process that ended in another way than by its last row is a row as well."""
    file = rows / f"{name}-99.json"
    if code == 0 or file.exists():
        return
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    print(f"  {name}: its process ended early, {how}", flush=True)
    Row(f"{name}, to its end", 0, 1, "", 0.0, how).keep(file)
