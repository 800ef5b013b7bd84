"""A column that gives the answer away."""

from __future__ import annotations

from trainwright.core.data_facts import DataFacts, Teller
from trainwright.core.facts import Facts
from trainwright.core.finding import Advice, Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent

_ALL, _FAR, _COLUMNS = 0.99, 0.8, 3


def check(evidence: Evidence) -> Finding | None:
    """One column of a table tells nearly all of the target, and all others together much less."""
    teller = evidence.facts.data.teller
    if not (teller.named and teller.columns >= _COLUMNS and teller.share > _ALL):
        return None
    if not teller.rest + 3 * teller.rest_error < _FAR:
        return None
    return Finding(
        rule="answer_among_inputs",
        severity="warning",
        what=f"column '{teller.column}' by itself gives {percent(teller.share)} of the answers; all the others "
        f"together give {percent(max(0.0, teller.rest))}",
        where=teller.column,
        evidence={
            "share of the way, by it alone": teller.share,
            "by all others": teller.rest,
            "standard error": teller.rest_error,
            "rows": teller.rows,
        },
        why="Such a column is mostly made of the target, or written after it was known: a status, a date of closing, a "
        "number that runs through sorted records. Where it is not known when the network is asked, the score is void.",
        fixes=(
            Edit(f"leave it out if it is not known beforehand: task.ignore = [{teller.column!r}]"),
            Advice("if it is known beforehand, a table of that one column answers as well as a network"),
        ),
    )


@rules.add("answer_among_inputs")
def answer_among_inputs() -> Rule:
    """One column of a table that by itself tells the target.

    On up to 2,000 training rows, half of them answered by the nearest value of that one column in the other half: more
    than 99 % of the way from guessing to right answers, while trees and a linear model on all other columns get less
    than 80 %. Tables of three columns and more, 200 rows and more.
    """
    return Rule(
        "answer_among_inputs",
        check,
        sick=lambda: patient(Facts(data=DataFacts(teller=Teller("closed_on", True, 12, 2000, 1.0, 0.3, 0.04)))),
        healthy=lambda: patient(Facts(data=DataFacts(teller=Teller("petal width", True, 4, 200, 1.0, 0.91, 0.05)))),
    )
