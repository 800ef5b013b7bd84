"""Files changed at random, through every reader: nothing but our own errors, soon and in little memory.

``python -m benchmarks.fuzz --cases 1000`` changes so many files for each group of readers, ``--seconds 30`` as many as
it can in that time, whichever ends first; ``--group NAME`` takes one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.faults_row import Row

_SECONDS, _MEMORY = 2.0, 512 << 20  # of processor time, and bytes beside what is loaded, that a case may take
_STUCK = 60  # seconds after which a case ends its process
_HOUSE = str(Path(__file__).parent.parent / "trainwright")


@dataclass(slots=True)
class Found:
    """What the cases of one group came to."""

    group: str
    cases: int = 0
    read: int = 0  # without an error
    faulty: int = 0  # with an error that is not ours, too slowly, or to the end of the process
    slowest: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)  # what was raised and where -> the case that raised it

    def add(self, more: Found) -> None:
        """What further cases came to."""
        self.cases, self.read, self.faulty = self.cases + more.cases, self.read + more.read, self.faulty + more.faulty
        self.slowest = max(self.slowest, more.slowest)
        self.faults = {**more.faults, **self.faults}


def cases(
    name: str, number: int, seed: int, place: Path, first: int = 0, alone: bool = True
) -> Iterator[tuple[int, Found]]:
    """In this process: change files and read them; after each case, its number and all that was found so far.

    A process that is not there for this ``alone`` keeps its memory.
    """
    from benchmarks.fuzz_readers import GROUPS

    place.mkdir(parents=True, exist_ok=True)
    seeds, mutate, act = GROUPS[name](place)
    found = Found(name)
    for data in seeds:  # loads what is needed, and says that the seeds are sound
        act(data)
    if alone:
        _limit()
    for case in range(first, number):
        dice = random.Random(f"{seed}-{name}-{case}")
        data = mutate(dice.choice(list(seeds)), dice)
        (place.parent / "case").write_bytes(data)
        _one(found, act, data)
        yield case, found


def _one(found: Found, act: object, data: bytes) -> None:
    from trainwright.core.errors import TrainwrightError

    began, fault = time.process_time(), ""
    signal.alarm(_STUCK)
    try:
        act(data)  # type: ignore[operator]
        found.read += 1
    except TrainwrightError:
        pass
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        fault = _place_of(error)
    finally:
        signal.alarm(0)
    seconds = time.process_time() - began
    found.cases += 1
    found.slowest = max(found.slowest, seconds)
    if not fault and seconds > _SECONDS:
        fault = f"took {seconds:.1f} s"
    if fault:
        found.faulty += 1
        found.faults.setdefault(fault, _kept(data))


def _place_of(error: BaseException) -> str:
    """The error and the last line of ours that it passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(_HOUSE)]
    where = f"{Path(frames[-1].filename).relative_to(_HOUSE)}:{frames[-1].lineno}" if frames else "elsewhere"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:80]}"


def _kept(data: bytes) -> str:
    """Where the case is kept for whoever repairs it."""
    folder = Path(os.environ.get("TRAINWRIGHT_FUZZ", tempfile.gettempdir())) / "trainwright-fuzz"
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    return str(folder / hashlib.sha256(data).hexdigest()[:12])


def _limit() -> None:
    """No more memory than a case may take beside what is loaded."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def fuzz(name: str, number: int, seed: int, seconds: float = math.inf) -> Found:
    """In processes of its own, since a case may end one: it is then a fault, and the next one goes on.

    Args:
        name: of the group of readers.
        number: of cases, at most.
        seed: of the mutations.
        seconds: after which no case begins, counted from the first.
    """
    whole, first, spent = Found(name), 0, 0.0
    with tempfile.TemporaryDirectory() as place:
        while first < number and spent < seconds:
            (Path(place) / "number").write_text(str(first))
            began = time.monotonic()
            asked = ["--cases", number, "--seed", seed, "--first", first, "--seconds", seconds - spent]
            done = _worker(name, place, asked)
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"cases"')]
            for last in lines[-1:]:
                whole.add(Found(name, **last))
            if not done.returncode:
                break
            if not (Path(place) / "case").exists():
                raise RuntimeError(f"{name} could not begin: {done.stderr[-2000:]}")
            reached = int((Path(place) / "number").read_text())  # the case that ended it
            told = (done.stderr.strip().splitlines() or [""])[-1][:100]
            case = _kept((Path(place) / "case").read_bytes())
            whole.add(Found(name, faulty=1, faults={f"ended its process ({done.returncode}) {told}": case}))
            whole.cases = first = reached + 1
            spent += time.monotonic() - began
    return whole


def _worker(name: str, place: str, asked: Sequence[object]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--worker", "--group", name, "--place", f"{place}/x"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "XDG_CACHE_HOME": place}
    return subprocess.run([*command, *map(str, asked)], capture_output=True, text=True, env=environment)


def row(number: int = 1_000_000, seed: int = 0, groups: Sequence[str] | None = None, seconds: float = 10.0) -> Row:
    """One line of the table of faults: so many cases of each group, or as many as there is time for."""
    from benchmarks.fuzz_readers import GROUPS

    began = time.perf_counter()
    found = [fuzz(name, number, seed, seconds) for name in groups or GROUPS if name != "planted"]
    planted = fuzz("planted", 1000, seed)
    faults = [f"{f.group}: {what}" for f in found for what in f.faults]
    total, faulty = sum(f.cases for f in found), sum(f.faulty for f in found)
    note = f"{len(found)} groups of readers; slowest case {max(f.slowest for f in found):.2f} s of processor time"
    note += "".join(f"; {what}" for what in faults[:3])
    control = f"a planted mistake is {'found' if planted.faults else 'missed'} in {planted.cases:,} cases"
    seconds = time.perf_counter() - began
    check = "fuzz cases without an untyped error"
    return Row(check, total - faulty, total, control, seconds, note, not planted.faults)


def main() -> None:
    """A worker of one group, or all groups one after the other."""
    from benchmarks.fuzz_readers import GROUPS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--place", type=Path)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    if asked.worker:
        _work(asked)
        return
    for name in asked.group or GROUPS:
        began = time.perf_counter()
        found = fuzz(name, asked.cases, asked.seed, asked.seconds)
        took = f"slowest {found.slowest:.2f} s, {time.perf_counter() - began:.0f} s in all"
        counts = f"{found.cases:,} cases, {found.read:,} read, {found.faulty} faulty"
        print(f"{name}: {counts}, {took}", flush=True)
        for what, case in found.faults.items():
            print(f"    {what}\n        {case}", flush=True)


def _work(asked: argparse.Namespace) -> None:
    """One group in this process, told line by line: whatever ends the process, the last line tells of all before it."""
    began = math.inf
    for case, found in cases(asked.group[0], asked.cases, asked.seed, asked.place, asked.first):
        began = min(began, time.monotonic())
        (asked.place.parent / "number").write_text(str(case + 1))
        over = time.monotonic() - began >= asked.seconds
        if case % 100 == 99 or case == asked.cases - 1 or over:
            told = {k: v for k, v in asdict(found).items() if k != "group"}
            print(json.dumps(told), flush=True)
        if over:
            return


if __name__ == "__main__":
    main()
