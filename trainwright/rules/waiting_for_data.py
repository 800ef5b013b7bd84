"""A machine that stands still until the next batch comes."""

from __future__ import annotations

from statistics import median

from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent

_SHARE = 0.3
_STEPS, _SECONDS = 50, 5.0  # that are waited at least before anything is said


def check(evidence: Evidence) -> Finding | None:
    """The median share of the step that the loop stood waiting."""
    steps = [e for e in evidence.view.steps if e.seconds > 0][-_STEPS:]
    count = sum(len(e.losses) for e in steps)
    waited = sum(e.waited * len(e.losses) for e in evidence.view.steps)
    if count < _STEPS or waited < _SECONDS:
        return None
    share = median(e.waited / e.seconds for e in steps)
    if share < _SHARE:
        return None
    return Finding(
        rule="waiting_for_data",
        severity="note",
        what=f"the training waits for data {percent(share)} of its time",
        where="data",
        evidence={"share": share, "seconds a step": median(e.seconds for e in steps), "seconds waited": waited},
        why="The model could learn faster than the data come.",
        fixes=(Advice("let more worker processes fetch them, keep decoded samples, or make the samples smaller"),),
    )


@rules.add("waiting_for_data")
def waiting_for_data() -> Rule:
    """More than 30 % of the median step is spent waiting for the next batch, and five seconds in all."""
    return Rule(
        "waiting_for_data",
        check,
        sick=lambda: patient(losses=[1.0] * 100, seconds=0.2, waited=0.15),
        healthy=lambda: patient(losses=[1.0] * 100, seconds=0.2, waited=0.01),
    )
