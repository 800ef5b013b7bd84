"""Dropout and batch norm in evaluation mode while the network learns."""

from __future__ import annotations

from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import figure

_TIMES = 2


def check(evidence: Evidence) -> Finding | None:
    """All of them at the two latest probes; some may rest on purpose."""
    seen = [(p.step, figure(p, "", "asleep")) for p in evidence.view.probed]
    seen = [(step, share) for step, share in seen if share == share]
    if len(seen) < _TIMES or any(share < 1.0 for _, share in seen[-_TIMES:]):
        return None
    awake = [step for step, share in seen if share < 1.0]
    since = f"since a step after step {awake[-1]:,}" if awake else "since the first step"
    return Finding(
        rule="asleep_while_training",
        severity="error" if awake else "warning",
        what=f"dropout and batch norm are in evaluation mode while the network learns, {since}",
        where="the loop",
        evidence={"probes": len(seen), "share in evaluation mode": seen[-1][1]},
        why="Nothing is left out and no statistics are gathered, so the training is another than it seems. Often "
        "model.eval() was called for a validation and nothing put the mode back.",
        fixes=(Edit("call model.train() before each epoch, and model.eval() only around the validation"),),
    )


@rules.add("asleep_while_training")
def asleep_while_training() -> Rule:
    """All dropouts and batch norms are in evaluation mode during steps.

    Exact, at probes, in a loop of your own. A frozen batch norm beside a dropout that is awake does not count.
    """
    bad = {n: {"": {"asleep": v}} for n, v in ((2, 0.0), (50, 1.0), (60, 1.0))}
    good = {n: {"": {"asleep": v}} for n, v in ((2, 0.5), (50, 0.5), (60, 0.5))}
    return Rule(
        "asleep_while_training",
        check,
        sick=lambda: patient(losses=[1.0] * 60, probes=bad),
        healthy=lambda: patient(losses=[1.0] * 60, probes=good),
    )
