"""Everything a machine, a disk or a person does to a run, done to real ones, in one table.

script/bench faults                                      all of it, 500 kills: less than half an hour on two cores
script/bench faults --short                              a tenth of each
script/bench faults kills locks=25 --kills 50 --rows found
script/bench faults --rows found                         goes on with what an earlier call left undone
script/bench faults --table found                        what is there already, as a table

Every figure comes from this run. The control is the same check of a program without the protection (saves in place,
nothing flushed, nothing verified, nobody listens, the lock off, …): where it finds nothing, the check could not have
failed, and the command says so. Long parts are done in pieces, each with dice and a control of its own. A row is a file
as soon as it is found; a call that is stopped keeps what it has, and the next one with the same folder goes on with the
pieces that have not come to their end. The exit code is 1 unless everything held.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process with several threads cannot be forked whole

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults_beside import fuzz_cases, hostile_files
from benchmarks.faults_bits import corruptions
from benchmarks.faults_child import preloaded
from benchmarks.faults_disk import disks
from benchmarks.faults_kill import kills
from benchmarks.faults_lock import locks
from benchmarks.faults_place import places
from benchmarks.faults_row import Row, merged
from benchmarks.faults_run import Part, ended, ends_by_itself, kept, run
from benchmarks.faults_save import crashes
from benchmarks.faults_signals import signals
from benchmarks.faults_soak import soak
from benchmarks.images import machine

ALONE = ("hostile",)  # its seconds and bytes are steadiest by themselves
PARTS = ("kills", "crashes", "corruptions", "signals", "disks", "places", "locks", "soak", "fuzz", *ALONE)


def pieces_of(number: int, steps: int) -> dict[str, list[Part]]:
    """Each part in pieces of some minutes, as large as the number of kills says."""

    def share(of: int) -> int:
        return max(1, number // of)

    count = max(1, number // 100)
    each, double = even(share(5), count), even(share(10), count)
    return {  # the longest first, so that no core is left over with one at the end
        "kills": [partial(kills, wanted=n, controls=max(5, n // 10)) for n in even(number, count)],
        "fuzz": [partial(fuzz_cases, number=number * 6, share=(i, count)) for i in range(count)],
        "signals": [partial(signals, each=n, double=m) for n, m in zip(each, double, strict=True)],
        "locks": [partial(locks, races=2 * n, kills=m) for n, m in zip(each, double, strict=True)],
        "disks": [partial(disks, points=max(5, number // 12))],
        "soak": [partial(soak, steps=steps)],
        "crashes": [lambda place, whole, dice: crashes(place, dice)],
        "corruptions": [partial(corruptions, flips=number * 2, cuts=number // 2)],
        "places": [places],
        "hostile": [partial(hostile_files, share=(i, count) if number >= 500 else (0, 5)) for i in range(count)],
    }


def even(total: int, count: int) -> list[int]:
    """As many numbers, as equal as can be, that make the total."""
    return [total // count + (i < total % count) for i in range(count)]


def main() -> int:
    """Run what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}, =KILLS for one; all unless given")
    parser.add_argument("--kills", type=int, help="how many; all else is scaled with it (500, or 50 with --short)")
    parser.add_argument("--steps", type=int, help="of the long training (10,000, or 2,000 with --short)")
    parser.add_argument("--short", action="store_true", help="a tenth")
    parser.add_argument("--seed", type=int, default=0, help="of all random moments and places")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (one for each core)")
    parser.add_argument("--rows", type=Path, help="a folder for a file of each row; gone on with where it has some")
    parser.add_argument("--table", type=Path, help="run nothing, print the rows of this folder")
    asked = parser.parse_args()
    asked.sizes = {name: size for name, _, size in (part.partition("=") for part in asked.parts or PARTS)}
    if unknown := [name for name, size in asked.sizes.items() if name not in PARTS or not (size or "1").isdigit()]:
        parser.error(f"{', '.join(unknown)}: choose from {', '.join(PARTS)}, each with =KILLS or without")
    if asked.table is None:
        asked.number = asked.kills or (50 if asked.short else 500)
        asked.steps = asked.steps or (2_000 if asked.short else 10_000)
        asked.sizes = {name: int(size or asked.number) for name, size in asked.sizes.items()}
        asked.rows = asked.rows or Path(tempfile.mkdtemp(prefix="faults-rows-"))
        asked.rows.mkdir(parents=True, exist_ok=True)
        if other := agreed(asked.rows, {"seed": asked.seed, "steps": asked.steps, **asked.sizes}):
            parser.error(f"{asked.rows}: was begun with {other}; go on with that, or name another folder")
        measure(asked)
    else:
        print(table(kept(asked.table, PARTS)))
    rows = kept(asked.table or asked.rows, PARTS)
    return 0 if rows and all(row.held for row in rows) else 1


def agreed(rows: Path, plan: Mapping[str, Any]) -> str:
    """What a folder of rows was begun with, where it is another than now; else it is kept with what is new."""
    file = rows / "plan.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    other = [f"{key} {before[key]}" for key in plan if before.get(key, plan[key]) != plan[key]]
    if not other:
        file.write_text(json.dumps({**before, **plan}) + "\n", encoding="utf-8")
    return ", ".join(other)


def measure(asked: argparse.Namespace) -> None:
    """All pieces that were asked for and have not come to their end; the table comes in any case."""
    print(", ".join(f"{k} {v}" for k, v in machine().items()) + f"; rows go to {asked.rows}", flush=True)
    began = time.perf_counter()
    ends_by_itself()
    order = [name for name in pieces_of(asked.number, asked.steps) if name in asked.sizes]
    wanted = {
        f"{name}.{i}": piece
        for name in order
        for i, piece in enumerate(pieces_of(asked.sizes[name], asked.steps)[name], 1)
        if not ended(f"{name}.{i}", asked.rows)
    }
    print(f"  {len(wanted)} pieces: {', '.join(wanted)}", flush=True)
    try:
        with preloaded() as (place, whole):
            place.chmod(0o755)  # for those who are nobody
            beside = {name: part for name, part in wanted.items() if not name.startswith(ALONE)}
            run(beside, place, whole, asked.seed, asked.rows, asked.jobs)
            alone = {name: part for name, part in wanted.items() if name.startswith(ALONE)}
            run(alone, place, whole, asked.seed, asked.rows, 1)
    finally:
        print(f"\n{table(kept(asked.rows, PARTS))}\n\n{(time.perf_counter() - began) / 60:.1f} minutes", flush=True)


def table(rows: Sequence[Row]) -> str:
    """Markdown; the pieces of a part are one line."""
    lines = ["| check | held | beside that | control | time |", "|---|---|---|---|---|"]
    for row in merged(rows):
        verdict = f"{row.done:,} of {row.of:,}" + (" (blind)" if row.blind else "")
        note = " ".join(row.note.replace("|", "/").split())
        lines.append(f"| {row.check} | {verdict} | {note} | {row.control} | {row.seconds:.0f} s |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
