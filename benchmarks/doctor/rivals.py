"""The controls again, each with as many steps as healing took: records of `heal`, filled up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.doctor.controls import CONTROLS, at_budget
from benchmarks.doctor.outcome import Records
from benchmarks.doctor.programs import Program
from benchmarks.doctor.repaired import AS_GOOD

EQUAL = "equal steps"


def rivalled(out: Path, known: Mapping[str, Program], seconds: float, minutes: float = inf) -> int:
    """Fill up the records of a file; returns how many are left.

    Args:
        out: written by `heal`.
        known: programs by id.
        seconds: of the processor, for one full run.
        minutes: of the clock; the record that is on then is finished.
    """
    records, began = Records(out), time.monotonic()
    cases = [r for r in records.runs if r.get("counts")]
    if gone := sum(r["id"] not in known for r in cases):
        raise SystemExit(f"{out}: {gone} of its {len(cases)} cases are no longer built; run heal again")
    left = [r for r in cases if EQUAL not in r]
    while left and time.monotonic() - began < 60 * minutes:
        record = left.pop(0)
        record[EQUAL] = equal(record, known[record["id"]], seconds)
        records.write()
    return len(left)


def equal(record: Mapping[str, Any], subject: Program, seconds: float) -> dict[str, Any]:
    """What each control reaches with the steps that healing with consent took."""
    steps, goal = int(record["ways"]["healed"].get("steps") or 0), AS_GOOD * float(record["twin"])
    return {name: at_budget(name, subject, record["seed"], seconds, max(1, steps), goal) for name in CONTROLS}
