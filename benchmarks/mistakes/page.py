"""The scoreboard as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.mistakes.judge import Judged, alarms
from benchmarks.mistakes.planted import BASES, MISTAKES

Rows = Mapping[tuple[str, str], Mapping[str, Judged]]  # (system, level) -> mistake -> what came of it


def summary(rows: Rows, records: Mapping[tuple[str, str], Mapping[str, Any]], versions: Mapping[str, str]) -> str:
    """A line for each system and level."""
    lines = [
        "| system | | possible | said anything | culprit named | stopped in time | repaired, of those that harm | "
        "NaN in a log, no word | silent | false alarms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (system, level), told in rows.items():
        made = [j for j in told.values() if j.possible]
        harm = [j for j in made if j.harms]
        twins = [name for name in records[system, level] if name.startswith("healthy: ")]
        false = sum(bool(alarms(records[system, level][name])) for name in twins)
        silent = sum(not j.detected and not j.shown for j in made)
        cells = [
            f"{system} {versions.get(system, '')}".strip(), level, len(made), sum(j.detected for j in made),
            sum(j.named for j in made), sum(j.stopped for j in made),
            f"{sum(j.repaired for j in harm)} of {len(harm)}", sum(j.shown for j in made), silent,
            f"{false} of {len(twins)}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def each(rows: Rows, level: str) -> str:
    """A line for each mistake, a column for each system."""
    systems = [system for system, of in rows if of == level]
    lines = ["| part | mistake | " + " | ".join(systems) + " |", "|---" * (len(systems) + 2) + "|"]
    for mistake in MISTAKES:
        signs = [rows[s, level][mistake.name].sign if mistake.name in rows[s, level] else "" for s in systems]
        lines.append("| " + " | ".join([mistake.part, f"{mistake.name}: {mistake.what}", *signs]) + " |")
    return "\n".join(lines)


def words(rows: Rows, only: Sequence[str] = ()) -> str:
    """What was said, word by word: for whoever wants to know why something counts."""
    told = []
    for (system, level), found in rows.items():
        for name, one in found.items():
            if one.said and (not only or name in only):
                told.append(f"{system}, {level}, {name}{' (named)' if one.named else ''}:")
                told += [f"    {line[:300]}" for line in one.said[:6]]
    return "\n".join(told)


TWINS = tuple(BASES)
