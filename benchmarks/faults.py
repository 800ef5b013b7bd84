"""Everything a machine, a disk or a person does to a run, done to real ones, in one table.

script/bench faults                                      all of it, 500 kills: less than half an hour on two cores
script/bench faults --short                              a tenth of each
script/bench faults kills locks=25 --kills 50 --rows found
script/bench faults --table found                        what is there already, as a table

Every figure comes from this run. The control is the same check of a program without the protection (saves in place,
nothing flushed, nothing verified, nobody listens, the lock off, …): where it finds nothing, the check could not have
failed, and the command says so. Each row is a file as soon as it is found, so a run that is stopped keeps what it has.
The exit code is 1 unless everything held.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process with several threads cannot be forked whole

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults_beside import fuzz_cases, hostile_files
from benchmarks.faults_bits import corruptions
from benchmarks.faults_child import preloaded
from benchmarks.faults_disk import disks
from benchmarks.faults_kill import kills
from benchmarks.faults_lock import locks
from benchmarks.faults_place import places
from benchmarks.faults_row import Row
from benchmarks.faults_run import Part, ends_by_itself, kept, run
from benchmarks.faults_save import crashes
from benchmarks.faults_signals import signals
from benchmarks.faults_soak import soak
from benchmarks.images import machine

ALONE = ("hostile",)  # its seconds and bytes are steadiest by themselves
PARTS = ("kills", "crashes", "corruptions", "signals", "disks", "places", "locks", "soak", "fuzz", *ALONE)


def parts_of(number: int, steps: int) -> dict[str, Part]:
    """Each part, as large as the number of kills says."""

    def share(of: int) -> int:
        return max(1, number // of)

    return {  # the longest first, so that no core is left over with one at the end
        "kills": lambda place, whole, dice: kills(place, whole, number, dice, max(5, number // 10)),
        "fuzz": lambda place, whole, dice: fuzz_cases(place, whole, dice, number * 6),
        "signals": lambda place, whole, dice: signals(place, whole, dice, share(5), share(10)),
        "locks": lambda place, whole, dice: locks(place, whole, dice, share(5) * 2, share(10)),
        "disks": lambda place, whole, dice: disks(place, whole, dice, max(5, number // 12)),
        "soak": lambda place, whole, dice: soak(place, whole, dice, steps),
        "crashes": lambda place, whole, dice: crashes(place, dice),
        "corruptions": lambda place, whole, dice: corruptions(place, whole, dice, number * 2, number // 2),
        "places": lambda place, whole, dice: places(place, whole, dice),
        "hostile": lambda place, whole, dice: hostile_files(place, whole, dice, 1 if number >= 500 else 5),
    }


def main() -> int:
    """Run what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}, =KILLS for one; all unless given")
    parser.add_argument("--kills", type=int, help="how many; all else is scaled with it (500, or 50 with --short)")
    parser.add_argument("--steps", type=int, help="of the long training (10,000, or 2,000 with --short)")
    parser.add_argument("--short", action="store_true", help="a tenth")
    parser.add_argument("--seed", type=int, default=0, help="of all random moments and places")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (one for each core)")
    parser.add_argument("--rows", type=Path, help="a new folder for a file of each row (a temporary one)")
    parser.add_argument("--table", type=Path, help="run nothing, print the rows of this folder")
    asked = parser.parse_args()
    asked.sizes = {name: size for name, _, size in (part.partition("=") for part in asked.parts or PARTS)}
    if unknown := [name for name, size in asked.sizes.items() if name not in PARTS or not (size or "1").isdigit()]:
        parser.error(f"{', '.join(unknown)}: choose from {', '.join(PARTS)}, each with =KILLS or without")
    if asked.rows and asked.rows.exists():
        parser.error(f"{asked.rows}: is there already")
    if asked.table is None:
        asked.rows = asked.rows or Path(tempfile.mkdtemp(prefix="faults-rows-"))
        asked.rows.mkdir(parents=True, exist_ok=True)
        measure(asked)
    else:
        print(table(kept(asked.table, PARTS)))
    rows = kept(asked.table or asked.rows, PARTS)
    return 0 if rows and all(row.held for row in rows) else 1


def measure(asked: argparse.Namespace) -> None:
    """All parts that were asked for; the table comes in any case."""
    print(", ".join(f"{k} {v}" for k, v in machine().items()) + f"; rows go to {asked.rows}", flush=True)
    began = time.perf_counter()
    ends_by_itself()
    number, steps = asked.kills or (50 if asked.short else 500), asked.steps or (2_000 if asked.short else 10_000)
    order = [name for name in parts_of(number, steps) if name in asked.sizes]
    wanted = {name: parts_of(int(asked.sizes[name] or number), steps)[name] for name in order}
    try:
        with preloaded() as (place, whole):
            place.chmod(0o755)  # for those who are nobody
            beside = {name: part for name, part in wanted.items() if name not in ALONE}
            run(beside, place, whole, asked.seed, asked.rows, asked.jobs)
            alone = {name: part for name, part in wanted.items() if name in ALONE}
            run(alone, place, whole, asked.seed, asked.rows, 1)
    finally:
        print(f"\n{table(kept(asked.rows, PARTS))}\n\n{(time.perf_counter() - began) / 60:.1f} minutes", flush=True)


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| check | held | beside that | control | time |", "|---|---|---|---|---|"]
    for row in rows:
        verdict = f"{row.done:,} of {row.of:,}" + (" (blind)" if row.blind else "")
        note = " ".join(row.note.replace("|", "/").split())
        lines.append(f"| {row.check} | {verdict} | {note} | {row.control} | {row.seconds:.0f} s |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
