"""The rows of hostile and of mutated files in the table of faults, with a word on how far they are."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

from benchmarks import fuzz, hostile
from benchmarks.faults_row import Row, paced

PLANTED = "planted"  # the control of the mutated files
_LONGEST = 120.0  # seconds for a group: the reader of Parquet starts a process for each case


def hostile_files(place: Path, whole: Path, dice: random.Random, share: tuple[int, int] = (0, 1)) -> Iterator[Row]:
    """All of them through every door, or through some: from which on, and every how many."""
    doors = [*dict.fromkeys((*hostile.FILE_DOORS, "predict", *hostile.RUN_DOORS))][slice(share[0], None, share[1])]
    tried = [hostile.run_all(only=[door]) for door in paced("doors for hostile files", doors)]
    found = [outcome for outcomes, _ in tried for outcome in outcomes]
    yield hostile.told(found, sum(seconds for _, seconds in tried), hostile.control())


def fuzz_cases(
    place: Path, whole: Path, dice: random.Random, number: int, share: tuple[int, int] = (0, 1)
) -> Iterator[Row]:
    """So many for each group of readers, or for some of them; fewer where that takes long."""
    from benchmarks.fuzz_readers import GROUPS

    began, seed = time.perf_counter(), dice.randrange(1 << 30)
    groups = [name for name in GROUPS if name != PLANTED][slice(share[0], None, share[1])]
    found = {
        name: fuzz.fuzz(name, number, seed, _LONGEST) for name in paced("groups of readers of mutated files", groups)
    }
    seconds = time.perf_counter() - began
    found[PLANTED] = fuzz.fuzz(PLANTED, 1000, seed)
    with mock.patch.object(fuzz, "fuzz", lambda name, *asked: found[name]):
        yield replace(fuzz.row(number, seed, groups), seconds=seconds)
