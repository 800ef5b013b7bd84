"""Held-out records that lie between training records in time."""

from __future__ import annotations

from trainwright.core.data_facts import DataFacts, Kin
from trainwright.core.facts import Facts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number, percent

_BETWEEN, _ALIKE, _ERRORS = 0.5, 0.5, 5.0


def check(evidence: Evidence) -> Finding | None:
    """The split ignores time, and neighbours in time have nearly the same target."""
    kin = evidence.facts.data.time
    if kin.shared <= _BETWEEN or not kin.alike - kin.chance > max(_ALIKE * (1 - kin.chance), _ERRORS * kin.error):
        return None
    return Finding(
        rule="times_across_parts",
        severity="warning",
        what=f"{percent(kin.shared)} of the held-out records lie between training records by '{kin.field}', and "
        f"records that follow each other have nearly the same target ({number(kin.alike)}, {number(kin.chance)} at "
        "random)",
        where=kin.field,
        evidence={"between": kin.shared, "alike": kin.alike, "by chance": kin.chance, "standard error": kin.error},
        why="What came just before and just after a record was trained on. The score says how well gaps are filled, "
        "not how well the future is told.",
        fixes=(Patch({"data.time": kin.field}),),
    )


@rules.add("times_across_parts")
def times_across_parts() -> Rule:
    """A field of times that the split ignores though the target changes slowly with it.

    A field is known by its name (date, timestamp, …_at) and by values that are times. More than half of
    the held-out records lie between training records, and neighbours in time agree (or correlate) by half of what is
    possible beyond chance. Nothing is said where ``data.time`` or another manner than a
    random split is chosen.
    """
    return Rule(
        "times_across_parts",
        check,
        sick=lambda: patient(Facts(data=DataFacts(time=Kin("timestamp", 900, 1.0, 0.95, 0.0, 0.03)))),
        healthy=lambda: patient(Facts(data=DataFacts(time=Kin("date", 900, 1.0, 0.12, 0.0, 0.03)))),
    )
