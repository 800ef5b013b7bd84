"""Detection, right cause, false alarms, repair, latency and overhead from records of runs, each with an interval.

A record is ``{"id", "seed", "status", "problems", "learned", "findings": [{"rule", "severity", "step"}], …}``. What is
also read where it is there: ``accepted`` (rows of the table, else found from the problems), ``rows`` of a finding (else
found from its rule), ``onset`` (the step at which a rule becomes decidable, 0 otherwise), ``overhead`` (a share of the
step time), ``healed`` (``{"metric": …, "verdict": …}``: the same program in heal mode) with ``twins``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.doctor.causes import accepted, rows_of_rule
from benchmarks.doctor.intervals import Middle, Share, middle, share

Record = Mapping[str, Any]
COUNTS = ("warning", "error")  # a note raises no alarm
BACK = 0.95  # of the way from the baseline to the metric of the repaired twin


def scores(records: Sequence[Record], twins: Mapping[str, float] | None = None) -> dict[str, Share | Middle]:
    """What the doctor is worth on these runs.

    Args:
        records: of buggy and healthy programs.
        twins: id of a buggy program -> what its repaired form reaches.
    """
    records = [r for r in records if "findings" in r and not r.get("left_out")]  # the others were not run in this way
    buggy = [r for r in records if r["status"] == "buggy"]
    failing = [r for r in buggy if r.get("learned") is False]
    healthy = [r for r in records if r["status"] == "healthy" and r.get("learned") is True]
    told: dict[str, Share | Middle] = {
        "detected": _share(buggy, _alarmed),
        "detected, of those that fail": _share(failing, _alarmed),
        "right cause": _share((r for r in buggy if causes(r)), _right),
        "right cause first": _share((r for r in buggy if causes(r)), _right_first),
        "false alarms": _share(healthy, _alarmed),
        "false alarms, of classifiers": _share((r for r in healthy if r.get("metric") == "accuracy"), _alarmed),
        "steps to the first alarm": middle([_latency(r) for r in buggy]),
        "overhead": middle([float(r.get("overhead", math.nan)) for r in records]),
    }
    if any("healed" in r for r in records):
        told["repaired"] = _share((r for r in failing if r["id"] in (twins or {})), lambda r: _repaired(r, twins or {}))
        told["healthy and left alone"] = _share(
            (r for r in healthy if "healed" in r), lambda r: r["healed"].get("verdict") == "HEALTHY"
        )
    return told


def peers(records: Sequence[Record]) -> dict[str, dict[str, Share | Middle]]:
    """The same for each tool that has judged the runs."""
    tools = sorted({tool for r in records for tool in r.get("peers", {})})
    return {tool: scores([_as_ours(r, tool) for r in records if tool in r.get("peers", {})]) for tool in tools}


def control_shares(records: Iterable[Record], twins: Mapping[str, float]) -> dict[str, dict[str, Share | Middle]]:
    """How many programs each control repairs, by the same measure as the doctor's repairs."""
    judged = [r for r in records if "controls" in r and r["id"] in twins]
    names = list(dict.fromkeys(name for r in judged for name in r["controls"]))
    return {
        name: {"repaired": _share(judged, lambda r, name=name: _repaired({**r, "healed": r["controls"][name]}, twins))}
        for name in names
    }


def repaired_metrics(records: Iterable[Record]) -> dict[str, float]:
    """Id of a buggy program -> the mean metric of its repaired twin, where that learns in 4 of 5 runs at least."""
    runs: dict[str, list[Record]] = {}
    for record in records:
        for origin in record.get("twins", ()):
            if record["status"] != "buggy":
                runs.setdefault(origin, []).append(record)
    return {
        origin: sum(float(r["train"]) for r in found) / len(found)
        for origin, found in runs.items()
        if sum(r["learned"] is True for r in found) >= 0.8 * len(found)
    }


def causes(record: Record) -> frozenset[int]:
    """The rows that are a right cause for a record's program."""
    given = record.get("accepted")
    return frozenset(given) if given is not None else accepted(record.get("problems", ()))


def page(tables: Mapping[str, Mapping[str, Share | Middle]]) -> str:
    """A table in Markdown: one column for each thing that was measured."""
    rows = list(dict.fromkeys(name for told in tables.values() for name in told))
    lines = ["| | " + " | ".join(tables) + " |", "|---" * (len(tables) + 1) + "|"]
    for row in rows:
        cells = [str(told[row]) if row in told else "—" for told in tables.values()]
        lines += ["| " + " | ".join([row, *cells]) + " |"]
    return "\n".join(lines)


def as_json(told: Mapping[str, Share | Middle]) -> dict[str, dict[str, float]]:
    """The same in numbers."""
    return {name: {k: getattr(value, k) for k in value.__slots__} for name, value in told.items()}


def misses(records: Sequence[Record]) -> list[str]:
    """What went wrong, run by run, in words: alarms on healthy runs, silence on buggy ones, wrong causes."""
    lines = []
    for r in (r for r in records if "findings" in r and not r.get("left_out")):
        said = ", ".join(f"{f['rule']} at {f.get('step', '?')}" for f in _loud(r)) or "nothing"
        who = f"{r['id']}, seed {r['seed']} ({r['status']}, {'learns' if r.get('learned') else 'fails'})"
        if r["status"] == "healthy" and r.get("learned") is True and _alarmed(r):
            lines.append(f"false alarm: {who}: {said}")
        elif r["status"] == "buggy" and not _alarmed(r):
            lines.append(f"missed: {who}: {', '.join(r.get('problems', ()))}")
        elif r["status"] == "buggy" and causes(r) and not _right(r):
            lines.append(f"wrong cause: {who}: {said}; it has {', '.join(r.get('problems', ()))}")
    return lines


def _share(records: Iterable[Record], hit: Callable[[Record], bool]) -> Share:
    hits: dict[str, list[bool]] = {}
    for record in records:
        hits.setdefault(record["id"], []).append(hit(record))
    return share(hits)


def _loud(record: Record) -> list[Mapping[str, Any]]:
    return [f for f in record.get("findings", ()) if f.get("severity", "warning") in COUNTS]


def _alarmed(record: Record) -> bool:
    return bool(_loud(record))


def _rows(finding: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(finding["rows"]) if "rows" in finding else rows_of_rule(finding["rule"])


def _right(record: Record) -> bool:
    return any(_rows(f) & causes(record) for f in _loud(record))


def _right_first(record: Record) -> bool:
    """Of the alarms at the first step that has any, one is right."""
    loud = _loud(record)
    if not loud:
        return False
    start = min(f.get("step", 0) for f in loud)
    return any(_rows(f) & causes(record) for f in loud if f.get("step", 0) == start)


def _latency(record: Record) -> float:
    loud = _loud(record)
    return (
        min(f["step"] for f in loud if "step" in f) - record.get("onset", 0)
        if any("step" in f for f in loud)
        else math.nan
    )


def _repaired(record: Record, twins: Mapping[str, float]) -> bool:
    healed = record.get("healed")
    if not healed or not math.isfinite(float(healed["metric"])):
        return False
    base = float(record.get("baseline") or 0.0)
    return float(healed["metric"]) - base >= BACK * (twins[record["id"]] - base)


def _as_ours(record: Record, tool: str) -> Record:
    said = [{"rule": a["rule"], "severity": "warning", "rows": a["rows"]} for a in record["peers"][tool]]
    return {**record, "findings": said}
