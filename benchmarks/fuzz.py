"""Files changed at random, through every reader: nothing but our own errors, soon and in little memory.

``python -m benchmarks.fuzz --cases 1000`` changes so many files for each group of readers; ``--group NAME`` takes one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
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
from dataclasses import dataclass, field
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
    slowest: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)  # what was raised and where -> the case that raised it


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

    began = time.process_time()
    signal.alarm(_STUCK)
    try:
        act(data)  # type: ignore[operator]
        found.read += 1
    except TrainwrightError:
        pass
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        found.faults.setdefault(_place_of(error), _kept(data))
    finally:
        signal.alarm(0)
    seconds = time.process_time() - began
    found.cases += 1
    found.slowest = max(found.slowest, seconds)
    if seconds > _SECONDS:
        found.faults.setdefault(f"took {seconds:.1f} s", _kept(data))


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


def fuzz(name: str, number: int, seed: int) -> Found:
    """In processes of its own, since a case may end one: it is then a fault, and the next one goes on."""
    whole, first = Found(name), 0
    with tempfile.TemporaryDirectory() as place:
        while first < number:
            command = [sys.executable, "-m", "benchmarks.fuzz", "--worker", "--group", name, "--place", f"{place}/x"]
            command += ["--cases", str(number), "--seed", str(seed), "--first", str(first)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "XDG_CACHE_HOME": place}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
            last = lines[-1] if lines else {"case": first - 1, "cases": 0, "read": 0, "slowest": 0.0, "faults": {}}
            whole.cases += last["cases"]
            whole.read += last["read"]
            whole.slowest = max(whole.slowest, last["slowest"])
            whole.faults |= {k: v for k, v in last["faults"].items() if k not in whole.faults}
            first = last["case"] + 1
            if done.returncode:
                if not (Path(place) / "case").exists():
                    raise RuntimeError(f"{name} could not begin: {done.stderr[-2000:]}")
                reached = Path(place) / "number"
                first = (int(reached.read_text()) if reached.exists() else first) + 1
                whole.cases += first - 1 - last["case"]
                told = (done.stderr.strip().splitlines() or [""])[-1][:100]
                whole.faults.setdefault(
                    f"ended its process ({done.returncode}) {told}", _kept((Path(place) / "case").read_bytes())
                )
    return whole


def row(number: int = 100, seed: int = 0, groups: Sequence[str] | None = None) -> Row:
    """One line of the table of faults."""
    from benchmarks.fuzz_readers import GROUPS

    began = time.perf_counter()
    found = [fuzz(name, number, seed) for name in groups or GROUPS if name != "planted"]
    planted = fuzz("planted", 1000, seed)
    faults = [f"{f.group}: {what}" for f in found for what in f.faults]
    total = sum(f.cases for f in found)
    note = f"{len(found)} groups of readers; slowest case {max(f.slowest for f in found):.2f} s of processor time"
    note += "".join(f"; {what}" for what in faults[:3])
    control = f"a planted mistake is {'found' if planted.faults else 'missed'} in {planted.cases:,} cases"
    seconds = time.perf_counter() - began
    check = "fuzz cases without an untyped error"
    return Row(check, total - len(faults), total, control, seconds, note, not planted.faults)


def main() -> None:
    """A worker of one group, or all groups one after the other."""
    from benchmarks.fuzz_readers import GROUPS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--place", type=Path)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    if asked.worker:
        for case, found in cases(asked.group[0], asked.cases, asked.seed, asked.place, asked.first):
            (asked.place.parent / "number").write_text(str(case + 1))
            if case % 100 == 99 or case == asked.cases - 1 or time.time() % 10 < 0.05:
                told = {"case": case, "cases": found.cases, "read": found.read, "slowest": found.slowest}
                print(json.dumps({**told, "faults": found.faults}), flush=True)
        return
    for name in asked.group or GROUPS:
        began = time.perf_counter()
        found = fuzz(name, asked.cases, asked.seed)
        took = f"slowest {found.slowest:.2f} s, {time.perf_counter() - began:.0f} s in all"
        print(f"{name}: {found.cases:,} cases, {found.read:,} read, {len(found.faults)} faults, {took}", flush=True)
        for what, case in found.faults.items():
            print(f"    {what}\n        {case}", flush=True)


if __name__ == "__main__":
    main()
