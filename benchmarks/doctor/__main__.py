"""Measure the doctor: on other people's programs, on healthy ones of our own, on planted faults.

script/bench doctor programs                          # which cases can be built, and which cannot, with the reason
script/bench doctor outcomes --seeds 5 --json OUT     # plain runs, judged by their outcome; goes on where it stopped
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.doctor.outcome import SECONDS, disagreements, outcomes
from benchmarks.doctor.programs import CASES, programs

LEFT = 75  # the exit code of a shard that stopped before its end: run it again


def main() -> int:
    """0 where all is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("--cases", type=Path, default=CASES, help="a folder with files of cases")
    parser.add_argument("--seeds", type=int, default=5, help="from seed 0 on")
    parser.add_argument("--json", type=Path, help="where the runs are written, and what is there already")
    parser.add_argument("--only", default="", help="programs whose id has this in it")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the most a run may take")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these; run again to go on")
    given = parser.parse_args()
    return COMMANDS[given.what](given)


def show(given: argparse.Namespace) -> int:
    """The programs of a folder."""
    built, skipped = programs(given.cases)
    for program in (p for p in built if given.only in p.id):
        problems = ", ".join(program.problems) or "no problem known"
        print(f"{program.id}: {program.status}, {len(program.arrays().x)} rows, {problems}")
        for doubt in program.doubts:
            print(f"    doubt: {doubt}")
    for case in skipped:
        print(f"{case.id}: cannot be built: {case.reason}")
    print(f"{len(built)} built, {len(skipped)} not")
    return 0


def judge(given: argparse.Namespace) -> int:
    """Plain runs of all programs."""
    if given.json is None:
        raise SystemExit("outcomes: name a file for the runs, --json OUT")
    built, skipped = programs(given.cases)
    chosen = [p for p in built if given.only in p.id]
    left = outcomes(chosen, skipped, range(given.seeds), given.json, seconds=given.seconds, minutes=given.minutes)
    runs = json.loads(given.json.read_text())["runs"]
    for line in disagreements(chosen, runs):
        print(line)
    print(f"{len(runs)} runs, {left} left, {len(skipped)} cases not built")
    return LEFT if left else 0


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {"programs": show, "outcomes": judge}

if __name__ == "__main__":
    raise SystemExit(main())
