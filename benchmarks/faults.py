"""Everything a machine, a disk or a person does to a run, done to real ones, in one table.

script/bench faults                                      all of it, 500 kills: about half an hour on one core
script/bench faults --short                              a tenth of each
script/bench faults kills locks --kills 50 --json faults.json

Every figure comes from this run. The control is the same check of a program without the protection (saves in place,
nothing flushed, nothing verified, nobody listens, the lock off, …): where it finds nothing, the check could not have
failed, and the command says so. The exit code is 1 unless everything held.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process with several threads cannot be forked whole

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.faults_bits import corruptions
from benchmarks.faults_child import preloaded
from benchmarks.faults_disk import disks
from benchmarks.faults_kill import kills
from benchmarks.faults_lock import locks
from benchmarks.faults_place import places
from benchmarks.faults_row import Row
from benchmarks.faults_save import crashes
from benchmarks.faults_signals import signals
from benchmarks.faults_soak import soak
from benchmarks.images import machine

Part = Callable[[Path, Path, random.Random, argparse.Namespace], list[Row]]

PARTS: dict[str, Part] = {
    "kills": lambda place, whole, dice, asked: kills(place, whole, asked.kills, dice, max(12, asked.kills // 10)),
    "crashes": lambda place, whole, dice, asked: crashes(place, dice),
    "corruptions": lambda place, whole, dice, asked: corruptions(place, whole, dice, asked.kills * 2, asked.kills // 2),
    "signals": lambda place, whole, dice, asked: signals(place, whole, dice, asked.kills // 5, asked.kills // 10),
    "disks": lambda place, whole, dice, asked: disks(place, whole, dice, max(5, asked.kills // 12)),
    "places": lambda place, whole, dice, asked: places(place, whole, dice),
    "locks": lambda place, whole, dice, asked: locks(place, whole, dice, asked.kills * 2 // 5, asked.kills // 10),
    "soak": lambda place, whole, dice, asked: soak(place, whole, dice, asked.steps),
}  # fmt: skip

BESIDE = ("hostile", "fuzz")  # modules that give one row each


def main() -> int:
    """Run what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join([*PARTS, *BESIDE])}; all unless given")
    parser.add_argument("--kills", type=int, help="how many; all else is scaled with it (500, or 50 with --short)")
    parser.add_argument("--steps", type=int, help="of the long training (10,000, or 2,000 with --short)")
    parser.add_argument("--short", action="store_true", help="a tenth")
    parser.add_argument("--seed", type=int, default=0, help="of all random moments and places")
    parser.add_argument("--json", type=Path, help="write the rows there as well")
    asked = parser.parse_args()
    asked.kills = asked.kills or (50 if asked.short else 500)
    asked.steps = asked.steps or (2_000 if asked.short else 10_000)
    parts = asked.parts or [*PARTS, *(name for name in BESIDE if find_spec(f"benchmarks.{name}"))]
    if unknown := set(parts) - {*PARTS, *BESIDE}:
        parser.error(f"{', '.join(unknown)}: choose from {', '.join([*PARTS, *BESIDE])}")
    print(", ".join(f"{k} {v}" for k, v in machine().items()))
    rows = collected(parts, asked)
    print("\n" + table(rows))
    if asked.json:
        whole = {"machine": machine(), "rows": [{**asdict(row), "held": row.held} for row in rows]}
        asked.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.held for row in rows) else 1


def collected(parts: Sequence[str], asked: argparse.Namespace) -> list[Row]:
    """The rows of each part, said as they come."""
    rows: list[Row] = []

    def said(found: list[Row]) -> None:
        rows.extend(found)
        for row in found:
            print(f"  {row.done} of {row.of}  {row.check}  ({row.seconds:.0f} s)  {row.note}", flush=True)

    ours = [part for part in parts if part in PARTS]
    if ours:
        with preloaded() as (place, whole):
            for part in ours:
                said(PARTS[part](place, whole, random.Random(asked.seed), asked))
    for name in (part for part in parts if part in BESIDE):
        module: Any = import_module(f"benchmarks.{name}")
        said([module.row()])
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| check | held | control | time |", "|---|---|---|---|"]
    for row in rows:
        verdict = f"{row.done:,} of {row.of:,}" + (" (blind)" if row.blind else "")
        lines.append(f"| {row.check} | {verdict} | {row.control} | {row.seconds:.0f} s |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
