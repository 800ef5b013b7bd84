"""Targets that are all the same: there is nothing to learn."""

from __future__ import annotations

from trainwright.core.facts import Facts, Target, Values
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number


def check(evidence: Evidence) -> Finding | None:
    """All targets of several samples are one value."""
    target = evidence.facts.target
    values = target.values
    same = target.distinct == 1 or (target.coding in ("classes", "one_hot", "binary") and target.classes == 1)
    if not same or values.rows < 2 or values.bad:
        return None
    batches = evidence.facts.per_epoch if values.rows <= evidence.facts.batch_size else 0
    more = f", in the first of {batches:,} batches: samples are sorted and not shuffled, or all have that target"
    return Finding(
        rule="constant_target",
        severity="error",
        what=f"all {values.rows:,} targets that were looked at are the same ({number(values.high)})"
        + (more if batches > 1 else ""),
        where="the targets",
        evidence={"rows": values.rows, "value": values.high},
        why="A network learns to say that one value whatever it is shown; any score it gets means nothing. Often all "
        "labels became one when they were scaled, cast to whole numbers, or read from the wrong column.",
        fixes=(Advice("look at the targets as the network gets them, and at what was done to them before"),),
    )


@rules.add("constant_target")
def constant_target() -> Rule:
    """All training targets are the same value.

    Measured on 4,096 training samples before the first step; where all of those are the same, on as many as 32 MB hold.
    """
    return Rule(
        "constant_target",
        check,
        sick=lambda: patient(Facts(target=Target(Values(rows=50, high=0.0), "classes", 1, 0, (50,), 1))),
        healthy=lambda: patient(Facts(target=Target(Values(rows=50), "classes", 2, 0, (25, 25), 2))),
    )
