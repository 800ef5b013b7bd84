"""Columns that say the same."""

from __future__ import annotations

from trainwright.core.data_facts import DataFacts
from trainwright.core.facts import Facts
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient


def check(evidence: Evidence) -> Finding | None:
    """Two columns of a table are the same numbers."""
    pairs = evidence.facts.data.repeated
    if not pairs:
        return None
    told = ", ".join(f"'{b}' repeats '{a}'" for a, b in pairs[:5])
    return Finding(
        rule="repeated_columns",
        severity="note",
        what=f"columns that are one another's copies: {told}" + (", …" if len(pairs) > 5 else ""),
        where=pairs[0][1],
        evidence={"columns": len(pairs)},
        why="They tell nothing new, count double in what is scaled or penalized, and share between them what an "
        "explanation says of one.",
        fixes=(Edit(f"leave them out: task.ignore = {[b for _, b in pairs[:5]]!r}"),),
    )


@rules.add("repeated_columns")
def repeated_columns() -> Rule:
    """Columns of a table that are the same numbers, as they reach the network.

    A note. Measured on up to 4,096 training samples before the first step.
    """
    return Rule(
        "repeated_columns",
        check,
        sick=lambda: patient(Facts(data=DataFacts(repeated=(("a", "b"),)))),
        healthy=lambda: patient(Facts()),
    )
