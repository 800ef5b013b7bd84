"""What the rules of other tools say about the same plain runs."""

from __future__ import annotations

from typing import Any

from benchmarks.doctor.observed import Observer, known
from benchmarks.doctor.outcome import SECONDS, record
from benchmarks.doctor.peers_rules import TOOLS, alarms
from benchmarks.doctor.plain import run
from benchmarks.doctor.programs import Program


def judged_by_peers(program: Program, seed: int, seconds: float = SECONDS) -> dict[str, Any]:
    """A plain run with what each tool says of it: ``{…, "peers": {tool: [{"rule", "epoch", "rows"}]}}``."""
    facts = known(program, program.module(seed))
    observer = Observer(program)
    ended = run(program, seed, seconds, observer)
    said = {
        tool: [{"rule": a.says, "epoch": a.epoch, "rows": list(a.rows)} for a in alarms(tool, facts, observer.notes)]
        for tool in TOOLS
    }
    return {**record(program, seed, ended), "accepted": sorted(program.accepted), "peers": said}
